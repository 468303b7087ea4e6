"""Plug-and-play half-quadratic splitting (PnP): a denoiser in place of the prior's proximal step.

    x_k = argmin_x ||y - A(x)||^2 / (2 s^2) + lambda ||x - z_{k-1}||^2 / (2 sigma_k^2)
    z_k = E[x_0 | x_sigma_k = x_k]

with `sigma_k` decreasing geometrically to the noise of the measurement. For a nonlinear `A` both objectives are
minimised together, by a step of Adam along

    g_k = -sigma_k^2 grad log p(y | x) + lambda (x - E[x_0 | x_sigma_k = x])

and the result is the last `E[x_0 | x]`, as above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import geometric_levels
from .common.adam import Descent, cosine_decay
from .common.initial_state import has_photographic_mean, photographic_mean
from .common.levels import data_level
from .common.run import Run
from .common.search import Range, Ranges
from .common.splitting import data_mode, first_estimate, is_conjugate, likelihood_score
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class PlugAndPlay(IterativeSolver):
    """Plug-and-play restoration with the prior as denoiser, for Gaussian noise; all samples are equal.

    It gives an estimate with a high PSNR from few evaluations, and no uncertainty.

    Attributes:
        steps: number of iterations; the authors take 8 for blurs and 24 for super-resolution.
        weight: `lambda`; the authors take 0.23.
        sigma: first noise level, for data on [-1, 1]; the authors' 49/255 on [0, 1] is 98/255 there.
        rate: for nonlinear operators, Adam's first step size, for data on [-1, 1]; it decreases towards zero.

    References:
        Plug-and-Play Image Restoration with Deep Denoiser Prior (Zhang et al., 2021),
        https://arxiv.org/abs/2008.13751, algorithm 1.

    Differs:
        The first estimate is the posterior mean under the stationary Gaussian prior of photographs; the authors start
        at the measurement or its interpolation. Under an analytic prior, or with other channels than 1 or 3, it is the
        posterior mean under a white prior around the prior's mean, which takes one more evaluation. The last level is
        that of the noise in units of the image, `s / ||A||`, but at least 2/255 on [-1, 1]; the authors choose it for
        each task. Nonlinear operators are not in the paper. For them a proximal step stops at the boundary of the set
        that agrees with the data, and the next one starts there, so clipped values would stay at the clipping level.
        Descent with momentum does not stop there.

    Example:
        >>> PlugAndPlay(steps=24).evaluations
        25
    """

    steps: int = 8
    weight: float = 0.23
    sigma: float = 98 / 255
    rate: float = 0.05

    name: ClassVar[str] = "pnp"
    summary: ClassVar[str] = "plug-and-play half-quadratic splitting with the prior as denoiser"
    paper: ClassVar[str] = "Zhang et al. 2021"
    needs: ClassVar[frozenset[str]] = frozenset({"gaussian", "vjp"})
    point: ClassVar[bool] = True
    search: ClassVar[Ranges] = {"weight": Range(0.02, 5.0, log=True), "sigma": Range(0.05, 4.0, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "weight", 0, positive=True)
        check_number(self, "sigma", 0, positive=True)
        check_number(self, "rate", 0, positive=True)

    @property
    def evaluations(self) -> int:
        """One evaluation for each iteration, and one for the first estimate where the prior gives it."""
        return self.steps + 1

    def declared_evaluations(self, problem: Problem, prior: Prior, samples: int) -> float:
        """Return the evaluations of a problem; the Gaussian prior of photographs takes none."""
        return self.steps if starts_from_photographs(problem, prior) else self.evaluations

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels in geometric progression, and 0."""
        r = prior.std / 0.5
        noise = data_level(problem)
        high = min(max(self.sigma * r, noise, prior.sigma_min), prior.sigma_max)
        low = min(max(noise, 2 / 255 * r, prior.sigma_min), high)
        return geometric_levels(self.steps, low, high)

    def start(self, run: Run) -> Tensor | Descent:
        """Return the first estimate."""
        if starts_from_photographs(run.problem, run.prior):
            return photographic_mean(run.problem)
        x = first_estimate(run)
        return x if is_conjugate(run.problem) else Descent.at(x)

    def step(self, run: Run, x: Tensor | Descent, i: int) -> Tensor | Descent:
        """Take the data's proximal step and denoise, or descend both objectives together."""
        sigma = run.levels[i]
        if isinstance(x, Tensor):
            return run.denoise(data_mode(run, x, sigma / math.sqrt(self.weight)), sigma)
        image = x.image
        estimate = run.denoise(image, sigma)
        if i == self.steps - 1:
            return x._replace(image=estimate)
        g = self.weight * (image - estimate) - sigma**2 * likelihood_score(run, image)
        return x.down(g / run.unit, i + 1, cosine_decay(self.rate, i, self.steps) * run.unit)


def starts_from_photographs(problem: Problem, prior: Prior) -> bool:
    """Return whether the first estimate comes from the Gaussian prior of photographs, not from the prior itself."""
    return not prior.analytic and is_conjugate(problem) and has_photographic_mean(problem)
