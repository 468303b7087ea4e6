"""Posterior Langevin: annealed, unadjusted Langevin on the posterior of a noisy image.

At decreasing noise levels `sigma_k` the chain samples `p_sigma_k(x) p(y | x_sigma_k = x)`,

    x' = x + gamma (grad log p_sigma(x) + grad log N(y; A(x), S)) + sqrt(gamma / 2) (n + n')
    S = (s^2 + ||A||^2 sigma^2) I     where sigma > tau / sqrt(2),    tau = s / ||A||
    S = s^2 I - sigma^2 A A^T         below, for a linear operator
    gamma = rate / (1 / sigma^2 + ||A||^2 / (s^2 +- ||A||^2 sigma^2))

`n` is the noise of the step before: for a Gaussian the stationary distribution is then exact, for others it has an
error of `O(rate^2)`. At high levels the noise of `x` counts as a part of `x`, which widens the likelihood. At low
levels it counts as a part of the measurement's, `y = A x + (s n_1 - sigma A n_2)`. This is exact, and a clean image
given `x` no longer depends on `y`. It is drawn at the end, `x_0 = E[x_0 | x_sigma = x + sigma n]`, to second order in
`sigma` relative to the prior's scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..operators.base import LinearOperator
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import geometric_levels
from ..transitions import langevin_step, tweedie_score
from .common.guidance import back_projected_residual, image_scale, sharpened_residual
from .common.levels import data_level
from .common.run import Run
from .common.search import Range, Ranges
from .common.splitting import noise_std
from .iterative import IterativeSolver

PRIOR_SHARE = 0.1  # the last level relative to `prior.std`, at most
CAUTION = 0.3  # factor of the step for a nonlinear operator, whose derivative may be larger elsewhere
FEW = 5  # inner steps up to which `rate` and `share` are taken as given


class Chain(NamedTuple):
    """The image, and the noise of the last step, `(N, C, H, W)` each."""

    x: Tensor
    noise: Tensor


@dataclass(frozen=True, kw_only=True)
class Langevin(IterativeSolver):
    """Annealed Langevin on the posterior, for any differentiable operator and Gaussian noise.

    Exact as `inner` grows, for a linear operator: step size and last level decrease with it, as `inner^(-1/4)` from
    their values at 5 inner steps, and the error of mean and variance is `O(inner^(-1/2))`. For few inner steps the
    chain lags behind the levels, so the variance is too large where the data determine little.

    Attributes:
        steps: number of noise levels.
        inner: Langevin steps at each level.
        rate: step size as a fraction of the stable one, below 2.
        share: last noise level, as a fraction of the measurement's noise in units of the image, `s / ||A||`.

    References:
        Bayesian Imaging Using Plug & Play Priors: When Langevin Meets Tweedie (Laumont et al., 2022),
        https://arxiv.org/abs/2103.04715, algorithm 1 (PnP-ULA). Annealing: Generative Modeling by Estimating Gradients
        of the Data Distribution (Song, Ermon, 2019), https://arxiv.org/abs/1907.05600, algorithm 1. The noise of two
        steps: Rational Construction of Stochastic Numerical Methods for Molecular Sampling (Leimkuhler, Matthews,
        2013), https://arxiv.org/abs/1203.5428, the modified Euler-Maruyama method.

    Differs:
        PnP-ULA stays at one level, keeps the chain in a box and averages over it, with fresh noise at each step. Here
        the level decreases, and the last state of a chain is one sample. The norm of a nonlinear operator is
        that of its derivative at a gray image. Its likelihood is widened at every level, its steps are 0.3 times as
        long, and its drift is tamed.

    Example:
        >>> Langevin(steps=20, inner=5).evaluations
        101
    """

    steps: int = 40
    inner: int = 5
    rate: float = 1.0
    share: float = 0.3

    name: ClassVar[str] = "langevin"
    summary: ClassVar[str] = "annealed Langevin on the posterior"
    paper: ClassVar[str] = "Laumont et al. 2022"
    needs: ClassVar[frozenset[str]] = frozenset({"gaussian", "vjp"})
    lower: ClassVar[str] = "rate"
    limit: ClassVar[str] = "inner"
    search: ClassVar[Ranges] = {"rate": Range(0.1, 1.6, log=True), "share": Range(0.05, 1.0)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_count(self, "inner")
        check_number(self, "rate", 0, 2, positive=True)
        check_number(self, "share", 0, positive=True)

    @property
    def evaluations(self) -> int:
        """One evaluation for each step, and one at the end."""
        return self.steps * self.inner + 1

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels in geometric progression, and 0."""
        r = prior.std / 0.5
        high = min(10 * r, prior.sigma_max)
        low = self._slower(self.share) * (data_level(problem) or 0.01 * r)
        low = max(min(low, PRIOR_SHARE * prior.std), prior.sigma_min)
        return geometric_levels(self.steps, min(low, high), high)

    def start(self, run: Run) -> Chain:
        """Return noise of the first level."""
        x = super().start(run)
        return Chain(x, run.randn(x))

    def step(self, run: Run, state: Chain, i: int) -> Chain:
        """Take the steps at one level."""
        sigma, (x, noise) = run.levels[i], state
        linear = isinstance(run.problem.operator, LinearOperator)
        part = (run.problem.gain * sigma) ** 2  # of the noise of x in the measurement, at most
        s2 = noise_std(run) ** 2
        own = linear and 0 < part <= s2 / 2  # whether the noise of x is a part of the measurement's own
        least = s2 - part if own else (s2 + part or 1.0)  # 1 for noiseless data of a zero operator
        gamma = self._slower(self.rate if linear else CAUTION * self.rate) / (1 / sigma**2 + part / sigma**2 / least)
        for _ in range(self.inner):
            score = tweedie_score(x, run.denoise(x, sigma), sigma)
            score = score + (sharpened_residual(run, x, sigma) if own else back_projected_residual(run, x) / least)
            if not linear:  # tamed: the drift is at most as long as the noise
                length = score.flatten(1).norm(dim=1)
                score = score / image_scale(1 + gamma * length / (sigma * math.sqrt(math.prod(x.shape[1:]))), score)
            fresh = run.randn(x)
            x, noise = langevin_step(x, score, gamma, (noise + fresh) / 2), fresh
        if run.levels[i + 1] == 0:
            x = run.denoise(torch.add(x, run.randn(x), alpha=sigma), sigma)
        return Chain(x, noise)

    def _slower(self, value: float) -> float:
        """Return a step size or level, reduced for more than `FEW` inner steps."""
        return value * math.pow(min(1.0, FEW / self.inner), 0.25)
