"""Score-based data assimilation (SDA).

The likelihood of the noisy image is approximated by that of Tweedie's estimate, with a variance that grows with the
noise level,

    p(y | x_t) ~ N(y; A(x0_hat), s^2 + gamma |A|^2 sigma_t^2),
    g = grad_{x_t} log p(y | x_t),        s(x_t | y) = s(x_t) + g,

where the additional variance approximates the covariance `A Cov[x_0 | x_t] A^T`. Each deterministic step of DDIM may be
followed by Langevin corrections at the new level, whose step size is inverse to the mean square of the score:

    x <- x + delta s(x | y) + sqrt(2 delta) n,        delta = tau / mean(s(x | y)^2).
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
from ..transitions import ddim_step, tweedie_score
from .common.guidance import bounded, data_gradient, dot, image_scale, tweedie_vjp
from .common.levels import ddpm_levels
from .common.run import Run
from .common.search import Range, Ranges
from .common.singular import squared
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class SDA(IterativeSolver):
    """Guidance with a likelihood that widens with the noise level, and Langevin corrections.

    Attributes:
        steps: number of noise levels; the authors use 64 to 512.
        gamma: growth of the likelihood's variance; 0.01.
        corrections: Langevin steps after each level, one network evaluation each; 0 to 5.
        tau: size of a correction; the authors use 0.25 to 0.5.
        damped: whether the guidance is bounded to avoid overshooting, see `guidance.bounded`, and a correction to
            twice its size for the prior's variance; the authors have no bounds.

    References:
        Score-based Data Assimilation (Rozet, Louppe, 2023), https://arxiv.org/abs/2306.10574, algorithms 3 and 4 and
        equation 15.

    Differs:
        The authors' code assumes operators of gain about 1; `|A|`, the largest singular value, extends it to others.
        Sizes of steps are per image, as there. Levels are uniform in the time of the variance-preserving SDE, where the
        code has `alpha(t) = cos(w t)^2`. No correction follows the last step, after which there is no noise.

    Example:
        >>> SDA(steps=64, corrections=1).evaluations
        127
    """

    steps: int = 100
    gamma: float = 0.01
    corrections: int = 1
    tau: float = 0.25
    damped: bool = True

    name: ClassVar[str] = "sda"
    summary: ClassVar[str] = "diffusion guided by a widened likelihood, with corrections"
    paper: ClassVar[str] = "Rozet, Louppe 2023"
    needs: ClassVar[frozenset[str]] = frozenset({"gaussian", "vjp"})
    search: ClassVar[Ranges] = {"gamma": Range(1e-3, 1.0, log=True), "tau": Range(0.02, 1.0, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_count(self, "corrections", 0)
        check_number(self, "gamma", 0, positive=True)
        check_number(self, "tau", 0)

    @property
    def evaluations(self) -> int:
        """One evaluation for each level, and one for each correction."""
        return self.steps + (self.steps - 1) * self.corrections

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels uniform in the time of the variance-preserving SDE within the prior's range."""
        return ddpm_levels(self.steps, prior, problem)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one step of DDIM, and the corrections."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        x = ddim_step(x, self.guided(run, x, sigma), sigma, sigma_next, 0.0, None)
        for _ in range(self.corrections if sigma_next > 0 else 0):
            score = tweedie_score(x, self.guided(run, x, sigma_next), sigma_next)
            # With few pixels the score may vanish by chance, and the step would be unbounded.
            least = x[0].numel() / (2 * (run.prior.std**2 + sigma_next**2)) if self.damped else 1e-30
            delta = image_scale(self.tau * x[0].numel() / squared(score).clamp(min=least), x)
            x = x + delta * score + (2 * delta).sqrt() * run.randn(x)
        return x

    def guided(self, run: Run, x: Tensor, sigma: float) -> Tensor:
        """Return `x0_hat + sigma^2 g`."""
        problem = run.problem
        assert isinstance(problem.noise, Gaussian)
        s2 = problem.noise.std**2
        variance = s2 + self.gamma * (max(problem.gain, 1e-12) * sigma) ** 2  # positive for a zero operator
        x0, vjp = tweedie_vjp(run, x, sigma)
        misfit, u = data_gradient(problem, x0)
        u = u / variance
        g = vjp(u)
        if self.damped:
            w2 = misfit / variance**2
            g = g * image_scale(bounded(variance * w2, s2 * w2, sigma**2 * dot(u, g)), g)
        return torch.add(x0, g, alpha=sigma**2)
