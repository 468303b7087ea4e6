"""Pseudo-inverse guided diffusion (PiGDM).

The distribution of the clean image given the noisy one is approximated by a Gaussian of variance `r_t^2` around
Tweedie's estimate, so for a linear operator and noise of standard deviation `s`

    p(y | x_t) ~ N(y; A x0_hat, r_t^2 A A^T + s^2 I),        r_t^2 = v sigma_t^2 / (v + sigma_t^2),  v = prior.std^2,
    g = grad_{x_t} log p(y | x_t) = J^T A^T (r_t^2 A A^T + s^2 I)^{-1} (y - A x0_hat),
    x_{t-1} ~ q(x_{t-1} | x_t, x0_hat + sigma_t^2 g).

For white Gaussian images of variance `v` all of this is exact. The authors weight the guidance differently,

    x_{t-1} ~ q(x_{t-1} | x_t, x0_hat) + r_t^2 sqrt(1 + (sigma_{t-1} / r)^2) g,        r = prior.std / 0.5,

which in their variance-preserving coordinates is `x_{t-1} += sqrt(alpha_t) r_t^2 g`.

Where the data vary far more than `v`, as the brightness of a photograph does, `r_t^2` is too small, `g` too large, and
the iteration may oscillate with growing amplitude. One step of conjugate gradients on `s^2 I + A sigma_t^2 J^T A^T`
gives the length along `w = (r_t^2 A A^T + s^2 I)^{-1} (y - A x0_hat)` from the Jacobian itself, at no extra cost:

    tau = w^T (r_t^2 A A^T + s^2 I) w / w^T (A sigma_t^2 J^T A^T + s^2 I) w,        g <- min(1, tau) g.

It is 1 for white Gaussian images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..noise import Gaussian
from ..priors.base import Prior
from ..problem import Problem
from ..transitions import ddim_step
from .common.guidance import bounded, dot, image_scale, tweedie_vjp, whitened_residual
from .common.levels import ddpm_levels
from .common.run import Run
from .common.search import SHARE, Range, Ranges
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class PiGDM(IterativeSolver):
    """Guidance by the pseudo-inverse, for linear operators and Gaussian noise.

    Attributes:
        steps: number of noise levels, and of network evaluations; the authors use 100.
        eta: 1 for the ancestral step, which the authors use, 0 for DDIM's.
        adaptive: whether the guidance has the authors' weight instead of the weight of the score.
        weight: factor of the guidance; 1 for the authors.
        damped: whether `g` is bounded to avoid overshooting; the authors have no such bound.

    References:
        Pseudoinverse-Guided Diffusion Models for Inverse Problems (Song et al., 2023),
        https://openreview.net/forum?id=9_gsMA8MRKQ, algorithm 1 and equations 7 and 8.

    Differs:
        `r_t` has the variance of the data, where the paper and its code have 1. The authors' code (algos/pgdm.py of
        NVlabs/RED-diff) omits the measurement's noise, with `A^+` in place of the regularised inverse; with its switch
        `awd` it weights the guidance by `sqrt(alpha_s alpha_t)` where the paper has `sqrt(alpha_t)`, without it as here
        except for a factor `alpha_t`. It starts around `A^+ y`; here the initial state is that of every solver. Its
        networks clip `x0_hat` to [-1, 1], which bounds an overshoot; a prior without this bound diverges with the
        published step, hence `damped`. For an operator without a closed form the inverse is up to 20 steps of conjugate
        gradients.

    Example:
        >>> PiGDM(steps=50).adaptive
        False
    """

    steps: int = 100
    eta: float = 1.0
    adaptive: bool = False
    weight: float = 1.0
    damped: bool = True

    name: ClassVar[str] = "pigdm"
    summary: ClassVar[str] = "diffusion guided by the pseudo-inverse"
    paper: ClassVar[str] = "Song et al. 2023"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "gaussian", "vjp"})
    lower: ClassVar[str] = "weight"
    search: ClassVar[Ranges] = {"eta": SHARE, "weight": Range(0.2, 5.0, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "eta", 0, 1)
        check_number(self, "weight", 0)

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels uniform in the time of the variance-preserving SDE within the prior's range."""
        return ddpm_levels(self.steps, prior, problem)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one ancestral step towards the guided estimate."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        v, problem = run.prior.std**2, run.problem
        assert isinstance(problem.noise, Gaussian)
        r2 = v * sigma**2 / (v + sigma**2)

        x0, vjp = tweedie_vjp(run, x, sigma)
        w = whitened_residual(problem, run.short_cut, x0, r2)
        g = vjp(w.back_projected)
        if self.damped:
            g = g * image_scale(bounded(w.assumed, w.noise, sigma**2 * dot(w.back_projected, g)), g)
        if self.adaptive:
            moved = ddim_step(x, x0, sigma, sigma_next, self.eta, run.randn(x))
            return moved.add_(g, alpha=self.weight * r2 * math.sqrt(1 + (sigma_next / run.unit) ** 2))
        return ddim_step(x, torch.add(x0, g, alpha=self.weight * sigma**2), sigma, sigma_next, self.eta, run.randn(x))
