"""SNIPS: stochastic solution of noisy inverse problems in the singular vectors of the operator.

Annealed Langevin dynamics on the posterior of the noisy image, where the noise of the level is treated as a part of the
measurement's noise. With `b = V^T x`, `h = V^T s(x, sigma_t)`, the data `d = U^T y / s` with noise `tau = sigma_y / s`,
and `q = sigma_t^2 / tau^2`, a coefficient has

              score                                 step
    s = 0     h                                     alpha sigma_t^2
    q < 1     h + (d - b) / (tau^2 - sigma_t^2)     alpha sigma_t^2 (1 - q)
    q >= 1    (d - b) / (sigma_t^2 - tau^2)         alpha (sigma_t^2 - tau^2)

and `b <- b + step score + sqrt(2 step) n` has the drift `alpha (d - b)` for `q >= 1`, and `alpha ((1 - q) sigma_t^2 h +
q (d - b))` for `q < 1`. The target is the exact posterior of the image with the lowest level's noise; the remaining
error is that of the Langevin steps.
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
from .common.levels import annealed_levels
from .common.run import Run
from .common.search import Range, Ranges
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class SNIPS(IterativeSolver):
    """Annealed Langevin dynamics in the operator's singular vectors.

    Attributes:
        steps: number of noise levels; the authors use 500 and 1086.
        inner: Langevin steps at each level; 5 and 3.
        rate: `alpha`, size of the steps in units of the level's variance, in (0, 1]; the authors' 3.3e-6 and 1.8e-6
            over the square of their lowest level, 0.01, are 0.033 and 0.018.

    References:
        SNIPS: Solving Noisy Inverse Problems Stochastically (Kawar et al., 2021), https://arxiv.org/abs/2105.14951,
        algorithm 1 and theorem 1.

    Differs:
        Fewer levels and longer steps by default. Coefficients whose data have exactly the noise of the level count as
        known; singular values below 1e-6 of the largest count as zero, in the code those below 1e-3. The lowest level's
        noise stays in the image, as in the authors' code.

    Example:
        >>> SNIPS(steps=500, inner=5, rate=0.033).evaluations
        2500
    """

    steps: int = 100
    inner: int = 5
    rate: float = 0.2

    name: ClassVar[str] = "snips"
    summary: ClassVar[str] = "diffusion by annealed Langevin in the operator's singular vectors"
    paper: ClassVar[str] = "Kawar et al. 2021"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "svd", "gaussian"})
    lower: ClassVar[str] = "rate"
    search: ClassVar[Ranges] = {"rate": Range(0.02, 1.0, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_count(self, "inner")
        check_number(self, "rate", 0, 1, positive=True)

    @property
    def evaluations(self) -> int:
        """`inner` evaluations for each level."""
        return self.steps * self.inner

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels in geometric progression within the prior's range."""
        return annealed_levels(self.steps, prior, problem)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take the Langevin steps at level `i`."""
        sigma = run.levels[i]
        spectrum, seen, d, tau = run.normalized
        q = torch.where(tau > 0, (sigma / torch.where(tau > 0, tau, 1)) ** 2, math.inf)
        spread = sigma * torch.where(q >= 1, 1 - 1 / q, 1 - q).clamp(min=0).sqrt()
        q = q.clamp(max=1)
        # Measured coefficients move by q (d - b) + (1 - q) sigma^2 h instead of sigma^2 h, Tweedie's correction, with
        # less noise. All coefficients take the latter step, and the difference is added to the measured ones.
        length, noise = self.rate, math.sqrt(2 * self.rate)
        to_data, to_noise = length * seen * q, noise * seen * (spread - sigma)
        for _ in range(self.inner):
            x0, n = run.denoise(x, sigma), run.randn(x)
            change = torch.addcmul(to_data * (d - spectrum.Vt(x0)), to_noise, spectrum.Vt(n))
            x = torch.lerp(x, x0, length).add_(n, alpha=noise * sigma).add_(spectrum.V(change))
        return x
