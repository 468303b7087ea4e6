"""The noise levels of published solvers, within the range of the prior.

Published levels are for data on [-1, 1] of standard deviation about 1/2; with `r = prior.std / 0.5` they are `r` times
as large here. Their lowest one, `0.01 r`, is above the noise of precise data, from which a solver that ends there is
far away. For `0 < sigma_y / ||A|| < 0.01 r` the last levels therefore go down to `sigma_y / ||A||`: at most half of the
levels, in ratios of 3 where these suffice. Published tasks have more noise, or none, and keep the published levels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...priors.base import Prior
from ...problem import Problem
from ...schedules import geometric_levels, vp_levels
from .noise_models import noise_level

DDPM_SIGMA = (0.01, 157.0)  # lowest and highest level of DDPM's linear chain of 1000 steps
SHARE = 0.3  # fraction of the data's noise; lower levels have little effect
RATIO = 3.0  # of neighbouring levels below the published ones


def published_range(prior: Prior) -> tuple[float, float]:
    """Return the lowest and the highest level of DDPM's chain, inside the prior's range, for data on [-1, 1]."""
    r = prior.std / 0.5
    return max(prior.sigma_min / r, DDPM_SIGMA[0]), min(prior.sigma_max / r, DDPM_SIGMA[1])


def data_level(problem: Problem) -> float:
    """Return the noise of the measurement in units of the images, `sigma_y / |A|`; 0 for noiseless data."""
    size = problem.gain
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


def ddpm_levels(steps: int, prior: Prior, problem: Problem | None = None) -> Tensor:
    """Return `steps` levels uniform in the time of the variance-preserving SDE, then 0, in float64.

    Args:
        steps: number of positive levels.
        prior: the prior.
        problem: if its noise is lower than all of these, the last levels go down to it; by default they do not.
    """
    r = prior.std / 0.5
    low, high = level_range(prior)
    return lowered(lambda n: r * vp_levels(n, low / r, high / r), steps, level_range(prior, problem, 1.0)[0])


def lowered(levels: Callable[[int], Tensor], steps: int, lowest: float) -> Tensor:
    """Return `steps` levels of a spacing, then 0; the last ones go down to `lowest` if the spacing ends above it.

    Args:
        levels: from a number `n` to `n` decreasing levels, and 0.
        steps: number of positive levels.
        lowest: upper bound of the last positive level.
    """
    whole = levels(steps)
    if whole[-2] <= lowest * (1 + 1e-9) or steps < 3:
        return whole
    count, kept = 0, whole
    while count == 0 or (count < steps // 2 and kept[-1] > lowest * RATIO**count):
        count += 1
        kept = levels(steps - count + 1)[:-2]
    rest = torch.arange(1, count + 1, dtype=torch.float64) / count
    return torch.cat([kept, kept[-1] * (lowest / kept[-1]) ** rest, kept.new_zeros(1)])


def annealed_levels(steps: int, prior: Prior, problem: Problem | None = None) -> Tensor:
    """Return `steps` levels in geometric progression, then 0, in float64: those of score networks.

    Args:
        steps: number of positive levels.
        prior: the prior.
        problem: if its noise is lower than all of these, the levels go down to it; by default they do not.
    """
    return geometric_levels(steps, *level_range(prior, problem, 1.0))
