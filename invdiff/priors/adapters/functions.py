r"""Priors from the functions that other libraries train: `denoise`, `eps`, the score, `v`.

A network has its own coordinates. With `value_range = (lo, hi)` a network's clean image is `u = lo + (hi - lo) x_0`, so
one unit here is `hi - lo` units of the network, and its noise levels `s` are `s / (hi - lo)` here. Its noisy image is

    u_t = alpha_t u + std_t n,        s_t = std_t / alpha_t,

and `t` is found from `sigma` by inverting `s_t = (hi - lo) sigma`: on a chain with rates `beta` the (real-valued) index
is interpolated linearly in `log s`, or rounded to the nearest one; on an SDE it is in closed form. Then

    eps(u_t, t)     estimates n                           E[u | u_t] = (u_t - std_t eps) / alpha_t
    score(u_t, t)   is grad log p_t(u_t)                  E[u | u_t] = (u_t + std_t^2 score) / alpha_t
    v(u_t, t)       estimates alpha_t n - std_t u         E[u | u_t] = alpha_t u_t - std_t v

with `alpha_t^2 + std_t^2 = 1` in the last line. Outside of the levels of its training a network gets the nearest level,
and the factors keep the true one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ...errors import UserTypeError
from ...schedules import Chain, Diffusion
from ..conversions import CleanImage, TotalNoise, TrainedPrior, Velocity
from .wrapping import (
    NATURAL_STD,
    Function,
    InPrecision,
    OwnLevel,
    Precision,
    ScoreAsNoise,
    Shape,
    affine,
    given,
    make,
    on_chain,
)


def from_denoiser(
    denoise: Callable[[Tensor, Tensor], Tensor],
    shape: Shape,
    *,
    sigma_min: float,
    sigma_max: float,
    value_range: tuple[float, float] = (-1.0, 1.0),
    std: float = NATURAL_STD,
    clip: bool = False,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of a denoiser, `denoise(x, sigma) = E[x_0 | x_0 + sigma n = x]` on images of its own range.

    Args:
        denoise: a module or function of `(B, C, H, W)` and noise levels `(B,)`, both in the units of `value_range`.
        shape: `(C, H, W)` of one image; `None` for any size.
        sigma_min: lowest level at which it can be trusted, in the units of `value_range`.
        sigma_max: highest such level.
        value_range: values of black and white in the denoiser's images.
        std: standard deviation of the data as images in [0, 1], which scales step sizes; by default that of
            photographs.
        clip: whether estimates are clipped to [0, 1].
        precision: type in which a module computes.

    Returns:
        The prior, on images in [0, 1].

    Raises:
        ValueError: an empty range of values or levels, or an unknown precision.

    Example:
        >>> prior = from_denoiser(lambda x, s: 0 * x, (1, None, None), sigma_min=0.01, sigma_max=100.0)
        >>> prior.denoise(torch.ones(1, 1, 2, 2), 0.5).unique().item()  # 0 on [-1, 1] is gray
        0.5
    """
    mean, scale = affine(value_range)
    label = OwnLevel(1 / scale, sigma_min, sigma_max)
    output = CleanImage(mean=mean, std=scale, label=label, scaled=False)
    return make(denoise, output, shape, (sigma_min, sigma_max), unit=scale, std=std, clip=clip, precision=precision)


def from_epsilon(
    eps: Function,
    shape: Shape,
    betas: ArrayLike | Tensor,
    *,
    value_range: tuple[float, float] = (-1.0, 1.0),
    std: float = NATURAL_STD,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    nearest: bool = False,
    clip: bool = False,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of a network that estimates the noise on a DDPM chain.

    Args:
        eps: a module or function `eps(u_t, t)` of noisy images `(B, C, H, W)` and indices `(B,)` from 0 to `K - 1`.
            Channels beyond `C`, of a learned variance, are dropped.
        shape: `(C, H, W)` of one image; `None` for any size.
        betas: the rates of the chain of its training, `(K,)`, all of them, because a respaced chain has other indices.
        value_range: values of black and white in the network's images.
        std: standard deviation of the data as images in [0, 1]; by default that of photographs.
        sigma_min: lowest level to trust, in the units of `value_range`; by default the chain's first.
        sigma_max: highest such level; by default the chain's last, at most 200 (for [-1, 1]).
        nearest: whether `t` is the nearest integer, as an integer tensor, instead of a real number between two.
        clip: whether estimates are clipped to [0, 1], as the authors' samplers do.
        precision: type in which a module computes.

    Returns:
        The prior, on images in [0, 1].

    Raises:
        ValueError: rates outside of (0, 1), or an empty range.

    References:
        Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239, equation 15.

    Example:
        >>> from invdiff.schedules import linear_betas
        >>> prior = from_epsilon(lambda u, t: 0 * u, (3, 8, 8), linear_betas())
        >>> round(prior.sigma_min, 4), round(prior.sigma_max, 1)
        (0.005, 78.7)
    """
    chain = Chain(torch.as_tensor(betas))
    return on_chain(
        eps, TotalNoise, shape, chain, value_range=value_range, std=std, sigma_min=sigma_min, sigma_max=sigma_max,
        nearest=nearest, clip=clip, precision=precision,
    )  # fmt: skip


def from_velocity(
    velocity: Function,
    shape: Shape,
    betas: ArrayLike | Tensor,
    *,
    value_range: tuple[float, float] = (-1.0, 1.0),
    std: float = NATURAL_STD,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    nearest: bool = False,
    clip: bool = False,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of a network that estimates `v = alpha_t n - std_t u` on a DDPM chain.

    Args:
        velocity: a module or function `v(u_t, t)`; see `from_epsilon`, also for the other arguments.
        shape: `(C, H, W)` of one image; `None` for any size.
        betas: the rates of the chain of its training, `(K,)`.
        value_range: values of black and white in the network's images.
        std: standard deviation of the data as images in [0, 1]; by default that of photographs.
        sigma_min: lowest level to trust, in the units of `value_range`; by default the chain's first.
        sigma_max: highest such level; by default the chain's last, at most 200 (for [-1, 1]).
        nearest: whether `t` is the nearest integer.
        clip: whether estimates are clipped to [0, 1].
        precision: type in which a module computes.

    Returns:
        The prior, on images in [0, 1].

    Raises:
        ValueError: rates outside of (0, 1), or an empty range.

    References:
        Progressive Distillation for Fast Sampling of Diffusion Models (Salimans, Ho, 2022),
        https://arxiv.org/abs/2202.00512, section 4.

    Example:
        >>> from invdiff.schedules import linear_betas
        >>> prior = from_velocity(lambda u, t: 0 * u, (1, None, None), linear_betas(), value_range=(0, 1))
        >>> round(prior.denoise(torch.ones(1, 1, 2, 2), 1.0).mean().item(), 6)  # alpha^2 x
        0.5
    """
    chain = Chain(torch.as_tensor(betas))
    return on_chain(
        velocity, Velocity, shape, chain, value_range=value_range, std=std, sigma_min=sigma_min, sigma_max=sigma_max,
        nearest=nearest, clip=clip, precision=precision,
    )  # fmt: skip


def from_score(
    score: Function,
    shape: Shape,
    sde: Diffusion,
    *,
    value_range: tuple[float, float] = (-1.0, 1.0),
    std: float = NATURAL_STD,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    clip: bool = False,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of a score, `grad log p_t(u_t)` along an SDE.

    Args:
        score: a module or function `score(u_t, t)` of noisy images `(B, C, H, W)` and times `(B,)` in [0, 1].
        shape: `(C, H, W)` of one image; `None` for any size.
        sde: its diffusion, for images in `value_range`: `invdiff.schedules.VP`, `SubVP`, `VE`.
        value_range: values of black and white in the score's images.
        std: standard deviation of the data as images in [0, 1]; by default that of photographs.
        sigma_min: lowest level to trust, in the units of `value_range`; by default the one at time 0, or at 1e-3, where
            the authors' samplers stop, if the former is 0.
        sigma_max: highest such level; by default the one at time 1.
        clip: whether estimates are clipped to [0, 1].
        precision: type in which a module computes.

    Returns:
        The prior, on images in [0, 1].

    Raises:
        TypeError: `sde` is no diffusion.
        ValueError: an empty range.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
        https://arxiv.org/abs/2011.13456, section 3.3.

    Example:
        >>> from invdiff.schedules import VE
        >>> prior = from_score(lambda u, t: -u, (1, None, None), VE(0.01, 50.0), value_range=(0, 1))
        >>> round(prior.denoise(torch.ones(1, 1, 2, 2), 0.5).mean().item(), 6)  # x - sigma^2 x
        0.75
    """
    if not isinstance(sde, Diffusion):
        raise UserTypeError(
            f"from_score: sde: expected a diffusion of invdiff.schedules, such as VP(), got {type(sde).__name__}"
        )
    start, end = float(sde.sigma(0.0)), float(sde.sigma(1.0))
    low, high = given(sigma_min, start or float(sde.sigma(1e-3))), given(sigma_max, end)
    mean, scale = affine(value_range)
    output = TotalNoise(mean=mean, std=scale, label=OwnLevel(1 / scale, low, high), scaled=False)
    network = ScoreAsNoise(InPrecision(score, precision), sde)
    return make(network, output, shape, (low, high), unit=scale, std=std, clip=clip, precision=None)
