r"""Reverse diffusion from the measurement, with a noise level for each pixel.

If an operator acts on each pixel separately, `y_i = g_i x_i + s_i n_i`, the measurement is a noisy image, of level
`tau_i = s_i / |g_i|` at pixel `i`, infinite where nothing was measured:

    p(x_0 | y) = p(x_0 | z),      z_i = y_i / g_i = x_i + tau_i n_i.

For a denoiser with a level for each pixel, the posterior is the prior's own reverse diffusion from `z`: along global
levels `sigma_T > ... > 0` pixel `i` has the level `l_i = min(sigma_t, tau_i)`, and is unchanged until the global level
is below its own. With `D = E[x_0 | x_t]` at these levels and `k = l'^2 / l^2`, pixel by pixel,

    x' = D + k (x - D) + sqrt(l'^2 (1 - k) + (1 - k)^2 c) n,

where `c` is the variance of `x_0` given `x_t`, which a step of finite length must include. It is estimated from the
state: `x - D` and `D - x_0` are orthogonal, so `E (x - D)^2 = l^2 - c`. The only approximations are the denoiser, the
length of the steps, and the fraction `c / l^2`, which is the same for all moving pixels.

The first denoised image is `E[x_0 | y]` itself; it is the estimate of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_count
from ..operators.base import LinearOperator
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import geometric_levels
from .common.initial_state import center
from .common.pixel_levels import pixel_levels
from .common.run import Run
from .iterative import IterativeSolver

CAUTION = 1 / 64
"""Prior variance of the unexplained fraction around that of white images, in units of its square."""


@dataclass(frozen=True, kw_only=True)
class Pixelwise(IterativeSolver):
    """Reverse diffusion from the measurement, for denoising, masks and noise that varies over the image.

    Unequal levels need a prior with `noise_maps`. Any other prior gets the state with noise added up to the highest
    level, which loses information of less noisy pixels, so the samples are approximate.

    Attributes:
        steps: number of noise levels, and of network evaluations.

    References:
        Developed for this package. For a uniform level it is the reverse diffusion of DDPM begun in its middle,
        Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239, algorithm 2; the
        variance of its steps is that of Analytic-DPM (Bao et al., 2022), https://arxiv.org/abs/2201.06503, theorem 1,
        measured on the state.

    Example:
        >>> Pixelwise(steps=20).evaluations
        20
    """

    steps: int = 30

    name: ClassVar[str] = "pixelwise"
    paper: ClassVar[str] = "after Ho et al. 2020, Bao et al. 2022"
    summary: ClassVar[str] = "reverse diffusion from the measurement, each pixel at its own level"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "gaussian", "pixelwise"})

    def __post_init__(self) -> None:
        check_count(self, "steps")

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return geometric levels from the highest of the pixels down to the prior's lowest level, and 0."""
        tau = pixel_levels(problem)
        assert tau is not None
        top = min(float(tau.max()), prior.sigma_max)
        if top == 0:  # without noise the measurement is the image
            return torch.zeros(1, dtype=torch.float64)
        # Below a tenth of the noise of the least noisy pixel one step suffices.
        return geometric_levels(self.steps, min(max(prior.sigma_min, float(tau.min()) / 10), 0.99 * top), top)

    def start(self, run: Run) -> Tensor:
        """Return `z` where its level is below the highest one, noise around the centre elsewhere."""
        tau, z = self._data(run)
        top = run.levels[0]
        if bool((tau <= top).all()):
            return z.clone()
        c = center(run.problem, run.prior)
        return torch.where(tau <= top, z, c + top * run.randn(c))

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Denoise at the levels of the pixels, and move those above the next level to it."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        tau, _ = self._data(run)
        level = tau.clamp(max=sigma)
        x0 = self._denoise(run, x, level, sigma)
        if i == 0 and (run.prior.noise_maps or bool((level == sigma).all())):  # else it has not seen the measurement
            run.add_estimate(x0)
        moves = level > sigma_next
        k = torch.where(moves, sigma_next / level.clamp(min=torch.finfo(level.dtype).tiny), 1) ** 2
        spread = sigma_next**2 * (1 - k) + (1 - k) ** 2 * unexplained(x - x0, level, moves, run.prior.std)
        return torch.where(moves, x0 + k * (x - x0) + spread.sqrt() * run.randn(x), x)

    def _denoise(self, run: Run, x: Tensor, level: Tensor, sigma: float) -> Tensor:
        """Return `E[x_0 | x]`, with a level for each pixel if the prior has them, else with noise up to one."""
        if bool((level == sigma).all()):
            return run.denoise(x, sigma)
        if run.prior.noise_maps:
            return run.denoise(x, level.expand(1, 1, *x.shape[-2:]))
        return run.denoise(x + (sigma**2 - level**2).clamp(min=0).sqrt() * run.randn(x), sigma)

    def _data(self, run: Run) -> tuple[Tensor, Tensor]:
        """Return `tau`, which broadcasts to images, and `z`, `(N, C, H, W)`, 0 where nothing was measured."""
        tau, y, operator = pixel_levels(run.problem), run.problem.measurement, run.problem.operator
        assert tau is not None and isinstance(operator, LinearOperator) and operator.pixel_gains is not None
        g = operator.pixel_gains.to(y)
        return tau.to(y)[None], torch.where(g == 0, 0, y / torch.where(g == 0, 1, g))


def unexplained(residual: Tensor, level: Tensor, moves: Tensor, std: float) -> Tensor:
    """Return `c`, the variance of `x_0` given `x_t` at each pixel, from the pixels that move.

    Args:
        residual: `x - D`, `(N, C, H, W)`.
        level: `l`, broadcasts to it.
        moves: mask of the moving pixels, broadcasts to it.
        std: standard deviation of the data; white images would have `1 / c = 1 / l^2 + 1 / std^2`.

    Returns:
        At most the value of white images, like `residual`.
    """
    share = level**2 / (level**2 + std**2)
    white = level**2 * (1 - share)
    keep = moves.expand_as(residual)
    count = keep.flatten(1).sum(1).clamp(min=1)
    wide = [-1, *[1] * (residual.ndim - 1)]

    def average(v: Tensor) -> Tensor:
        return ((v * keep).flatten(1).sum(1) / count).reshape(wide)

    level = level.clamp(min=torch.finfo(level.dtype).tiny)
    seen = 1 - average((residual / level).where(keep, 0) ** 2)  # of c / l^2, with variance 2 / count
    expected = average((1 - share).expand_as(residual))
    trust = 1 / (1 + 2 / count.reshape(wide) / (CAUTION * expected**2))
    ratio = (expected + trust * (seen - expected)).clamp(min=0) / expected
    return white * ratio.clamp(max=1)
