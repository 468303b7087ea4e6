"""Denoising diffusion for plug-and-play restoration (DiffPIR).

Half-quadratic splitting along the noise levels: the denoiser's estimate is the prior step, a proximal step is the data
step, and the noise that is added back is partly predicted, partly fresh:

    x0_hat  = E[x_0 | x_t]
    x0_y    = argmin_x ||y - A(x)||^2 / (2 lambda s^2) + ||x - x0_hat||^2 / (2 sigma_t^2)
    eps     = (x_t - x0_y) / sigma_t
    x_{t-1} = x0_y + sigma_{t-1} (sqrt(1 - zeta) eps + sqrt(zeta) n)

with the standard deviation `s` of the measurement's noise. In variance-exploding coordinates the published factors
cancel.
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
from ..schedules import VP
from .common.levels import published_range
from .common.run import Run
from .common.search import SHARE, Range, Ranges
from .common.splitting import data_mode
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class DiffPIR(IterativeSolver):
    """DiffPIR, for Gaussian noise; in closed form or by conjugate gradients for a linear operator.

    Attributes:
        steps: number of noise levels, and of network evaluations; the authors use 20 to 100.
        weight: `lambda`, factor of the variance of the data's noise. The authors' code has 7 for blurs, in a convention
            that makes it 7 / 4 here.
        zeta: fraction of fresh noise in [0, 1]; the authors' code has 0.3 for blurs and 1 for inpainting.

    References:
        Denoising Diffusion Models for Plug-and-Play Image Restoration (Zhu et al., 2023),
        https://arxiv.org/abs/2305.08995, algorithm 1.

    Differs:
        The authors' code divides a noise level on [0, 1] by a `sigma_t` on [-1, 1], so its `lambda` is four times that
        of this class. It starts at the measurement, omits the data step at the last level, and returns a state of the
        lowest level with its noise; this class starts in pure noise and ends at level 0. A nonlinear operator has
        Gauss-Newton steps for the proximal step, where the paper takes one gradient step.

    Example:
        >>> DiffPIR(steps=20, zeta=0.3).steps
        20
    """

    steps: int = 100
    weight: float = 1.75
    zeta: float = 0.3

    name: ClassVar[str] = "diffpir"
    summary: ClassVar[str] = "half-quadratic splitting along the noise levels"
    paper: ClassVar[str] = "Zhu et al. 2023"
    needs: ClassVar[frozenset[str]] = frozenset({"gaussian", "vjp"})
    search: ClassVar[Ranges] = {"weight": Range(0.05, 20.0, log=True), "zeta": SHARE}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "weight", 0, positive=True)
        check_number(self, "zeta", 0, 1)

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels with times that are closer at low levels: `1 - sqrt(u)` of the range, `u` uniform."""
        r = prior.std / 0.5
        low, high = published_range(prior)
        vp = VP()
        u = torch.linspace(0, 1, self.steps, dtype=torch.float64)
        begin, end = float(vp.time(high)), float(vp.time(low))
        levels = r * vp.sigma(begin + (end - begin) * u.sqrt())
        return torch.cat([levels, levels.new_zeros(1)])

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Denoise, take the proximal step, and add noise."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        x0 = data_mode(run, run.denoise(x, sigma), sigma, noise_scale=math.sqrt(self.weight))
        if sigma_next == 0:
            return x0
        eps = (x - x0) / sigma
        return x0 + sigma_next * (math.sqrt(1 - self.zeta) * eps + math.sqrt(self.zeta) * run.randn(x))
