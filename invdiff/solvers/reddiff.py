"""Regularisation by denoising diffusion (RED-diff): a variational fit of one image.

The posterior is approximated by a point `mu`. The score matching form of the divergence has the stochastic gradient

    g = (n / m) A^T (A(mu) - y) / ||A||^2 + w (mu - E[x_0 | x_t = mu + sigma_t n])
    w = lambda + (n / m) (s / ||A||)^2 / max(sigma_t, v)^2

(`n` pixels, `m` observed entries, `v = prior.std`), which Adam descends while `sigma_t` decreases. In the paper `||A||`
is 1, and the second term is `lambda (sqrt(1 - abar) / sqrt(abar)) (eps_hat - eps)`; since `eps_hat - eps = (mu - D) /
sigma_t` and the factor is `sigma_t` in variance-exploding coordinates, the term does not depend on the schedule. The
second part of `w` is at most what the likelihood of noisy data, `1 / s^2` times the first term, needs beside the score
`(D - x_t) / sigma_t^2` of the prior. Without it a measurement that is mostly noise is fitted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from .common.adam import Descent
from .common.guidance import back_projected_residual
from .common.levels import data_level, ddpm_levels
from .common.run import Run
from .common.search import Range, Ranges
from .common.splitting import first_estimate
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class REDdiff(IterativeSolver):
    """RED-diff, for any differentiable operator, by least squares; it finds a mode, so samples differ little.

    Attributes:
        steps: number of noise levels; the authors take 1000, or 100.
        weight: `lambda`; the authors take 0.25.
        rate: Adam's step size for data on [-1, 1]; the authors take 0.1 to 0.5.
        normalized: whether the first term is divided by `||A||^2`, so that no units matter; published without.
        balanced: whether the prior weighs more for noisier data, as above; published with `w = lambda`.

    References:
        A Variational Perspective on Solving Inverse Problems with Diffusion Models (Mardani et al., 2024),
        https://arxiv.org/abs/2305.04391, algorithm 1.

    Differs:
        The losses of the authors' code are means over a batch, which gives the factor `n / m` here; Adam is invariant
        under a common factor. `||A||` and the second part of `w` are not in the paper, whose operators have a norm near
        1 and whose noise is low; both can be switched off. The authors start at the pseudo-inverse; here the first
        estimate is the posterior mean under a white prior around the prior's mean, which is stable and takes one
        evaluation.

    Example:
        >>> REDdiff(steps=50).evaluations
        51
    """

    steps: int = 100
    weight: float = 0.25
    rate: float = 0.1
    normalized: bool = True
    balanced: bool = True

    name: ClassVar[str] = "reddiff"
    summary: ClassVar[str] = "regularisation by denoising diffusion, a variational point"
    paper: ClassVar[str] = "Mardani et al. 2024"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    approximates: ClassVar[bool] = True
    lower: ClassVar[str] = "rate"
    search: ClassVar[Ranges] = {"weight": Range(0.01, 10.0, log=True), "rate": Range(0.01, 0.5, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "weight", 0)
        check_number(self, "rate", 0, positive=True)

    @property
    def evaluations(self) -> int:
        """One evaluation for the first estimate, and one for each level."""
        return self.steps + 1

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels uniform in the time of the variance-preserving SDE."""
        return ddpm_levels(self.steps, prior)

    def start(self, run: Run) -> Descent:
        """Return the first estimate."""
        return Descent.at(first_estimate(run))

    def step(self, run: Run, x: Descent, i: int) -> Descent:
        """Take one step of Adam."""
        sigma, mu = run.levels[i], x.image
        prior_side = mu - run.denoise(torch.add(mu, run.randn(mu), alpha=sigma), sigma)
        share = math.prod(run.problem.operator.in_shape) / max(1, run.problem.observations)
        size = (run.problem.gain if self.normalized else 1.0) or 1.0
        doubt = (data_level(run.problem) / max(sigma, run.prior.std)) ** 2 if self.balanced else 0.0
        weight = (self.weight + share * doubt) / run.unit
        g = torch.add(weight * prior_side, back_projected_residual(run, mu), alpha=-share / size**2 / run.unit)
        return x.down(g, i + 1, self.rate * run.unit)
