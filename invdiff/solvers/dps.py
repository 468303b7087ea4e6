"""Diffusion posterior sampling (DPS).

The likelihood of the noisy image is approximated by that of Tweedie's estimate, `p(y | x_t) ~ p(y | x0_hat(x_t))`. The
step size of its gradient is inverse to the norm of the residual:

    x0_hat  = E[x_0 | x_t]
    x'      ~ q(x_{t-1} | x_t, x0_hat)
    x_{t-1} = x' - zeta grad_{x_t} ||y - A(x0_hat)||

in the variance-preserving coordinates of data on [-1, 1]. With `r = prior.std / 0.5` for the data's scale and
`alpha(sigma) = 1 / sqrt(1 + (sigma / r)^2)`, the same step in the coordinates of this package is

    x_{t-1} = x' - zeta r / (alpha_t alpha_{t-1}) grad_{x_t} ||y - A(x0_hat)||.

The length of the gradient of a norm does not depend on the number `d` of pixels, but the state must move by `sqrt(d)`
times the spread of one pixel in `steps` steps. So a published `zeta`, for 3 x 256 x 256 images and 1000 steps, is
converted by

    zeta = scale sqrt(d / (3 256 256)) 1000 / steps.

For an operator of any gain it is divided by `||A||`, so that the units of the measurement do not matter. With the
gradient `g` of the norm, a step is at most

    ||y - A(x0_hat)|| / (||g||^2 + (damping s / sigma_t)^2)

long. At `damping = 0` the linearised residual is then zero, at 1 it is what noise of standard deviation `s` leaves for
a prior of variance `sigma_t^2`, and the default is larger, since later steps continue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_number, integer
from ..priors.base import Prior
from ..problem import Problem
from ..transitions import ddim_step
from .common.guidance import data_gradient, image_scale, tweedie_vjp
from .common.levels import ddpm_levels
from .common.noise_models import noise_level
from .common.run import Run
from .common.search import SHARE, Range, Ranges
from .common.singular import squared
from .iterative import IterativeSolver

PUBLISHED_SIZE, PUBLISHED_STEPS = 3 * 256 * 256, 1000


@dataclass(frozen=True, kw_only=True)
class DPS(IterativeSolver):
    """Diffusion posterior sampling for any differentiable operator.

    Attributes:
        steps: number of noise levels, and of network evaluations; the authors use 1000.
        scale: step size, `zeta` for 3 x 256 x 256 images and 1000 steps. The authors' code has 0.3 for super-resolution
            and blurs, 0.5 for random inpainting, 1.0 for phase retrieval.
        eta: 1 for DDPM's transitions, 0 for DDIM's.
        normalized: whether the step is divided by `||A||`; published without.
        damping: how much noise shortens the steps; published without, 0.

    References:
        Diffusion Posterior Sampling for General Noisy Inverse Problems (Chung et al., 2023),
        https://arxiv.org/abs/2209.14687, algorithm 1.

    Differs:
        The norm is per image; the authors' code has one norm over the whole batch, so images depend on each other.
        `zeta` is scaled for other sizes, numbers of steps and gains, and its steps are bounded, as above, where the
        paper's have the length `zeta`. `normalized=False, damping=0` is the published step but for the bound by the
        residual. The default scale is larger than the authors' values. With the bounds it is near the exact posterior
        of Gaussian priors at 30, 100 and 300 steps and from 12 x 12 to 128 x 128 pixels. The paper's step is on the
        squared norm with `zeta_i = zeta / ||y - A(x0_hat)||`, which is twice the gradient of the norm; the authors'
        code, and this class, take the gradient of the norm itself. The variance of the transition is DDPM's lower
        bound, where the code uses the variance that its networks learned.

    Example:
        >>> DPS(steps=50).steps
        50
    """

    steps: int = 100
    scale: float = 6.0
    eta: float = 1.0
    normalized: bool = True
    damping: float = 1.5

    name: ClassVar[str] = "dps"
    summary: ClassVar[str] = "diffusion posterior sampling with Tweedie's estimate"
    paper: ClassVar[str] = "Chung et al. 2023"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    approximates: ClassVar[bool] = True
    lower: ClassVar[str] = "scale"
    search: ClassVar[Ranges] = {"scale": Range(0.1, 100.0, log=True), "eta": SHARE}

    def __post_init__(self) -> None:
        integer("DPS: steps", self.steps, 1, expected="at least 1")
        check_number(self, "scale", 0)
        check_number(self, "eta", 0, 1)
        check_number(self, "damping", 0)

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels uniform in the time of the variance-preserving SDE within the prior's range."""
        return ddpm_levels(self.steps, prior, problem)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one ancestral step and one gradient step."""
        sigma, sigma_next, r = run.levels[i], run.levels[i + 1], run.unit
        x0, vjp = tweedie_vjp(run, x, sigma)
        misfit, pull = data_gradient(run.problem, x0)
        norm = misfit.sqrt()
        run.record("residual", norm)
        ascent = vjp(pull * image_scale(_over(1.0, norm), pull))  # minus the gradient of ||y - A(x0_hat)||
        moved = ddim_step(x, x0, sigma, sigma_next, self.eta, run.randn(x))
        inverse_alphas = math.sqrt((1 + (sigma / r) ** 2) * (1 + (sigma_next / r) ** 2))
        zeta = self.scale * math.sqrt(x[0].numel() / PUBLISHED_SIZE) * PUBLISHED_STEPS / self.steps
        size = (run.problem.gain if self.normalized else 1.0) or 1.0
        noise = self.damping * noise_level(run.problem) / sigma
        length = _over(norm, squared(ascent) + noise**2).clamp(max=zeta * r * inverse_alphas / size)
        return torch.add(moved, ascent * image_scale(length, ascent))


def _over(a: float | Tensor, b: Tensor) -> Tensor:
    """Return `a / b`, 0 where `b` is."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1.0), 0.0)
