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

    It is 1/2 for a nonlinear operator and a prior of limited range, and 0 for a prior of full range.
    """
    y, operator = problem.measurement, problem.operator
    zeros = torch.zeros((len(problem), *operator.in_shape), dtype=y.dtype, device=y.device)
    if prior.sigma_max >= FULL_RANGE * prior.std:
        return zeros
    if not isinstance(operator, LinearOperator) or operator.in_shape[0] not in (1, 3):
        return zeros + 0.5
    spread = Gaussian(max(noise_level(problem), 1e-2 * problem.gain))
    return gaussian_mean(
        Problem(operator, spread, y, problem.image_index), photograph_gaussian(), tolerance=1e-3, iterations=50
    )
