r"""Residual-matched posterior sampling (RMPS).

The distribution of the clean image given the noisy one is approximated by a Gaussian around `D = E[x_0 | x_t]`, with a
covariance that is diagonal in the singular vectors of the operator, `A = U diag(s) V^T`. It is estimated from the
measurement: for the residual of each coefficient, with noise of standard deviation `tau` in the units of the
    measurement,

    e = U^T y - s V^T D,        E e^2 = s^2 c + tau^2,

so `c` follows from the mean square of `e` over a band of coefficients with close singular values. For blurs and
downsampling a band is a ring of frequencies. With these variances every step is that of a Gaussian:

    x0_hat = D + V [s c / (s^2 c + tau^2)] e                                                E[x_0 | x_t, y]
    c_y    = c tau^2 / (s^2 c + tau^2)                                                      Var[x_0 | x_t, y]
    x'     = x0_hat + k (x - x0_hat) + sqrt(sigma'^2 (1 - k)) n + (1 - k) V [sqrt(c_y)] n',     k = sigma'^2 / sigma^2.

The last term is the variance that a step of finite length must include; at `sigma' = 0` it draws the last image. The
estimate of a band with few coefficients is uncertain, so it is averaged with the variance of white images, weighted by
the inverse variances. In the null space of `A` the variance is estimated from the state: `E (x - D)^2 = sigma^2 - c`,
as in `pixelwise`. Each step takes one evaluation; there are no gradients of the network and no step size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_count
from ..noise import Gaussian
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import karras_levels
from .common.levels import level_range
from .common.run import Run
from .common.singular import SingularData
from .iterative import IterativeSolver
from .pixelwise import unexplained

EXPECTED = (0.3, 0.5)
"""Prior mean and standard deviation of a band's variance, as fractions of that of white images."""
LEAST = 1e-3
"""Least variance of a band, as a fraction of that of white images."""


@dataclass(frozen=True, kw_only=True)
class RMPS(IterativeSolver):
    """Posterior sampling with the error of the denoiser measured on the residual, band by band.

    Attributes:
        steps: number of noise levels, and of network evaluations.
        bands: groups of coefficients with close singular values.

    References:
        Developed for this package. Moment matching (Rozet et al., 2024, https://arxiv.org/abs/2405.13712) takes the
        covariance from the denoiser's Jacobian; DDRM (Kawar et al., 2022, https://arxiv.org/abs/2201.11793) uses the
        same coordinates without one; the variance of the steps is that of Analytic-DPM (Bao et al., 2022,
        https://arxiv.org/abs/2201.06503).

    Example:
        >>> RMPS(steps=40).evaluations
        40
    """

    steps: int = 50
    bands: int = 16

    name: ClassVar[str] = "rmps"
    paper: ClassVar[str] = "after Kawar et al. 2022, Rozet et al. 2024"
    summary: ClassVar[str] = "ancestral steps with the denoiser's error measured on the residual"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "svd", "gaussian"})

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_count(self, "bands")

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return Karras' levels within the prior's range, and 0."""
        return karras_levels(self.steps, *level_range(prior, problem, 1.0))

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Condition the denoised image on the data, and take the step of its Gaussian."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        data, noise = run.singular, run.problem.noise
        assert data is not None and isinstance(noise, Gaussian)
        denoised = run.denoise(x, sigma)
        e = data.misfit(denoised)
        c = self.variance(data, e, noise.std, sigma, run.prior.std)
        total = data.s**2 * c + noise.std**2
        x0 = denoised + data.spectrum.V(data.s * c / total * e)
        k = (sigma_next / sigma) ** 2
        out = x0 + k * (x - x0) + math.sqrt(sigma_next**2 * (1 - k)) * run.randn(x)
        # The remaining variance: given state and data for measured coefficients, given the state for others.
        n, everywhere = run.randn(x), torch.ones((), dtype=torch.bool, device=x.device)
        hidden = unexplained(x - denoised, torch.full_like(x[:1, :1, :1, :1], sigma), everywhere, run.prior.std)
        coefficient = hidden.reshape(-1, *[1] * data.s.ndim)
        left = torch.where(data.s > 0, c * noise.std**2 / total, coefficient).sqrt() - coefficient.sqrt()
        n = hidden.sqrt() * n + data.spectrum.V(left * data.spectrum.Vt(n))
        return out + (1 - k) * n

    def variance(self, data: SingularData, e: Tensor, noise: float, sigma: float, std: float) -> Tensor:
        """Return `c`, the variance of each coefficient of `x_0` given `x_t`, `(N, *coefficients)`.

        Args:
            data: the measurement in the singular vectors.
            e: residual, `(N, *coefficients)`.
            noise: `tau`.
            sigma: level of `x_t`.
            std: standard deviation of the data.
        """
        white = 1 / (1 / sigma**2 + 1 / std**2)
        if not data.s.numel():
            return e
        band, count = data.bands(self.bands)
        s2, e2 = (banded(v, data.s, band, count) for v in ((data.s**2).expand_as(e[:1]), e.square()))
        expected, prior = EXPECTED[0] * white, (EXPECTED[1] * white) ** 2
        doubt = 2 / count.to(e) * (s2 * white + noise**2) ** 2  # variance of the mean square over a band, at most
        c = expected + prior * s2 * (e2 - s2 * expected - noise**2) / (prior * s2**2 + doubt)
        c = c.clamp(LEAST * white, white)
        return c[:, band].reshape(-1, *data.s.shape)


def banded(v: Tensor, s: Tensor, band: Tensor, count: Tensor) -> Tensor:
    """Return the means of `v` over bands of coefficients, `(N, bands)`.

    Args:
        v: `(N, *coefficients)`.
        s: singular values, with length 1 along the axes on which they are the same.
        band: index of the band of each of them, flat.
        count: coefficients in each band.
    """
    repeated = [a + 1 for a, (n, m) in enumerate(zip(s.shape, v.shape[1:], strict=True)) if n != m]
    flat = (v.sum(repeated, keepdim=True) if repeated else v).flatten(1)
    return v.new_zeros(len(v), len(count)).index_add_(1, band, flat) / count.to(v)
