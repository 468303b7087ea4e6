"""Refinement of a kernel with the network of a prior: expectation-maximisation at one noise level.

From an image `x` and a kernel `k`, one round at the level `sigma` is

    x0 = D(x + sigma n, sigma)                                                  the network removes what is not natural
    k' = argmin_{k >= 0} ||grad y - k * grad x0||^2 + ridge ||k||^2,  pruned, of sum one
    k  = (k + k') / 2, centred
    x  = argmin ||y - k * x||^2 / s^2 + ||x - x0||^2 / sigma^2                   conjugate gradients

At a high level the network keeps edges and drops the artefacts of a wrong kernel, so the data pull the kernel to one
that explains `y` from a natural image. At low levels it keeps them, and the kernel gets worse. On eight drawn kernels
the similarity rose from .743 to .803 in ten rounds at 0.25, and fell below its start along levels from 0.3 to 0.01.
The start must be near: kernels with a similarity below about .85 that are smooth and wide got worse.

References:
    Fast Diffusion EM: a diffusion model for blind inverse problems with application to deconvolution (Laroche, Almansa,
    Coupete, 2024), https://arxiv.org/abs/2309.00287.

Differs:
    One level, where the paper runs the M-step along the whole chain; Tweedie's estimate of one noisy image for the
    samples; least squares of the gradients with a ridge, where the paper has a denoiser of kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators.numerics.linalg import conjugate_gradients
from ..priors.base import Prior
from ..streams import generator
from .kernel_step import fitted_kernel
from .shapes import pruned, recentred
from .valid import ValidConvolution
from .variational import gradients

LEVEL = 0.25
"""Noise level of the network, for images in [0, 1]."""

RIDGE = 10.0 / 192**2
"""Penalty of the squared kernel, for each pixel of the picture."""

THRESHOLD, MASS = 0.08, 0.02


def refined_kernel(
    y: Tensor, kernel: Tensor, noise: float, prior: Prior, *, rounds: int = 12, inner: int = 12, seed: int = 0
) -> Tensor:
    """Return a kernel after some rounds, `(n, n)`.

    Args:
        y: gray pictures of one blur, `(P, H, W)`, in [0, 1].
        kernel: `(n, n)`, of sum one.
        noise: standard deviation `s` of their noise.
        prior: of gray images.
        rounds: number of rounds, and of network evaluations.
        inner: steps of conjugate gradients in each.
        seed: seed of the random numbers.
    """
    n = kernel.shape[-1]
    dy = gradients(y)
    edges = ValidConvolution(dy.shape[-2], dy.shape[-1], n)
    whole = ValidConvolution(y.shape[-2], y.shape[-1], n)
    rho = (noise / LEVEL) ** 2
    penalty = torch.full_like(kernel, RIDGE * y.numel())
    random = generator(seed)
    before = (n - 1) // 2
    x = torch.nn.functional.pad(y[None], (before, n - 1 - before, before, n - 1 - before), mode="replicate")[0]
    x = _nearest(whole, y, x, kernel, rho, inner)
    for i in range(rounds):
        noisy = x + LEVEL * torch.randn(x.shape, generator=random)
        with torch.no_grad():
            x0 = prior.denoise(noisy[:, None], torch.tensor(LEVEL))[:, 0]
        if i > 0:  # the first image still has the artefacts of its start
            fitted = fitted_kernel(edges, dy, edges.spectrum(gradients(x0)), penalty, kernel)
            if not float(fitted.sum()) > 0:
                break
            kernel, shift = recentred((kernel + pruned(fitted, THRESHOLD, MASS)) / 2)
            x0 = torch.roll(x0, (-shift[0], -shift[1]), (-2, -1))
        x = _nearest(whole, y, x0, kernel, rho, inner)
    return kernel


def _nearest(conv: ValidConvolution, y: Tensor, x0: Tensor, kernel: Tensor, rho: float, steps: int) -> Tensor:
    """Return `argmin ||y - k * x||^2 + rho ||x - x0||^2`, nearly."""
    k = conv.spectrum(kernel)
    b = conv.to_image(y - conv.forward(conv.spectrum(x0), k), k)
    return (
        x0
        + conjugate_gradients(
            lambda v: conv.to_image(conv.forward(conv.spectrum(v), k), k) + rho * v,
            b,
            tolerance=1e-3,
            max_iterations=steps,
            truncates=True,
        ).x
    )
