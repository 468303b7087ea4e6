"""The posterior of a kernel, if the image is known: least squares under a prior of kernels.

    p(k | y, x) ~ exp(-||y - k * x||^2 / 2) p(k)

`y` and `x` are filtered so that the noise is white, of variance one. The prior is one of `u = k / c`, where `c` is the
largest value of the former kernel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..priors.base import Prior
from .valid import ValidConvolution

SUM = 0.01
"""Standard deviation of the sum of a kernel about one."""

HIGHEST, LOWEST, STEPS = 3.0, 0.02, 20
"""Noise levels of the reverse diffusion, and their number."""

BATCH = 125


def normal_equations(conv: ValidConvolution, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `X^T X` and `X^T y` of the map `k -> k * x`, and of the sum's own, `(n^2, n^2)` and `(n^2,)`.

    Args:
        conv: the convolution.
        y: measurements, `(P, h, w)`.
        x: spectra of the images.
    """
    n = conv.side
    rows = []
    for units in torch.eye(n * n).view(n * n, n, n).split(BATCH):
        spectra = conv.spectrum(units)
        rows.append(torch.stack([conv.to_kernels(conv.forward(p, spectra), p) for p in x]).sum(0))
    precision = torch.cat(rows).reshape(n * n, n * n)
    return (precision + precision.T) / 2 + SUM**-2, conv.to_kernel(y, x).flatten() + SUM**-2


def draw(precision: Tensor, b: Tensor, scale: float, prior: Prior, random: torch.Generator) -> Tensor:
    """Return a sample of the kernel, `(n, n)`, not negative, of sum one.

    A reverse diffusion from noise: the network's estimate `u0` at each level `t` is taken as a normal prior of standard
    deviation `t / 2`, a sample of whose posterior gets the noise of the next level.

    Args:
        precision: of the data, `(n^2, n^2)`.
        b: their linear term, `(n^2,)`.
        scale: `c`.
        prior: of kernels.
        random: the random numbers.
    """
    n = math.isqrt(len(b))
    values, basis = torch.linalg.eigh((precision * scale**2).double())
    values, basis = values.clamp(min=0).float(), basis.float()
    data = basis.T @ (b * scale)
    levels = torch.logspace(math.log10(HIGHEST), math.log10(LOWEST), STEPS).tolist()
    u = HIGHEST * torch.randn(n, n, generator=random)
    mean = u
    for level, after in zip(levels, [*levels[1:], 0.0], strict=True):
        with torch.no_grad():
            u0 = prior.denoise(u[None, None], torch.tensor(level))[0, 0]
        strength = (level / 2) ** -2
        total = values + strength
        mean = (basis @ ((data + strength * (basis.T @ u0.flatten())) / total)).view(n, n)
        sample = mean + (basis @ (torch.randn(n * n, generator=random) / total.sqrt())).view(n, n)
        u = renoised(u, sample, level, after, random)
    k = mean.clamp(min=0)
    return k / k.sum()


def renoised(z: Tensor, x: Tensor, sigma: float, after: float, random: torch.Generator) -> Tensor:
    """Return `x` with noise of the level `after`, half of its variance the former noise of `z`, half of it fresh."""
    former = (z - x) / sigma
    return x + after * math.sqrt(0.5) * (former / former.std().clamp(min=1) + torch.randn(x.shape, generator=random))
