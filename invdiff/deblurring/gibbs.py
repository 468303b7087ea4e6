"""Samples of a kernel and its image in turn: a partially collapsed Gibbs sampler with two networks.

From an image `x` and a kernel `k`, one round at the level `sigma` of a falling sequence is

    x  ~ p(x | y, k)                     the reverse diffusion from x + sigma n with steps on the data, as in `diffpir`
    x0 = D(x + sigma n, sigma)           what a network makes of it: the mean of x given its noisy version
    k  ~ p(k | y, x0)                    with the posterior of `kernel_posterior`, under the prior of kernels

The image is collapsed in the last line: `y = k * x0 + e`, where `e` holds the noise and what `x0` lacks of `x`. A
kernel drawn given `x` itself would hardly move, because `x` fits `y` with the former kernel. The spectrum of `e` is
that of the residual, averaged over directions; a filter makes it white. As `x0` is a mean given data, least squares
with it are not biased by what it lacks. The levels fall from 0.6 to 0.25, several times.

References:
    Partially Collapsed Gibbs Samplers (van Dyk, Park, 2008), https://doi.org/10.1198/016214508000000409;
    GibbsDDRM: A Partially Collapsed Gibbs Sampler for Solving Blind Inverse Problems with Denoising Diffusion
    Restoration (Murata et al., 2023), https://arxiv.org/abs/2301.12686;
    Fast Diffusion EM: a diffusion model for blind inverse problems with application to deconvolution (Laroche, Almansa,
    Coupete, 2024), https://arxiv.org/abs/2309.00287.

Differs:
    GibbsDDRM draws the kernel by Langevin steps under a Laplace prior, Fast Diffusion EM takes the mode under a
    denoiser of kernels, both along one chain of levels from pure noise, and with the noise of the data alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..operators.numerics.linalg import conjugate_gradients
from ..priors.base import Prior
from ..streams import generator
from .kernel_posterior import draw, normal_equations, renoised
from .shapes import recentred
from .valid import ValidConvolution
from .whitener import filtered, whitener

LEVELS = (0.6, 0.6, 0.5, 0.4, 0.4, 0.3, 0.3, 0.25)
"""Levels of one pass, for images in [0, 1]."""

INNER, STEPS = 6, 12
"""Levels of the reverse diffusion in a round, and steps of conjugate gradients on each."""


def sampled_kernel(
    y: Tensor, kernel: Tensor, noise: float, prior: Prior, kernels: Prior, *, passes: int = 4, seed: int = 0
) -> Tensor:
    """Return the kernel after some passes, `(n, n)`, of sum one, its centre of mass in the middle.

    Args:
        y: gray pictures of one blur, `(P, H, W)`, in [0, 1].
        kernel: `(n, n)`, of sum one.
        noise: standard deviation of their noise.
        prior: of gray images.
        kernels: prior of kernels, whose largest value is about 1.
        passes: how often the levels fall.
        seed: seed of the random numbers.
    """
    n = kernel.shape[-1]
    whole = ValidConvolution(y.shape[-2], y.shape[-1], n)
    random = generator(seed)
    for _ in range(passes):
        start = torch.nn.functional.pad(y[None], (n // 2,) * 4, mode="replicate")[0]
        x = _nearest(whole, y, start, kernel, noise / LEVELS[-1])
        for level in LEVELS:
            x = _image(whole, y, x, kernel, noise, level, prior, random)
            x = _denoised(prior, x + level * torch.randn(x.shape, generator=random), level)
            residual = y - whole.forward(whole.spectrum(x), whole.spectrum(kernel))
            white = whitener(residual)
            fy, fx = filtered(y, white), filtered(x, white)
            conv = ValidConvolution(fy.shape[-2], fy.shape[-1], n)
            precision, b = normal_equations(conv, fy, conv.spectrum(fx))
            kernel, moved = recentred(draw(precision, b, float(kernel.max()), kernels, random))
            x = torch.roll(x, (-moved[0], -moved[1]), (-2, -1))
    return kernel


def _image(
    conv: ValidConvolution,
    y: Tensor,
    x: Tensor,
    kernel: Tensor,
    noise: float,
    level: float,
    prior: Prior,
    random: torch.Generator,
) -> Tensor:
    """Return a sample of the image, from `x` with noise of a level."""
    z = x + level * torch.randn(x.shape, generator=random)
    levels = torch.logspace(math.log10(level), math.log10(max(noise, 0.01)), INNER).tolist()
    for sigma, after in zip(levels, [*levels[1:], 0.0], strict=True):
        x = _nearest(conv, y, _denoised(prior, z, sigma), kernel, noise / sigma)
        z = renoised(z, x, sigma, after, random)
    return x


def _denoised(prior: Prior, z: Tensor, level: float) -> Tensor:
    with torch.no_grad():
        return prior.denoise(z[:, None], torch.tensor(level))[:, 0]


def _nearest(conv: ValidConvolution, y: Tensor, x0: Tensor, kernel: Tensor, ratio: float) -> Tensor:
    """Return `argmin ||y - k * x||^2 + ratio^2 ||x - x0||^2`, nearly."""
    k = conv.spectrum(kernel)
    b = conv.to_image(y - conv.forward(conv.spectrum(x0), k), k)
    return (
        x0
        + conjugate_gradients(
            lambda v: conv.to_image(conv.forward(conv.spectrum(v), k), k) + ratio**2 * v,
            b,
            tolerance=1e-3,
            max_iterations=STEPS,
            truncates=True,
        ).x
    )
