"""The initial state at the highest noise level.

For a prior of full range, with noise levels up to many times the data's spread, the noise at `sigma_T` hides the image,
and any centre will do. A prior of limited range (such as a patch prior) was not trained on the large scales, which must
come from the measurement: its initial state is around the posterior mean under the stationary Gaussian prior of
photographs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...noise import Gaussian
from ...operators.base import LinearOperator
from ...posterior import gaussian_mean
from ...priors import Prior, photograph_gaussian
from ...problem import Problem
from .noise_models import noise_level

FULL_RANGE = 20.0  # sigma_max / std of a prior of full range, for which the centre does not matter


def center(problem: Problem, prior: Prior) -> Tensor:
    """Return the centre of the first state, `(B, C, H, W)`, in the type and on the device of the measurement.

    It is 0 for an analytic prior of full range. A network of full range has 1/2: it takes a constant far from its data
    for a picture without noise. A nonlinear operator has 1/2 too.
    """
    if prior.sigma_max >= FULL_RANGE * prior.std:
        return _constant(problem, 0.0 if prior.analytic else 0.5)
    return photographic_mean(problem) if has_photographic_mean(problem) else _constant(problem, 0.5)


def has_photographic_mean(problem: Problem) -> bool:
    """Return whether the operator is linear and its images have the channels of photographs."""
    return isinstance(problem.operator, LinearOperator) and problem.operator.in_shape[0] in (1, 3)


def photographic_mean(problem: Problem) -> Tensor:
    """Return the posterior mean under the stationary Gaussian prior of photographs, `(B, C, H, W)`."""
    spread = Gaussian(max(noise_level(problem), 1e-2 * problem.gain))
    white = Problem(problem.operator, spread, problem.measurement, problem.image_index)
    return gaussian_mean(white, photograph_gaussian(), tolerance=1e-3, iterations=50)


def _constant(problem: Problem, value: float) -> Tensor:
    y = problem.measurement
    return torch.full((len(problem), *problem.operator.in_shape), value, dtype=y.dtype, device=y.device)
