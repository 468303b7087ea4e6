"""Variational Bayes for image and kernel, in the gradients of the image.

With `x_g` the gradients of the sharp image in two directions, `y_g = k * x_g + n`, noise of variance `lam`, and the
sparse prior `p(x_i) ~ 1 / ||x_i||` of the two gradients at one pixel, as a mixture of Gaussians of unknown variance
`gamma_i`, one sweep is

    x     = argmin ||y - k * x||^2 / lam + sum_i ||x_i||^2 / gamma_i            conjugate gradients
    z_i   = 1 / (||k||^2 / lam + 1 / gamma_i)                                   variance of x_i
    gamma_i = mean over directions of x_i^2 + z_i
    k     = argmin_{k >= 0} ||y - k * x||^2 + sum_j k_j^2 sum_i z_{i - j}       scaled to sum one
    lam   = max(mean of the two terms above, 0.85 lam, variance of the noise)

The variance `z` in the step of the kernel is what distinguishes it from an alternating maximum, whose solution is the
picture without blur. The slow decrease of `lam` avoids poor local optima.

References:
    Revisiting Bayesian Blind Deconvolution (Wipf, Zhang, 2014), https://arxiv.org/abs/1305.2362, algorithm 1;
    Efficient Marginal Likelihood Optimization in Blind Deconvolution (Levin, Weiss, Durand, Freeman, 2011),
    https://doi.org/10.1109/CVPR.2011.5995308.

Differs:
    Both gradients of a pixel share a variance. The noise is known, and `lam` decreases to it by a fixed factor at most,
    where the paper learns it. Only pixels that need no extension count.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..operators.blurs.kernels import gaussian_kernel
from ..operators.numerics.linalg import conjugate_gradients
from .kernel_step import fitted_kernel
from .valid import ValidConvolution

DECAY = 0.85
"""Smallest ratio of the noise's variances of two sweeps."""

FIRST = 100.0
"""Ratio of the first variance to that of the noise."""


class Sweep(NamedTuple):
    """The state of the iteration.

    Attributes:
        kernel: `k`, `(n, n)`.
        x: gradients of the sharp image, `(G, h + n - 1, w + n - 1)`.
        gamma: their prior variances, alike.
        lam: the variance of the noise of the gradients.
        penalty: `sum_i z_{i - j}`, `(n, n)`.
    """

    kernel: Tensor
    x: Tensor
    gamma: Tensor
    lam: float
    penalty: Tensor


def gradients(y: Tensor) -> Tensor:
    """Return the differences of pictures `(P, H, W)` across and down, `(2 P, H - 1, W - 1)`."""
    across, down = y[:, :-1, 1:] - y[:, :-1, :-1], y[:, 1:, :-1] - y[:, :-1, :-1]
    return torch.stack([across, down], 1).flatten(0, 1)


def infer(
    y: Tensor, kernel: Tensor, noise: float, *, sweeps: int = 40, inner: int = 12, smoothing: float = 0.0
) -> Sweep:
    """Return the state after a number of sweeps.

    Args:
        y: pictures of one blur, `(P, H, W)`.
        kernel: the first kernel, `(n, n)`, of sum one.
        noise: standard deviation of the noise of `y`.
        sweeps: number of sweeps.
        inner: steps of conjugate gradients in each, from the last image.
        smoothing: standard deviation of a Gaussian that `y` is smoothed with first.
    """
    y, gain = _smoothed(y, smoothing)
    dy, n = gradients(y), kernel.shape[-1]
    conv = ValidConvolution(dy.shape[-2], dy.shape[-1], n)
    floor = gain * noise**2
    ones = torch.ones_like(dy[:1])
    cover = conv.to_image(ones, conv.spectrum(torch.ones_like(kernel))) / n**2  # share of the kernel that sees a pixel
    before = (n - 1) // 2
    x = torch.nn.functional.pad(dy, (before, n - 1 - before, before, n - 1 - before))
    state = Sweep(kernel, x, _shared(x**2) + FIRST * floor, FIRST * floor, torch.zeros_like(kernel))
    for _ in range(sweeps):
        after = _sweep(conv, dy, cover, state, floor, inner)
        if after is None:
            break
        state = after
    return state


def _sweep(conv: ValidConvolution, dy: Tensor, cover: Tensor, now: Sweep, floor: float, inner: int) -> Sweep | None:
    """Return the next state, or `None` if the kernel vanished."""
    k, lam = conv.spectrum(now.kernel), now.lam
    z = 1 / (cover * now.kernel.square().sum() / lam + 1 / now.gamma)

    def precision(v: Tensor) -> Tensor:
        return conv.to_image(conv.forward(conv.spectrum(v), k), k) / lam + v / now.gamma

    residual = conv.to_image(dy, k) / lam - precision(now.x)
    x = (
        now.x
        + conjugate_gradients(
            precision, residual, tolerance=1e-3, max_iterations=inner, preconditioner=lambda v: z * v, truncates=True
        ).x
    )
    gamma = _shared(x**2 + z)
    spectra = conv.spectrum(x)
    penalty = conv.to_kernel(torch.ones_like(dy), conv.spectrum(z)).clamp(min=0)
    kernel = fitted_kernel(conv, dy, spectra, penalty, now.kernel)
    total = float(kernel.sum())
    if not total > 1e-6:
        return None
    misfit = float((dy - conv.forward(spectra, conv.spectrum(kernel))).square().sum())
    mean = (misfit + float((penalty * kernel.square()).sum())) / dy.numel()
    return Sweep(kernel / total, x * total, gamma * total**2, max(mean, DECAY * lam, floor), penalty / total**2)


def _shared(power: Tensor) -> Tensor:
    """Return the mean over the two gradients of each pixel, for both."""
    pairs = power.unflatten(0, (-1, 2))
    shared: Tensor = pairs.mean(1, keepdim=True).expand_as(pairs).flatten(0, 1)
    return shared


def _smoothed(y: Tensor, width: float) -> tuple[Tensor, float]:
    """Return pictures after a Gaussian of standard deviation `width`, and the variance of gradients of white noise."""
    if width == 0:
        return y, 2.0
    g = gaussian_kernel(width, 2 * math.ceil(3 * width) + 1).to(y)
    z: Tensor = torch.nn.functional.conv2d(y[:, None], g[None, None])[:, 0]
    probe = torch.zeros(1, len(g) + 2, len(g) + 2).to(y)
    probe[:, 1:-1, 1:-1] = g
    return z, float(gradients(probe)[0].square().sum())
