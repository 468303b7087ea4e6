"""invdiff: Bayesian inverse problems in imaging.

A forward operator, a noise model and a measurement form a `Problem`. A prior and a solver give samples of its
posterior:

    problem = invdiff.simulate(operator, x, noise=0.025, seed=0)
    result = invdiff.reconstruct(problem, prior="gaussian", solver="dps", samples=4)

Names are loaded when they are first used, so `import invdiff` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibration import Calibration
    from .images import load_image, save_image
    from .interface import reconstruct
    from .priors import load_prior
    from .problem import Problem, simulate
    from .reconstruction import Reconstruction
    from .unknowns import Unknown

__version__ = "0.1.0"

_HOME = {
    "Calibration": "calibration",
    "Problem": "problem",
    "Reconstruction": "reconstruction",
    "Unknown": "unknowns",
    "simulate": "problem",
    "reconstruct": "interface",
    "load_prior": "priors",
    "load_image": "images",
    "save_image": "images",
}
_PACKAGES = (
    "benchmarks", "images", "metrics", "noise", "operators", "posterior", "priors", "registry", "samplers", "schedules",
    "solvers", "testing", "training", "transitions",
)  # fmt: skip

__all__ = [
    "Calibration",
    "Problem",
    "Reconstruction",
    "Unknown",
    "load_image",
    "load_prior",
    "reconstruct",
    "save_image",
    "simulate",
    *_PACKAGES,
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
