"""One reverse step, from noise level `sigma` to `sigma_next`, in variance-exploding coordinates.

Given `x_t = x_0 + sigma_t n`, DDIM's distribution of `x_{t-1}` for an estimate of `x_0` is

    q(x_{t-1} | x_t, x_0) = N(x_0 + sqrt(sigma_{t-1}^2 - s^2) / sigma_t (x_t - x_0),  s^2 I),
    s^2 = eta^2 sigma_{t-1}^2 (sigma_t^2 - sigma_{t-1}^2) / sigma_t^2,

which is the ancestral step of DDPM at `eta = 1` and a deterministic map at `eta = 0`. In continuous time, with the
score `s(x) = (denoise(x, sigma) - x) / sigma^2`, the noise decreases along

    probability flow   dx / d sigma = -sigma s(x) = (x - denoise(x, sigma)) / sigma
    reverse SDE        dx = -s(x) d sigma^2 + sqrt(-d sigma^2) n      (sigma^2 runs downwards)

and is constant along Langevin's diffusion, `dx = s(x) d tau + sqrt(2 d tau) n`. The Euler step on the flow is DDIM's
deterministic map; the Heun step is of second order.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
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
        eta: fraction of the ancestral step's noise, in [0, 1].
        noise: standard normal, like `x`; may be `None` if no noise is added (`eta = 0` or `sigma_next = 0`).

    Returns:
        `x_{t-1}`, like `x`.

    References:
        Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502, equations 12 and 16.
    """
    c, s = ddim_coefficients(sigma, sigma_next, eta)
    mean = torch.lerp(x0, x, c)
    if s == 0:
        return mean
    if noise is None:
        raise ValueError(f"ddim_step: noise: expected a standard normal tensor for eta={eta}, got None")
    return torch.add(mean, noise, alpha=s)


def consistent_step(x: Tensor, x0: Tensor, sigma: float, sigma_next: float, rate: float, noise: Tensor) -> Tensor:
    """Return a state at level `sigma_next`, in `[0, sigma]`: the fraction `rate` of the way to `x0`, plus noise.

    The fraction is at least `1 - sigma_next / sigma`; a smaller one would leave more noise than `sigma_next`.

    References:
        Adversarial Score Matching and Improved Sampling for Image Generation (Jolicoeur-Martineau et al., 2021),
        https://arxiv.org/abs/2009.05475, algorithm 2.
    """
    rate = max(rate, 1 - sigma_next / sigma)
    due = math.sqrt(max(sigma_next**2 - (1 - rate) ** 2 * sigma**2, 0.0))
    return torch.add(torch.lerp(x, x0, rate), noise, alpha=due)


def tweedie_score(x: Tensor, x0: Tensor, sigma: float) -> Tensor:
    """Return the score `(x_0 - x) / sigma^2` of the estimate `x0 = E[x_0 | x_sigma = x]`."""
    return (x0 - x) / sigma**2


def heun_step(denoise: Callable[[Tensor, float], Tensor], x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Take the Heun step of second order along the probability flow; the Euler step if `sigma_next` is 0.

    Args:
        denoise: `(x, sigma)` to `E[x_0 | x_sigma = x]`; called twice, or once if `sigma_next` is 0.
        x: state at level `sigma`, `(B, C, H, W)`.
        sigma: present level, positive.
        sigma_next: next level, in `[0, sigma]`.

    Returns:
        The state at level `sigma_next`, like `x`.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        https://arxiv.org/abs/2206.00364, algorithm 1.
    """
    x0 = denoise(x, sigma)
    if sigma_next == 0:
        return x0
    slope = (x - x0) / sigma
    ahead = x + (sigma_next - sigma) * slope
    slope_ahead = (ahead - denoise(ahead, sigma_next)) / sigma_next
    return x + (sigma_next - sigma) * (slope + slope_ahead) / 2


def raise_noise(x: Tensor, sigma: float, sigma_high: float, noise: Tensor) -> Tensor:
    """Return `x` raised from level `sigma` to `sigma_high >= sigma` by standard normal `noise`."""
    return torch.add(x, noise, alpha=math.sqrt(max(sigma_high**2 - sigma**2, 0.0)))


def reverse_sde_step(x: Tensor, score: Tensor, sigma: float, sigma_next: float, noise: Tensor) -> Tensor:
    """Take the Euler-Maruyama step of the reverse SDE in the time `sigma^2`.

    Args:
        x: state at level `sigma`, `(B, C, H, W)`.
        score: `grad log p_sigma(x)`, like `x`.
        sigma: present level.
        sigma_next: next level, in `[0, sigma]`.
        noise: standard normal, like `x`.

    Returns:
        The state at level `sigma_next`, like `x`.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
        https://arxiv.org/abs/2011.13456, appendix E, "reverse diffusion sampling".
    """
    step = sigma**2 - sigma_next**2
    return torch.add(torch.add(x, score, alpha=step), noise, alpha=math.sqrt(max(step, 0.0)))


def langevin_step(x: Tensor, score: Tensor, gamma: float, noise: Tensor) -> Tensor:
    """Take one unadjusted Langevin step, `x + gamma s(x) + sqrt(2 gamma) n`.

    Args:
        x: state, `(B, C, H, W)`.
        score: gradient of the logarithm of the target's density at `x`, like `x`.
        gamma: step size, in squared units of the images.
        noise: standard normal, like `x`.

    Returns:
        The next state, like `x`. The chain's stationary distribution differs from the target by `O(gamma)`.

    References:
        Exponential Convergence of Langevin Distributions and Their Discrete Approximations (Roberts, Tweedie, 1996),
        https://doi.org/10.2307/3318418.
    """
    return torch.add(torch.add(x, score, alpha=gamma), noise, alpha=math.sqrt(2 * gamma))


def langevin_log_acceptance(
    x: Tensor,
    score: Tensor,
    proposed: Tensor,
    proposed_score: Tensor,
    log_ratio: Tensor,
    gamma: float | Tensor,
    metric: float | Tensor = 1.0,
) -> Tensor:
    """Return the logarithm of Metropolis' ratio for a Langevin step, `(B,)`; accept where it exceeds `log u`.

        log p(x') - log p(x) + (|x' - x - gamma P s(x)|^2 - |x - x' - gamma P s(x')|^2) / (4 gamma),
        |d|^2 = sum_i d_i^2 / P_i

    Args:
        x: state, `(B, C, H, W)`.
        score: score at `x`, like `x`.
        proposed: `x'`, like `x`.
        proposed_score: score at `x'`, like `x`.
        log_ratio: `log p(x') - log p(x)`, `(B,)`.
        gamma: step size, a number or one for each image, `(B,)`.
        metric: `P`, positive, broadcastable to `x`.

    References:
        Roberts, Tweedie (1996), https://doi.org/10.2307/3318418, section 1.4.2.
    """
    g = gamma.reshape(-1, *[1] * (x.ndim - 1)).to(x) if isinstance(gamma, Tensor) else gamma
    forward = ((proposed - x - g * metric * score).double().square() / metric).flatten(1).sum(1)
    backward = ((x - proposed - g * metric * proposed_score).double().square() / metric).flatten(1).sum(1)
    return log_ratio.double() + (forward - backward) / (4 * gamma)
