"""Filters in Fourier space, in real numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def wrapped(kernel: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the kernel on a periodic grid, its centre at the origin; parts beyond the grid add up."""
    h, w = size
    kh, kw = kernel.shape[-2:]
    rows, columns = (torch.arange(kh) - kh // 2) % h, (torch.arange(kw) - kw // 2) % w
    rows, columns = rows.to(kernel.device), columns.to(kernel.device)
    tall = kernel.new_zeros((*kernel.shape[:-2], h, kw)).index_add(-2, rows, kernel)
    return tall.new_zeros((*kernel.shape[:-2], h, w)).index_add(-1, columns, tall)


def filtered(x: Tensor, response: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Return `x` with its real Fourier transform, of the given size, multiplied by `response`."""
    size = (x.shape[-2], x.shape[-1]) if size is None else size
    out: Tensor = torch.fft.irfft2(torch.fft.rfft2(x, s=size) * response, s=size)
    return out


def hartley(x: Tensor) -> Tensor:
    """Return `Re F x - Im F x`; the half of `F x` is enough, as `F x(-k)` is the conjugate of `F x(k)`."""
    z: Tensor = torch.fft.rfft2(x, norm="ortho")
    rest = z[..., 1 : x.shape[-1] - z.shape[-1] + 1]
    mirrored = (rest.real + rest.imag).flip((-2, -1))
    return torch.cat([z.real - z.imag, torch.cat([mirrored[..., -1:, :], mirrored[..., :-1, :]], -2)], -1)


def cosine_power(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the diagonal of `A^T A` in the cosine transform, for a convolution under mirrored borders.

    It is the transform of the kernel's autocorrelation `r`, made symmetric in both axes,

        p[i, j] = sum_{m, n} r[m, n] cos(pi i m / H) cos(pi j n / W),

    up to the borders. For a kernel that is symmetric itself these are the squared eigenvalues.

    Args:
        kernel: `(C or 1, h, w)`.
        size: `(H, W)` of the images.

    Returns:
        `(C or 1, H, W)`, non-negative, float64.
    """
    k = kernel.double()
    lags = (2 * k.shape[-2] - 1, 2 * k.shape[-1] - 1)
    r = torch.fft.irfft2(torch.fft.rfft2(k, s=lags).abs() ** 2, s=lags)  # lag 0 at the origin
    axes = []
    for n, count in zip(size, lags, strict=True):
        lag = torch.fft.fftfreq(count, 1 / count, dtype=torch.float64, device=k.device)
        axes.append(torch.cos(math.pi / n * torch.outer(torch.arange(n, device=k.device).double(), lag)))
    power: Tensor = axes[0] @ r @ axes[1].T
    return power.clamp_(min=0)
