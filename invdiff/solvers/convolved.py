"""Guidance by the convolved likelihood.

Prior and likelihood are convolved with the noise separately, which has a closed form for a linear operator:

    p(y | x_t) ~ N(y; A x_t, s^2 I + sigma_t^2 A A^T),
    g = grad_{x_t} log p(y | x_t) = A^T (sigma_t^2 A A^T + s^2 I)^{-1} (y - A x_t),
    x_{t-1} ~ q(x_{t-1} | x_t, x0_hat + sigma_t^2 g).

It is exact for a flat prior, for which only `x_t` determines `x_0`. For an informative prior the data have too little
weight at high noise. No gradient of the network is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..checks import check_count, check_number
from ..noise import Gaussian
from ..operators.base import LinearOperator
from ..priors.base import Prior
from ..problem import Problem
from ..transitions import ddim_step
from .common.data_step import FEW, data_step, distinct
from .common.levels import annealed_levels
from .common.run import Run
from .common.search import SHARE, Ranges
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class ConvolvedLikelihood(IterativeSolver):
    """Guidance by the likelihood of the noisy image itself, for linear operators and Gaussian noise.

    Attributes:
        steps: number of noise levels, and of network evaluations; the authors use 2000 to 8000.
        eta: 1 for the ancestral step, 0 for DDIM's.

    References:
        Posterior Samples of Source Galaxies in Strong Gravitational Lenses with Score-Based Priors (Adam et al., 2022),
        https://arxiv.org/abs/2211.03812, appendix A.

    Differs:
        The authors take Euler steps of the reverse SDE (score_models on GitHub), which are unstable if `sigma_t^2`
        decreases much in a step; the ancestral step has the same limit. Their nonlinear lens is linearised; here the
        operator must be linear. For an operator without a closed form the inverse is up to 20 steps of conjugate
        gradients.

    Example:
        >>> ConvolvedLikelihood(steps=500).evaluations
        500
    """

    steps: int = 200
    eta: float = 1.0

    name: ClassVar[str] = "convolved"
    summary: ClassVar[str] = "diffusion guided by the convolved likelihood"
    paper: ClassVar[str] = "Adam et al. 2022"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "gaussian"})
    search: ClassVar[Ranges] = {"eta": SHARE}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "eta", 0, 1)

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels in geometric progression within the prior's range."""
        return annealed_levels(self.steps, prior, problem)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one ancestral step towards the guided estimate."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        problem = run.problem
        assert isinstance(problem.operator, LinearOperator) and isinstance(problem.noise, Gaussian)
        rho = distinct(problem.operator, (problem.noise.std / sigma) ** 2)
        g = data_step(problem, run.short_cut, x, rho, iterations=FEW)  # sigma^2 times the gradient
        return ddim_step(x, run.denoise(x, sigma) + g, sigma, sigma_next, self.eta, run.randn(x))
