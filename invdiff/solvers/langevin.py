"""Posterior Langevin: annealed, unadjusted Langevin on the posterior of a smoothed prior.

At decreasing noise levels `sigma_k`, with the measurement's noise `s` widened accordingly,

    x' = x + gamma_k (grad log p_sigma_k(x) + grad log N(y; A(x), (s^2 + sigma_k^2) I)) + sqrt(2 gamma_k) n
    gamma_k = rate / (1 / sigma_k^2 + ||A||^2 / (s^2 + sigma_k^2))

Its stationary distribution at a level has an error of `O(rate)`, and the posterior of the last level one of
`O(sigma^2)`. The chain is exact in the limit of large `inner` and small `rate` and `share`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from ..checks import check_count, check_number
from ..noise import Gaussian
from ..operators.base import LinearOperator
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import geometric_levels
from ..transitions import langevin_step, tweedie_score
from .common.run import Run
from .common.search import Range, Ranges
from .common.splitting import likelihood_score, noise_std
from .iterative import IterativeSolver


class Chain(NamedTuple):
    """The image, and the operator's norm, `(N,)`."""

    x: Tensor
    norm: Tensor


@dataclass(frozen=True, kw_only=True)
class Langevin(IterativeSolver):
    """Annealed Langevin on the posterior, for any differentiable operator and Gaussian noise.

    Attributes:
        steps: number of noise levels.
        inner: Langevin steps at each level.
        rate: step size as a fraction of the stable one, below 2.
        share: last noise level, as a fraction of the measurement's noise.

    References:
        Bayesian Imaging Using Plug & Play Priors: When Langevin Meets Tweedie (Laumont et al., 2022),
        https://arxiv.org/abs/2103.04715, algorithm 1 (PnP-ULA). Annealing: Generative Modeling by Estimating Gradients
        of the Data Distribution (Song, Ermon, 2019), https://arxiv.org/abs/1907.05600, algorithm 1.

    Differs:
        PnP-ULA stays at one level, keeps the chain in a box and averages over it. Here the level decreases, the last
        state of a chain is one sample, and it is denoised at the end. A nonlinear operator counts as one of norm 1, and
        its drift is tamed.

    Example:
        >>> Langevin(steps=20, inner=5).evaluations
        101
    """

    steps: int = 40
    inner: int = 5
    rate: float = 0.3
    share: float = 0.3

    name: ClassVar[str] = "langevin"
    summary: ClassVar[str] = "annealed Langevin on the posterior"
    paper: ClassVar[str] = "Laumont et al. 2022"
    needs: ClassVar[frozenset[str]] = frozenset({"gaussian", "vjp"})
    lower: ClassVar[str] = "rate"
    limit: ClassVar[str] = "inner"
    search: ClassVar[Ranges] = {"rate": Range(0.03, 1.0, log=True), "share": Range(0.05, 1.0)}

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
        assert isinstance(problem.noise, Gaussian)
        high = min(10 * r, prior.sigma_max)
        low = max(self.share * max(problem.noise.std, 0.01 * r), prior.sigma_min)
        return geometric_levels(self.steps, min(low, high), high)

    def start(self, run: Run) -> Chain:
        """Return noise of the first level."""
        operator, x = run.problem.operator, super().start(run)
        norm = operator.norm() if isinstance(operator, LinearOperator) else 1.0
        return Chain(x, x.new_full((run.rows,), norm))

    def step(self, run: Run, x: Chain, i: int) -> Chain:
        """Take the steps at one level."""
        sigma, image = run.levels[i], x.x
        variance = noise_std(run) ** 2 + sigma**2
        norm = float(x.norm[0]) if run.rows else 1.0
        gamma = self.rate / (1 / sigma**2 + norm**2 / variance)
        for _ in range(self.inner):
            score = tweedie_score(image, run.denoise(image, sigma), sigma)
            score = score + likelihood_score(run, image, std=variance**0.5)
            if not isinstance(run.problem.operator, LinearOperator):  # tamed: the drift is at most as long as the noise
                length = score.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
                score = score / (1 + gamma * length / (sigma * math.sqrt(math.prod(image.shape[1:]))))
            image = langevin_step(image, score, gamma, run.randn(image))
        return Chain(run.denoise(image, sigma) if run.levels[i + 1] == 0 else image, x.norm)
