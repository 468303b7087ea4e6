"""Plug-and-play half-quadratic splitting (PnP): a denoiser in the place of a prior's proximal step.

    x_k = argmin_x ||y - A(x)||^2 / (2 s^2) + lambda ||x - z_{k-1}||^2 / (2 sigma_k^2)
    z_k = E[x_0 | x_sigma_k = x_k]

with `sigma_k` falling geometrically to the noise of the measurement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..noise import Gaussian
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import geometric_levels
from .base import Run, Solver
from .checks import check_count, check_number
from .splitting import data_mode, first_estimate


@dataclass(frozen=True, kw_only=True)
class PlugAndPlay(Solver):
    """Plug-and-play restoration with the prior as denoiser, for Gaussian noise; its samples are all the same.

    Attributes:
        steps: number of iterations; the authors take 8 for blurs and 24 for super-resolution.
        weight: `lambda`; the authors take 0.23.
        sigma: first noise level, for data on [-1, 1]; the authors' 49/255 on [0, 1] is 98/255 there.

    References:
        Plug-and-Play Image Restoration with Deep Denoiser Prior (Zhang et al., 2021),
        https://arxiv.org/abs/2008.13751, algorithm 1.

    Differs:
        The walk starts at the posterior mean under a white prior around the prior's mean, which takes one evaluation
        more; the authors start at the measurement or its interpolation. The last level is that of the noise, but at
        least 2/255 on [-1, 1], where they choose it for each task.

    Example:
        >>> PlugAndPlay(steps=24).evaluations
        25
    """

    steps: int = 8
    weight: float = 0.23
    sigma: float = 98 / 255

    needs: ClassVar[frozenset[str]] = frozenset({"gaussian"})
    point: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "weight", 0, positive=True)
        check_number(self, "sigma", 0, positive=True)

    @property
    def evaluations(self) -> int:
        """One for the start, one for each iteration."""
        return self.steps + 1

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels in geometric progression, and 0."""
        r = prior.std / 0.5
        assert isinstance(problem.noise, Gaussian)
        high = min(max(self.sigma * r, problem.noise.std, prior.sigma_min), prior.sigma_max)
        low = min(max(problem.noise.std, 2 / 255 * r, prior.sigma_min), high)
        return geometric_levels(self.steps, low, high)

    def start(self, run: Run) -> Tensor:
        """Return the first estimate."""
        return first_estimate(run)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take the data's proximal step and denoise."""
        sigma = run.levels[i]
        return run.denoise(data_mode(run, x, sigma / math.sqrt(self.weight)), sigma)
