"""Denoising diffusion restoration models (DDRM).

The reverse step is taken in the singular vectors of the operator, where each coefficient has its own measurement `d =
U^T y / s` with noise `tau = sigma_y / s`, and is treated according to the ratio of `tau` to the next level: see
`spectral` for the three cases. The first state is `N(d, sigma_T^2 - tau^2)` in the range of `A^T`, `N(0, sigma_T^2)`
elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from .common.initial_state import center
from .common.levels import ddpm_levels
from .common.run import Run
from .common.search import SHARE, Ranges
from .common.spectral import spectral_start, spectral_step
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class DDRM(IterativeSolver):
    """Denoising in the operator's singular vectors, fast and without gradients.

    Attributes:
        steps: number of noise levels, and of network evaluations; the authors use 20.
        eta: fraction of fresh noise where there are no data or noisy ones; 0.85.
        eta_b: weight of the data where they are less noisy than the state; 1.

    References:
        Denoising Diffusion Restoration Models (Kawar et al., 2022), https://arxiv.org/abs/2201.11793, equations 7
        and 8.

    Differs:
        The authors' code doubles the given noise level, because its images are in [-1, 1]; here it is in the units of
        the measurement. Data with the noise of the next level count as less noisy, so noiseless data are matched
        exactly at the last step, where the code leaves the network's estimate. Levels are uniform in the time of the
        continuous diffusion, the code's in the index of a chain of 1000.

    Example:
        >>> DDRM().steps
        20
    """

    steps: int = 20
    eta: float = 0.85
    eta_b: float = 1.0

    name: ClassVar[str] = "ddrm"
    summary: ClassVar[str] = "diffusion in the operator's singular vectors, few steps"
    paper: ClassVar[str] = "Kawar et al. 2022"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "svd", "gaussian"})
    search: ClassVar[Ranges] = {"eta": SHARE, "eta_b": SHARE}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "eta", 0, 1)
        check_number(self, "eta_b", 0, 1)

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels uniform in the time of the variance-preserving SDE within the prior's range."""
        return ddpm_levels(self.steps, prior, problem)

    def start(self, run: Run) -> Tensor:
        """Return `x_T`, around the data in the range of `A^T`."""
        return spectral_start(run, center(run.problem, run.prior))

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one step in the spectral space."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        return spectral_step(run, x, run.denoise(x, sigma), sigma, sigma_next, self.eta, self.eta_b)
