"""Noise levels, and the diffusions that they come from.

In variance-exploding coordinates a schedule is a decreasing sequence `sigma_T > ... > sigma_1 > sigma_0 = 0`. The variance-preserving
SDE with linear rate `beta(t) = beta_min + t (beta_max - beta_min)`, `t` in [0, 1], has

    alpha(t)^2 = exp(-B(t)),   B(t) = beta_min t + (beta_max - beta_min) t^2 / 2,   sigma(t) = sqrt(exp(B(t)) - 1),

where `x_vp = alpha x_ve`; DDPM's chain with betas from 1e-4 to 2e-2 over 1000 steps is its discretisation with 0.1 and 20.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _check_levels(steps: int, sigma_min: float, sigma_max: float) -> None:
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    if not 0 < sigma_min <= sigma_max:
        raise ValueError(f"sigma_min, sigma_max: expected 0 < sigma_min <= sigma_max, got {sigma_min} and {sigma_max}")


def vp_levels(
    steps: int, sigma_min: float, sigma_max: float, *, beta_min: float = 0.1, beta_max: float = 20.0
) -> Tensor:
    """Return the levels of the variance-preserving SDE, uniform in its time.

    Args:
        steps: number of positive levels.
        sigma_min: lowest positive level, for data of standard deviation about one.
        sigma_max: highest level.
        beta_min: rate at time 0.
        beta_max: rate at time 1.

    Returns:
        `steps + 1` decreasing levels in float64, the last one 0.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
        https://arxiv.org/abs/2011.13456, equation 11.
    """
    _check_levels(steps, sigma_min, sigma_max)
    slope = beta_max - beta_min

    def time(sigma: float) -> float:
        b = torch.log1p(torch.tensor(sigma, dtype=torch.float64) ** 2)
        return float((-beta_min + torch.sqrt(beta_min**2 + 2 * slope * b)) / slope)

    t = torch.linspace(time(sigma_max), time(sigma_min), steps, dtype=torch.float64)
    sigma = torch.sqrt(torch.expm1(beta_min * t + slope * t**2 / 2))
    return torch.cat([sigma, sigma.new_zeros(1)])


def geometric_levels(steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Return `steps` levels in geometric progression from `sigma_max` to `sigma_min`, then 0, in float64.

    References:
        Generative Modeling by Estimating Gradients of the Data Distribution (Song, Ermon, 2019),
        https://arxiv.org/abs/1907.05600, section 4.
    """
    _check_levels(steps, sigma_min, sigma_max)
    log = torch.linspace(*torch.tensor([sigma_max, sigma_min], dtype=torch.float64).log().tolist(), steps, dtype=torch.float64)
    return torch.cat([log.exp(), log.new_zeros(1)])


def karras_levels(steps: int, sigma_min: float, sigma_max: float, *, rho: float = 7.0) -> Tensor:
    """Return `steps` levels uniform in `sigma^(1/rho)`, then 0, in float64.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        https://arxiv.org/abs/2206.00364, equation 5.
    """
    _check_levels(steps, sigma_min, sigma_max)
    root = torch.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), steps, dtype=torch.float64)
    return torch.cat([root**rho, root.new_zeros(1)])
