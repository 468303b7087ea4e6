"""The noise levels of published solvers, within the range of the prior.

Published levels are for data on [-1, 1] of standard deviation about 1/2; with `r = prior.std / 0.5` they are `r` times
as large here.
"""

from __future__ import annotations

from torch import Tensor

from ...priors.base import Prior
from ...problem import Problem
from ...schedules import geometric_levels, vp_levels
from .guidance import gain
from .noise_models import noise_level

DDPM_SIGMA = (0.01, 157.0)  # lowest and highest level of DDPM's linear chain of 1000 steps
SHARE = 0.3  # fraction of the data's noise; lower levels have little effect


def published_range(prior: Prior) -> tuple[float, float]:
    """Return the lowest and the highest level of DDPM's chain, inside the prior's range, for data on [-1, 1]."""
    r = prior.std / 0.5
    return max(prior.sigma_min / r, DDPM_SIGMA[0]), min(prior.sigma_max / r, DDPM_SIGMA[1])


def data_level(problem: Problem) -> float:
    """Return the noise of the measurement in units of the images, `sigma_y / |A|`; 0 for noiseless data."""
    size = gain(problem.operator)
    return noise_level(problem) / size if size > 0 else 0.0


def level_range(prior: Prior, problem: Problem | None = None, share: float = SHARE) -> tuple[float, float]:
    """Return the lowest and the highest level of DDPM's chain, inside the prior's range, in units of the images.

    Args:
        prior: the prior.
        problem: bounds the lowest level by its noise; by default no bound.
        share: the lowest level is at most this fraction of `data_level`.
    """
    r = prior.std / 0.5
    low = r * DDPM_SIGMA[0]
    if problem is not None and (level := data_level(problem)) > 0:
        low = min(low, share * level)
    return max(prior.sigma_min, low), min(prior.sigma_max, r * DDPM_SIGMA[1])


def ddpm_levels(steps: int, prior: Prior) -> Tensor:
    """Return `steps` levels uniform in the time of the variance-preserving SDE, then 0, in float64."""
    r = prior.std / 0.5
    low, high = level_range(prior)
    return r * vp_levels(steps, low / r, high / r)


def annealed_levels(steps: int, prior: Prior) -> Tensor:
    """Return `steps` levels in geometric progression, then 0, in float64: those of score networks."""
    return geometric_levels(steps, *level_range(prior))
