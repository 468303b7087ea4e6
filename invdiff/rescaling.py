"""A problem in units other than those of the prior, in the prior's values, and its result in the units.

For units `u = a v + b`, a linear operator and additive noise, `y = A(u) + n`, so

    (y - b A(1)) / a = A(v) + n / a

Noise that depends on the clean values, as that of photons does, keeps them: with `b = 0` the problem of `v` is that of
the operator `a A`.
"""

from __future__ import annotations

import dataclasses
import math

import torch

from .errors import UserError
from .noise import Gaussian, GaussianMap, Independent, Noise, StackedNoise
from .operators.base import LinearOperator
from .problem import Problem
from .reconstruction import Reconstruction
from .units import Units


def in_values(problem: Problem, units: Units) -> Problem:
    """Return the problem for images in the values of the prior.

    Args:
        problem: of images in the units.
        units: of the images, in terms of the values.

    Raises:
        ValueError: a nonlinear operator; or noise that is not Gaussian, in units whose zero is not that of the values.
    """
    operator, y = problem.operator, problem.measurement
    if not isinstance(operator, LinearOperator):
        raise UserError(
            f"units: {units.name}: expected a linear operator, got {operator!r}; convert the measurement to the values "
            "of the prior, and leave the units out"
        )
    noise = _divided(problem.noise, units.slope)
    if noise is None and units.offset != 0:
        raise UserError(
            f"units: {units.name}: expected Gaussian noise, got {problem.noise!r}, whose level depends on the values, "
            f"and 0 {units.name} is not 0 in the values of the prior; give the noise as a standard deviation"
        )
    if noise is None:
        return dataclasses.replace(problem, operator=units.slope * operator)
    shifted = y.double()
    if units.offset != 0:
        one = torch.ones(1, *operator.in_shape, dtype=torch.float64, device=y.device)
        shifted = shifted - units.offset * operator(one)
    return dataclasses.replace(problem, noise=noise, measurement=(shifted / units.slope).to(y.dtype))


def in_units(result: Reconstruction, units: Units, problem: Problem, solved: Problem) -> Reconstruction:
    """Return a result in the units.

    Args:
        result: in the values of the prior.
        units: of the images, in terms of the values.
        problem: of images in the units.
        solved: the problem of `in_values`.
    """
    evidence = result.log_evidence
    if evidence is not None and solved.operator is problem.operator:  # a density of y / a: that of y is 1 / a^m of it
        evidence = evidence - problem.observations * math.log(units.slope)
    return dataclasses.replace(
        result,
        samples=units.from_values(result.samples),
        estimate=None if result.estimate is None else units.from_values(result.estimate),
        log_evidence=evidence,
        units=units.name,
    )


def _divided(noise: Noise, factor: float) -> Noise | None:
    """Return the noise `n / a` of Gaussian noise `n`; `None` for other noise."""
    if isinstance(noise, Gaussian):
        return Gaussian(noise.std / factor)
    if isinstance(noise, GaussianMap):
        return GaussianMap(noise.std / factor)
    if isinstance(noise, StackedNoise):
        parts = [_divided(part, factor) for part in noise.parts]
        whole = tuple(part for part in parts if isinstance(part, Independent))
        return StackedNoise(whole, noise.shapes) if len(whole) == len(parts) else None
    return None
