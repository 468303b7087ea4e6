"""The setting of a calibration, and which other settings it is taken to hold for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..fingerprint import fingerprint
from ..noise import Gaussian
from ..priors import Prior
from ..problem import Problem
from ..solvers import Auto, Solver
from ..specs import parse_spec

NEAR = 1.1
"""Greatest ratio of two options that are real numbers, such as noise levels, for one calibration."""
SMALLER, LARGER = 0.5, 8.0
"""Least and greatest ratio of the sides of an image to those of the calibration's images."""


@dataclass(frozen=True)
class Setting:
    """The setting of a calibration: everything except the image that determines the distribution of the intervals.

    A calibration is taken to hold for a setting that differs from its own within these bounds, in which the coverage
    of `docs/uncertainty.md` was measured: options of operator and noise that are real numbers by a factor of at most
    `NEAR`, sides of the images between `SMALLER` and `LARGER` times its own. Everything else must be equal.

    Attributes:
        operator: the operator and its options, as `NAME:key=value,...`.
        noise: the noise model, as `NAME:key=value,...`.
        prior: name and hash of the prior.
        solver: the solver and its parameters, as text.
        samples: number of samples of each image.
        shape: shape of the images.
        version: of invdiff.
    """

    operator: str
    noise: str
    prior: str
    solver: str
    samples: int
    shape: tuple[int, ...]
    version: str = __version__

    def differences(self, other: Setting) -> list[str]:
        """Return one clause for each entry that differs, with both values."""
        alike: dict[str, Callable[[Any, Any], bool]] = {
            "operator": _same_spec,
            "noise": _same_spec,
            "shape": _same_shape,
        }
        return [
            f"{f.name} {a} against {b}"
            for f in dataclasses.fields(self)
            for a, b in [(getattr(self, f.name), getattr(other, f.name))]
            if not alike.get(f.name, _equal)(a, b)
        ]


def describe_setting(
    operator: str, noise: str, problem: Problem, prior_name: str, prior: Prior, solver: Solver, samples: int
) -> Setting:
    """Return the setting of a reconstruction.

    Args:
        operator: as `NAME:key=value,...`; it must determine the operator but for the size of its images.
        noise: as `NAME:key=value,...` or a number; for white Gaussian noise the level of the problem counts.
        problem: the problem.
        prior_name: name of the prior.
        prior: the prior, of which the hash counts.
        solver: the solver, of which all parameters count, and what `auto` takes.
        samples: number of samples of each image.
    """
    law = problem.noise
    if isinstance(solver, Auto):
        how = solver.choose(problem, prior)[1].method(solver.goal)
    else:
        how = ",".join(f"{f.name}={getattr(solver, f.name)}" for f in dataclasses.fields(solver))
    return Setting(
        operator=operator,
        noise=f"gaussian:std={law.std:g}" if isinstance(law, Gaussian) else noise,
        prior=f"{prior_name} {fingerprint(prior)}",
        solver=f"{solver.name or type(solver).__name__}: {how}",
        samples=samples,
        shape=tuple(problem.operator.in_shape),
    )


def _equal(a: object, b: object) -> bool:
    return a == b


def _same_spec(a: str, b: str) -> bool:
    """Return whether two specifications have one name and equal options, real numbers within `NEAR`."""
    first, second = parse_spec(a), parse_spec(b)
    return (
        first.name == second.name
        and first.options.keys() == second.options.keys()
        and all(_same_value(v, second.options[k]) for k, v in first.options.items())
    )


def _same_value(a: object, b: object) -> bool:
    if not (isinstance(a, float | int) and isinstance(b, float | int)) or (isinstance(a, int) and isinstance(b, int)):
        return a == b
    low, high = sorted((float(a), float(b)))
    return low == high or 0 < high <= NEAR * low * (1 + 1e-9)


def _same_shape(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Return whether images of shape `b` are like those of shape `a`."""
    if len(a) != len(b) or a[0] != b[0]:
        return False
    return all(SMALLER * n <= m <= LARGER * n for n, m in zip(a[1:], b[1:], strict=True))
