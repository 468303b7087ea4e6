"""The noise levels that published solvers walk down, as far as a prior can be trusted.

Published levels are for data on [-1, 1] of standard deviation about 1/2; with `r = prior.std / 0.5` they are `r` times
as large here.
"""

from __future__ import annotations

from torch import Tensor

from ...priors.base import Prior
from ...schedules import geometric_levels, vp_levels

DDPM_SIGMA = (0.01, 157.0)  # lowest and highest level of DDPM's linear chain of 1000 steps


def level_range(prior: Prior) -> tuple[float, float]:
    """Return the lowest and the highest level of DDPM's chain, inside the prior's range, in units of the images."""
    r = prior.std / 0.5
    return max(prior.sigma_min, r * DDPM_SIGMA[0]), min(prior.sigma_max, r * DDPM_SIGMA[1])


def ddpm_levels(steps: int, prior: Prior) -> Tensor:
    """Return `steps` levels uniform in the time of the variance-preserving SDE, then 0, in float64."""
    r = prior.std / 0.5
    low, high = level_range(prior)
    return r * vp_levels(steps, low / r, high / r)


def annealed_levels(steps: int, prior: Prior) -> Tensor:
    """Return `steps` levels in geometric progression, then 0, in float64: those of score networks."""
    return geometric_levels(steps, *level_range(prior))
