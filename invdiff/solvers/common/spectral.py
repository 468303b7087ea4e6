"""One reverse step in the singular vectors of the operator.

With `A = U diag(s) V^T`, `b = V^T x`, `b0 = V^T x0_hat` and the data in the same coordinates, `d = U^T y / s` with
noise of standard deviation `tau = sigma_y / s`, the step from `sigma` to `sigma'` is, for each coefficient,

    s = 0               b0 + sqrt(1 - eta^2) sigma' (b - b0) / sigma + eta sigma' n           null space of A
    sigma' < tau        b0 + sqrt(1 - eta^2) sigma' (d - b0) / tau + eta sigma' n             the data are noisier
    sigma' >= tau       (1 - eta_b) b0 + eta_b d + sqrt(sigma'^2 - eta_b^2 tau^2) n           the data are less noisy

Each case has the marginal variance `sigma'^2`, as the denoiser needs.

References:
    Denoising Diffusion Restoration Models (Kawar et al., 2022), https://arxiv.org/abs/2201.11793, equations 7 and 8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .run import Run


def spectral_start(run: Run, c: Tensor) -> Tensor:
    """Return `x_T`: `d + sqrt(sigma_T^2 - tau^2) n` if the data are less noisy than `sigma_T`, else `c + sigma_T n`."""
    spectrum, seen, d, tau = run.normalized
    sigma, n = run.levels[0], run.randn(c)
    x = c + sigma * n
    cleaner = d + (sigma**2 - tau**2).clamp(min=0).sqrt() * spectrum.Vt(n)
    b = spectrum.Vt(x)
    return x + spectrum.V(seen * (tau <= sigma) * (cleaner - b))


def spectral_step(run: Run, x: Tensor, x0: Tensor, sigma: float, sigma_next: float, eta: float, eta_b: float) -> Tensor:
    """Take the step above.

    Args:
        run: the batch.
        x: state at level `sigma`, `(N, C, H, W)`.
        x0: Tweedie's estimate there, like `x`.
        sigma: present level.
        sigma_next: next level, in `[0, sigma]`.
        eta: fraction of fresh noise where there are no data or noisy ones, in [0, 1].
        eta_b: weight of less noisy data, in [0, 1].
    """
    spectrum, seen, d, tau = run.normalized
    n = run.randn(x)
    keep = math.sqrt(1 - eta**2) * sigma_next
    free = torch.lerp(x0, x, keep / sigma).add_(n, alpha=eta * sigma_next)
    # Measured coefficients move from b0 + keep (b - b0) / sigma + eta sigma' n to one of the last two cases.
    cleaner = tau <= sigma_next
    spread = (sigma_next**2 - (eta_b * tau) ** 2).clamp_(min=0).sqrt_()
    to_data = seen * torch.where(cleaner, eta_b, keep / tau.clamp(min=sigma_next or 1.0))
    to_noise = seen * torch.where(cleaner, spread - eta * sigma_next, 0.0)
    b0 = spectrum.Vt(x0)
    change = torch.addcmul((d - b0).mul_(to_data), to_noise, spectrum.Vt(n))
    if keep > 0:
        change.addcmul_(seen, spectrum.Vt(x) - b0, value=-keep / sigma)
    return free.add_(spectrum.V(change))
