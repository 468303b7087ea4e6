"""Decreasing noise levels `sigma_T > ... > sigma_1 > sigma_0 = 0`, in float64.

A spacing places `T` positive levels between two ends. All of them commute with a change of units, except `vp_levels`,
which is for data of standard deviation about one. `scaled_levels` applies any spacing to data of another scale.

    geometric   sigma_i = sigma_max (sigma_min / sigma_max)^(i / (T - 1))
    Karras      sigma_i = (sigma_max^(1/rho) + i / (T - 1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho
    VP          sigma_i = sqrt(exp(B(t_i)) - 1),  t_i uniform,  B(t) = beta_min t + (beta_max - beta_min) t^2 / 2
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from .diffusions import VP, check_levels

Spacing: TypeAlias = Callable[[int, float, float], Tensor]
"""`(steps, sigma_min, sigma_max)` to `steps + 1` decreasing levels in float64, the last one 0."""


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
    return VP(beta_min, beta_max).levels(steps, sigma_min, sigma_max)


def geometric_levels(steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Return `steps` levels in geometric progression from `sigma_max` to `sigma_min`, then 0, in float64.

    References:
        Generative Modeling by Estimating Gradients of the Data Distribution (Song, Ermon, 2019),
        https://arxiv.org/abs/1907.05600, section 4.
    """
    check_levels(steps, sigma_min, sigma_max)
    log = torch.linspace(math.log(sigma_max), math.log(sigma_min), steps, dtype=torch.float64)
    return torch.cat([log.exp(), log.new_zeros(1)])


def karras_levels(steps: int, sigma_min: float, sigma_max: float, *, rho: float = 7.0) -> Tensor:
    """Return `steps` levels uniform in `sigma^(1/rho)`, then 0, in float64.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        https://arxiv.org/abs/2206.00364, equation 5.
    """
    check_levels(steps, sigma_min, sigma_max)
    root = torch.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), steps, dtype=torch.float64)
    return torch.cat([root**rho, root.new_zeros(1)])


def alpha_levels(steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Return `steps` levels uniform in the variance-preserving factor `alpha = 1 / sqrt(1 + sigma^2)`, then 0.

    It is for data of standard deviation about one; `scaled_levels` applies it to other data.

    References:
        Monte Carlo guided Diffusion for Bayesian linear inverse problems (Cardoso et al., 2024),
        https://arxiv.org/abs/2308.07983, appendix C.
    """
    check_levels(steps, sigma_min, sigma_max)
    alpha = torch.linspace(1 / math.sqrt(1 + sigma_max**2), 1 / math.sqrt(1 + sigma_min**2), steps, dtype=torch.float64)
    return torch.cat([torch.sqrt(1 / alpha**2 - 1), alpha.new_zeros(1)])


def scaled_levels(spacing: Spacing, steps: int, sigma_min: float, sigma_max: float, unit: float) -> Tensor:
    """Return the levels of `spacing` for data whose standard deviation is `unit`.

    Args:
        spacing: the spacing for data of standard deviation one.
        steps: number of positive levels.
        sigma_min: lowest positive level, in units of the images.
        sigma_max: highest level, in units of the images.
        unit: the data's standard deviation; `prior.std / 0.5` for schedules that were published for data on [-1, 1].

    Returns:
        `steps + 1` decreasing levels in float64, the last one 0.
    """
    if not unit > 0:
        raise ValueError(f"scaled_levels: unit: expected a positive number, got {unit}")
    return unit * spacing(steps, sigma_min / unit, sigma_max / unit)


SPACINGS: Mapping[str, Spacing] = {"vp": vp_levels, "karras": karras_levels, "geometric": geometric_levels}
"""Spacings by their names on the command line."""
