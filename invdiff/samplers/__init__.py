"""Samples and likelihoods of a prior, or of a posterior whose likelihood score is known.

- `ddim`: ancestral sampling and DDIM.
- `langevin`: unadjusted Langevin, annealed Langevin, and annealed Langevin with Metropolis' test.
- `sde`: the reverse-time SDE, with and without Langevin's corrections.
- `ode`: the probability flow by Euler, by Heun with EDM's churn, and by adaptive solvers.
- `likelihood`: `log_prob` along the probability flow.
- `interface`: samples in one call, prior and sampler by name.

`python -m invdiff.benchmarks.studies samplers` compares all samplers on a known mixture.
"""

from ..registry import samplers
from .base import Sampler, Samples, make_sampler
from .ddim import DDIM, Ancestral
from .interface import sample
from .langevin import ULA, AnnealedLangevin, AnnealedMALA
from .ode import AdaptiveODE, Euler, Heun, integrate_scipy, integrate_torchdiffeq
from .sde import PredictorCorrector, ReverseSDE

SAMPLERS = samplers
"""Samplers by the names of the command line."""

__all__ = [
    "DDIM",
    "SAMPLERS",
    "ULA",
    "AdaptiveODE",
    "Ancestral",
    "AnnealedLangevin",
    "AnnealedMALA",
    "Euler",
    "Heun",
    "PredictorCorrector",
    "ReverseSDE",
    "Sampler",
    "Samples",
    "integrate_scipy",
    "integrate_torchdiffeq",
    "make_sampler",
    "sample",
]
