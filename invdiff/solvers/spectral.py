"""One reverse step in the singular vectors of the operator.

With `A = U diag(s) V^T`, `b = V^T x`, `b0 = V^T x0_hat` and the data in the same coordinates, `d = U^T y / s` with
noise of standard deviation `tau = sigma_y / s`, the step from `sigma` to `sigma'` is, for each coefficient,

    s = 0               b0 + sqrt(1 - eta^2) sigma' (b - b0) / sigma + eta sigma' n           what A does not see
    sigma' < tau        b0 + sqrt(1 - eta^2) sigma' (d - b0) / tau + eta sigma' n             the data are noisier
    sigma' >= tau       (1 - eta_b) b0 + eta_b d + sqrt(sigma'^2 - eta_b^2 tau^2) n           the data are cleaner

Each case has the marginal variance `sigma'^2` that the denoiser expects.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..noise import Gaussian
from ..operators.base import LinearOperator, Spectrum
from ..problem import Problem
from .base import Run


def spectral_data(problem: Problem, like: Tensor) -> tuple[Spectrum, Tensor, Tensor, Tensor]:
    """Return the spectrum, which coefficients are seen, the data `d` `(N, ...)`, and their noise `tau`.

    Singular values below 1e-6 of the largest count as zero; `d` and `tau` are 0 where nothing is seen.

    Args:
        problem: an operator with a spectrum, Gaussian noise.
        like: images, for type and device.
    """
    operator = problem.operator
    assert isinstance(operator, LinearOperator) and isinstance(problem.noise, Gaussian)
    spectrum = operator.svd
    assert spectrum is not None
    s = spectrum.s.to(like)
    seen = s > 1e-6 * s.max() if s.numel() else s > 0
    inverse = torch.where(seen, 1 / torch.where(seen, s, 1), 0)
    return spectrum, seen, inverse * spectrum.Ut(problem.measurement), problem.noise.std * inverse


def spectral_start(run: Run, c: Tensor) -> Tensor:
    """Return `x_T`: `d + sqrt(sigma_T^2 - tau^2) n` where the data are cleaner than `sigma_T`, else `c + sigma_T n`."""
    spectrum, seen, d, tau = spectral_data(run.problem, c)
    sigma, n = run.levels[0], run.randn(c)
    x = c + sigma * n
    cleaner = d + (sigma**2 - tau**2).clamp(min=0).sqrt() * spectrum.Vt(n)
    b = spectrum.Vt(x)
    return x + spectrum.V(torch.where(seen & (tau <= sigma), cleaner, b) - b)


def spectral_step(run: Run, x: Tensor, x0: Tensor, sigma: float, sigma_next: float, eta: float, eta_b: float) -> Tensor:
    """Take the step above.

    Args:
        run: the batch.
        x: state at level `sigma`, `(N, C, H, W)`.
        x0: Tweedie's estimate there, like `x`.
        sigma: present level.
        sigma_next: next level, in `[0, sigma]`.
        eta: share of fresh noise where the data say nothing or little, in [0, 1].
        eta_b: share of the data where they say much, in [0, 1].
    """
    spectrum, seen, d, tau = spectral_data(run.problem, x)
    n = run.randn(x)
    keep = math.sqrt(1 - eta**2) * sigma_next
    free = x0 + keep / sigma * (x - x0) + eta * sigma_next * n
    b0, bn = spectrum.Vt(x0), spectrum.Vt(n)
    noisier = b0 + keep * (d - b0) / torch.where(tau > 0, tau, 1) + eta * sigma_next * bn
    spread = (sigma_next**2 - eta_b**2 * tau**2).clamp(min=0).sqrt()
    cleaner = (1 - eta_b) * b0 + eta_b * d + spread * bn
    bound = torch.where(tau <= sigma_next, cleaner, noisier)
    return free + spectrum.V(torch.where(seen, bound - spectrum.Vt(free), 0))
