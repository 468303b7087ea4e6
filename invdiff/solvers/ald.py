"""Annealed Langevin dynamics with a measurement (score-ALD).

At each of the decreasing noise levels `sigma_t` the state takes a few Langevin steps on the prior's density at that
level times a likelihood with a variance raised accordingly:

    x <- x + eta_t (s(x, sigma_t) + J_A(x)^T (y - A(x)) / (s^2 + gamma_t^2)) + sqrt(2 eta_t) n,
    gamma_t = gamma |A| sigma_t,        eta_t = rate / (1 / sigma_t^2 + |A|^2 / (s^2 + gamma_t^2)).

No gradient of the network is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..noise import Gaussian
from ..priors.base import Prior
from ..problem import Problem
from ..transitions import langevin_step, tweedie_score
from .common.guidance import back_projected_residual
from .common.levels import annealed_levels
from .common.run import Run
from .common.search import Range, Ranges
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class ScoreALD(IterativeSolver):
    """Annealed Langevin dynamics on prior times likelihood, for any differentiable operator.

    Attributes:
        steps: number of noise levels; the authors use 2311.
        inner: Langevin steps at each level; the authors use 3.
        rate: size of the Langevin steps; stable below 1 for a prior without sharp peaks.
        gamma: widening of the likelihood at a noise level, `gamma_t / (|A| sigma_t)`.

    References:
        Robust Compressed Sensing MRI with Deep Generative Priors (Jalal et al., 2021),
        https://arxiv.org/abs/2108.01368, equation 4 and algorithm in appendix.

    Differs:
        The paper's `gamma_t` is tuned to the data; the authors' code (main.py) weights the data gradient by `mse /
        sigma_t^2` without the noise, an earlier version by 5 times the ratio of the norms of the two gradients. Its
        step is `c sigma_t^2`; here the step also decreases with the curvature of the likelihood, so one `rate` is
        stable for every operator. For a nonlinear operator `|A|` is that of its derivative at a gray image. The
        lowest level's noise stays in the image, as in the authors' code.

    Example:
        >>> ScoreALD(steps=100, inner=3).evaluations
        300
    """

    steps: int = 100
    inner: int = 5
    rate: float = 0.2
    gamma: float = 1.0

    name: ClassVar[str] = "ald"
    summary: ClassVar[str] = "diffusion by annealed Langevin with a measurement"
    paper: ClassVar[str] = "Jalal et al. 2021"
    needs: ClassVar[frozenset[str]] = frozenset({"gaussian", "vjp"})
    lower: ClassVar[str] = "rate"
    search: ClassVar[Ranges] = {"rate": Range(0.02, 1.0, log=True), "gamma": Range(0.05, 5.0, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_count(self, "inner")
        check_number(self, "rate", 0, positive=True)
        check_number(self, "gamma", 0, positive=True)

    @property
    def evaluations(self) -> int:
        """`inner` evaluations for each level."""
        return self.steps * self.inner

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels in geometric progression within the prior's range."""
        return annealed_levels(self.steps, prior, problem)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take the Langevin steps at level `i`."""
        sigma, problem = run.levels[i], run.problem
        assert isinstance(problem.noise, Gaussian)
        norm = problem.gain
        variance = problem.noise.std**2 + (self.gamma * max(norm, 1e-12) * sigma) ** 2
        eta = self.rate / (1 / sigma**2 + norm**2 / variance)
        for _ in range(self.inner):
            score = tweedie_score(x, run.denoise(x, sigma), sigma)
            score = torch.add(score, back_projected_residual(run, x), alpha=1 / variance)
            x = langevin_step(x, score, eta, run.randn(x))
        return x
