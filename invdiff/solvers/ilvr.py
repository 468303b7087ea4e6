"""Iterative latent variable refinement (ILVR).

After each unconditional step the measured part of the image is replaced by the data, noised to the same level. With `P
= A^+ A` for the projection (a low-pass filter in the paper),

    x'      ~ q(x_{t-1} | x_t, x0_hat)
    x_{t-1} = x' - P x' + A^+ (y + sigma_{t-1} A n).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from ..transitions import ddim_step
from .common.guidance import toward_data
from .common.levels import ddpm_levels
from .common.run import Run
from .common.search import Range, Ranges
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class ILVR(IterativeSolver):
    """Replacement of the measured part by the noised data, which are treated as noiseless.

    Attributes:
        steps: number of noise levels, and of network evaluations; the authors use 100 and 250.
        free: fraction of the steps, at the end, that use the prior alone; 0 uses the data to the end, 0.2 is the
            authors' example.

    References:
        ILVR: Conditioning Method for Denoising Diffusion Probabilistic Models (Choi et al., 2021),
        https://arxiv.org/abs/2108.02938, algorithm 1.

    Differs:
        The paper's filter is down- and upsampling by a factor, not exactly a projection; `A^+ A` applies to every
        linear operator. The reference has the noise of level `t - 1`, as in the paper; in the authors' code it has that
        of level `t`, and the last step is unconditional. With noise `A^+` is Wiener's inverse, and for an operator
        without a closed form up to 20 steps of conjugate gradients: see `guidance.toward_data`.

    Example:
        >>> ILVR(free=0.2).steps
        100
    """

    steps: int = 100
    free: float = 0.0

    name: ClassVar[str] = "ilvr"
    summary: ClassVar[str] = "diffusion with the measured part replaced at every step"
    paper: ClassVar[str] = "Choi et al. 2021"
    needs: ClassVar[frozenset[str]] = frozenset({"linear"})
    approximates: ClassVar[bool] = True
    search: ClassVar[Ranges] = {"free": Range(0.0, 0.5)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "free", 0, 1)

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels uniform in the time of the variance-preserving SDE within the prior's range."""
        return ddpm_levels(self.steps, prior, problem)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one ancestral step and replace the measured part."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        x = ddim_step(x, run.denoise(x, sigma), sigma, sigma_next, 1.0, run.randn(x))
        if i >= round((1 - self.free) * self.steps):
            return x
        return toward_data(run, x, sigma_next, run.randn(x))
