"""Manifold constrained gradient (MCG).

A gradient step as in DPS corrects the part in the null space of the operator. The measured part is then replaced by the
noised data:

    x'      ~ q(x_{t-1} | x_t, x0_hat)
    x''     = x' - alpha grad_{x_t} ||A^+ (y - A x0_hat)||
    x_{t-1} = x'' + A^+ (y + sigma_{t-1} A n - A x'').

The gradient of the norm in `x0_hat` is the unit vector along `A^+ (y - A x0_hat)`, since `A^+ A` is a projection, so no
derivative of the pseudo-inverse is needed. Step sizes are converted from the coordinates of the paper as in `dps`.
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
from ..transitions import ddim_step
from .common.data_step import FEW, data_step
from .common.guidance import image_scale, toward_data, tweedie_vjp
from .common.levels import ddpm_levels
from .common.run import Run
from .common.search import Range, Ranges
from .common.singular import squared
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class MCG(IterativeSolver):
    """Guidance by a gradient, then replacement of the measured part; the data are treated as nearly noiseless.

    Attributes:
        steps: number of noise levels, and of network evaluations; the authors use 1000, 2000 for tomography.
        scale: step size `alpha`; 1 in the authors' code for masks, 0.1 for colours.

    References:
        Improving Diffusion Models for Inverse Problems using Manifold Constraints (Chung et al., 2022),
        https://arxiv.org/abs/2206.00941, algorithm 1 and equation 14.

    Differs:
        The paper has the squared norm with a step size inverse to the norm; the authors' code, and this class, the norm
        itself, per image and not over the batch. For tomography the code keeps only the unmeasured part of the
        gradient, which the replacement also achieves, and replaces by one step of SIRT. With noise `A^+` is Wiener's
        inverse, see `guidance.toward_data`.

    Example:
        >>> MCG(scale=0.5).steps
        100
    """

    steps: int = 100
    scale: float = 1.0

    name: ClassVar[str] = "mcg"
    summary: ClassVar[str] = "diffusion with manifold constrained gradients"
    paper: ClassVar[str] = "Chung et al. 2022"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "vjp"})
    approximates: ClassVar[bool] = True
    lower: ClassVar[str] = "scale"
    search: ClassVar[Ranges] = {"scale": Range(0.05, 20.0, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "scale", 0)

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels uniform in the time of the variance-preserving SDE within the prior's range."""
        return ddpm_levels(self.steps, prior, problem)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one ancestral step, one gradient step, and replace the measured part."""
        sigma, sigma_next, r = run.levels[i], run.levels[i + 1], run.unit
        x0, vjp = tweedie_vjp(run, x, sigma)
        displacement = data_step(run.problem, run.short_cut, x0, 0.0, iterations=FEW)
        norm = squared(displacement).sqrt()
        ascent = vjp(displacement * image_scale(1 / torch.where(norm > 0, norm, math.inf), displacement))
        moved = ddim_step(x, x0, sigma, sigma_next, 1.0, run.randn(x))
        inverse_alphas = math.sqrt((1 + (sigma / r) ** 2) * (1 + (sigma_next / r) ** 2))
        moved = torch.add(moved, ascent, alpha=self.scale * r * inverse_alphas)
        # The gradient's length does not decrease with the noise, so its effect on the measured part must be undone.
        return toward_data(run, moved, sigma_next, run.randn(x), spread=run.prior.std)
