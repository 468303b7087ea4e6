"""One reverse step, from noise level `sigma` to `sigma_next`, in variance-exploding coordinates.

Given `x_t = x_0 + sigma_t n`, the law of `x_{t-1}` that DDIM uses for an estimate of `x_0` is

    q(x_{t-1} | x_t, x_0) = N(x_0 + sqrt(sigma_{t-1}^2 - s^2) / sigma_t (x_t - x_0),  s^2 I),
    s^2 = eta^2 sigma_{t-1}^2 (sigma_t^2 - sigma_{t-1}^2) / sigma_t^2,

which is the ancestral step of DDPM at `eta = 1` and a deterministic map at `eta = 0`.
"""

from __future__ import annotations

import math

from torch import Tensor


def ddim_coefficients(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """Return `(c, s)` such that `x_{t-1} = x_0 + c (x_t - x_0) + s n`.

    Args:
        sigma: present level, positive.
        sigma_next: next level, in `[0, sigma]`.
        eta: 0 for DDIM's deterministic map, 1 for the ancestral step.
    """
    s2 = eta**2 * sigma_next**2 * (1 - sigma_next**2 / sigma**2)
    return math.sqrt(max(sigma_next**2 - s2, 0.0)) / sigma, math.sqrt(s2)


def ddim_step(x: Tensor, x0: Tensor, sigma: float, sigma_next: float, eta: float, noise: Tensor | None) -> Tensor:
    """Draw `x_{t-1}` from `q(x_{t-1} | x_t, x_0)`.

    Args:
        x: `x_t`, `(B, C, H, W)`.
        x0: estimate of `x_0`, like `x`.
        sigma: level of `x_t`.
        sigma_next: level of `x_{t-1}`.
        eta: share of the ancestral step's noise, in [0, 1].
        noise: standard normal, like `x`; may be `None` where no noise enters (`eta = 0` or `sigma_next = 0`).

    Returns:
        `x_{t-1}`, like `x`.

    References:
        Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502, equations 12 and 16.
    """
    c, s = ddim_coefficients(sigma, sigma_next, eta)
    mean = x0 + c * (x - x0)
    if s == 0:
        return mean
    if noise is None:
        raise ValueError(f"ddim_step: noise: expected a standard normal tensor for eta={eta}, got None")
    return mean + s * noise
