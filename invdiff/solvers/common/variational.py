"""Fitting a Gaussian to a Gaussian times a potential: the step of variational guidance.

For a prior `N(a, s^2 I)` and a potential `g`, the divergence of `N(a + s u, s^2 diag(exp(2 l)))` from the product has
the stochastic gradients, with `x = a + s (u + exp(l) n)`,

    in u:   u - s grad log g(x)
    in l:   exp(2 l) - 1 - s grad log g(x) exp(l) n

In these units one step size suits all noise levels, because Adam's first steps have full length for every gradient.

The transition of both methods connects three noise levels, `sigma_s < sigma_m < sigma_t`, in variance-exploding
coordinates a Brownian bridge:

    q(x_m | x_s, x_t) = N(x_s + w (x_t - x_s), w (sigma_t^2 - sigma_m^2) I)
    w = (sigma_m^2 - sigma_s^2) / (sigma_t^2 - sigma_s^2)

References:
    Variational Diffusion Posterior Sampling with Midpoint Guidance (Janati et al., 2025),
    https://arxiv.org/abs/2410.09945; A Mixture-Based Framework for Guiding Diffusion Models (Janati et al., 2025),
    https://arxiv.org/abs/2502.03332.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .adam import Moments, adam_step
from .run import Run


def bridge(low: Tensor, high: Tensor, sigmas: tuple[float, float, float]) -> tuple[Tensor, float]:
    """Return mean and standard deviation of the state between two others.

    Args:
        low: `x_s`, `(N, C, H, W)`.
        high: `x_t`, like `low`.
        sigmas: `(sigma_s, sigma_m, sigma_t)`, not decreasing, the first below the last.
    """
    s, m, t = sigmas
    w = (m**2 - s**2) / (t**2 - s**2)
    return low + w * (high - low), math.sqrt(max(w * (t**2 - m**2), 0.0))


def fit(
    run: Run, mean: Tensor, std: float, log_potential: Callable[[Tensor], Tensor], *, moves: int, rate: float
) -> Tensor:
    """Fit a Gaussian to `N(mean, std^2 I)` times a potential, by Adam, and draw from it.

    Args:
        run: the batch.
        mean: `a`, `(N, C, H, W)`.
        std: `s`, positive.
        log_potential: from images to one number for each, `(N,)`.
        moves: steps of Adam, with one evaluation of the potential each.
        rate: Adam's step size for `u` and `l`.

    Returns:
        One draw, like `mean`.
    """
    u, log = torch.zeros_like(mean), torch.zeros_like(mean)
    of_u, of_log = Moments.zeros(u), Moments.zeros(u)
    for k in range(1, moves + 1):
        spread = log.exp()
        n = run.randn(u).mul_(spread)
        with torch.enable_grad():
            leaf = torch.add(mean, u + n, alpha=std).requires_grad_()
            (g,) = torch.autograd.grad(log_potential(leaf).sum(), leaf)
        in_u = torch.sub(u, g, alpha=std)
        in_log = spread.square_().sub_(1).addcmul_(g, n, value=-std)
        u, of_u = adam_step(u, in_u, of_u, k, rate)
        log, of_log = adam_step(log, in_log, of_log, k, rate)
    return mean + std * (u + log.exp() * run.randn(u))
