"""Denoising diffusion null-space models for noisy data (DDNM+).

The clean estimate keeps its part in the null space of the operator and takes the rest from the data, limited by their
noise. With `A = U diag(s) V^T`, `tau = sigma_y / s` and the next level `sigma'`, for each singular vector

    x0' = x0_hat - V lambda s^{-1} U^T (A x0_hat - y),     lambda = 1                                 if sigma' >= tau,
                                                           lambda = sqrt(1 - eta^2) sigma' / tau      otherwise,
    x_{t-1} = x0' + noise that brings the variance to sigma'^2.

In the null space of `A` the noise is DDIM's, `sigma' (eta n + sqrt(1 - eta^2) (x_t - x0_hat) / sigma)`. For `eta_b = 1`
these are the cases of DDRM, in `spectral`. In addition there is time travel: every `length` levels the state returns to
a higher level, `x_{t+l} ~ q(x_{t+l} | x_t)`, and is denoised again, so that both parts of the image become consistent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from ..transitions import raise_noise
from .common.levels import ddpm_levels
from .common.run import Run
from .common.search import SHARE, Ranges
from .common.spectral import spectral_step
from .common.time_travel import count_descents, levels_at, time_travel_positions
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class DDNM(IterativeSolver):
    """Null-space denoising of noisy data, with time travel.

    Attributes:
        steps: number of noise levels; the authors use 100.
        eta: fraction of fresh noise in the null space; 0.85.
        length: number of levels of a return; 1 in the authors' configurations, 10 in the paper's examples.
        repeats: number of passes over each interval: 1 (no time travel) for most tasks of the authors, 3 for hard ones.

    References:
        Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model (Wang et al., 2023),
        https://arxiv.org/abs/2212.00490, algorithms 2 and 4, equation 51.

    Differs:
        The authors' code doubles the noise level, for images on [-1, 1]. For noiseless data it has DDIM's noise also in
        the range of `A`, where this class has fresh noise, as in the noisy case. Time travel adds noise to the state
        itself, as in algorithm 4; the code adds it to the network's last estimate.

    Example:
        >>> DDNM(steps=20, length=5, repeats=3).evaluations
        50
    """

    steps: int = 100
    eta: float = 0.85
    length: int = 1
    repeats: int = 1

    name: ClassVar[str] = "ddnm"
    summary: ClassVar[str] = "diffusion in the operator's null space, DDNM+ with time travel"
    paper: ClassVar[str] = "Wang et al. 2023"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "svd", "gaussian"})
    search: ClassVar[Ranges] = {"eta": SHARE}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_count(self, "length")
        check_count(self, "repeats")
        check_number(self, "eta", 0, 1)

    @property
    def evaluations(self) -> int:
        """One evaluation for each step to a lower level."""
        return count_descents(time_travel_positions(self.steps, self.length, self.repeats))

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return the levels of all steps; without time travel, uniform in the time of the variance-preserving SDE."""
        return levels_at(
            ddpm_levels(self.steps, prior, problem), time_travel_positions(self.steps, self.length, self.repeats)
        )

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one step to a lower level, or one return to a higher one."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        if sigma_next > sigma:
            return raise_noise(x, sigma, sigma_next, run.randn(x))
        return spectral_step(run, x, run.denoise(x, sigma), sigma, sigma_next, self.eta, 1.0)
