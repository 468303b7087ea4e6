"""Kernels as shapes: small parts removed, centred, resized, compared.

Shift and scale of a kernel cannot be told from those of the image. Here a kernel has sum one, and its centre of mass in
the middle, up to half a pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pruned(kernel: Tensor, threshold: float, mass: float = 0.0) -> Tensor:
    """Return a kernel without its small values and its small connected parts, of sum one.

    Args:
        kernel: `(n, n)`, not negative.
        threshold: smallest value that is kept, as a share of the largest.
        mass: smallest sum of a connected part that is kept, as a share of the whole.
    """
    import numpy as np
    from scipy.ndimage import label

    k = torch.where(kernel >= threshold * kernel.max(), kernel, 0)
    parts, _ = label(k.numpy() > 0, structure=np.ones((3, 3)))
    sums = torch.zeros(int(parts.max()) + 1, dtype=k.dtype).index_add(
        0, torch.from_numpy(parts).long().flatten(), k.flatten()
    )
    small = sums < min(mass * float(k.sum()), float(sums.max()))
    k = torch.where(small[torch.from_numpy(parts).long()], 0, k)
    return k / k.sum()


def recentred(kernel: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Return a kernel moved by whole pixels so that its centre of mass is in the middle, and that shift.

    What leaves the grid is lost; the sum is one.
    """
    n = kernel.shape[-1]
    at = torch.arange(n, dtype=kernel.dtype)
    total = float(kernel.sum())
    down = round((n - 1) / 2 - float(kernel.sum(1) @ at) / total)
    right = round((n - 1) / 2 - float(kernel.sum(0) @ at) / total)
    out = torch.zeros_like(kernel)
    out[max(down, 0) : n + min(down, 0), max(right, 0) : n + min(right, 0)] = kernel[
        max(-down, 0) : n - max(down, 0), max(-right, 0) : n - max(right, 0)
    ]
    return out / out.sum(), (down, right)


def resized(kernel: Tensor, side: int) -> Tensor:
    """Return a kernel interpolated on a grid of `side` pixels over the same square, not negative, of sum one."""
    k = torch.nn.functional.interpolate(kernel[None, None], size=(side, side), mode="bicubic", align_corners=False)
    k = k[0, 0].clamp(min=0)
    return k / k.sum()


def kernel_similarity(a: Tensor, b: Tensor) -> float:
    """Return the maximal normalised cross-correlation of two kernels over all shifts by whole pixels, at most 1.

        max_s  sum_i a[i + s] b[i] / (||a|| ||b||)

    References:
        Good Regions to Deblur (Hu, Yang, 2012), https://doi.org/10.1007/978-3-642-33715-4_5, section 5.

    Example:
        >>> round(kernel_similarity(torch.eye(3), torch.eye(5)), 4)
        0.7746
    """
    size = [m + n for m, n in zip(a.shape[-2:], b.shape[-2:], strict=True)]
    product = torch.fft.rfft2(a.double(), s=size) * torch.fft.rfft2(b.double(), s=size).conj()
    return float(torch.fft.irfft2(product, s=size).max() / (a.double().norm() * b.double().norm()))


def aligned(kernel: Tensor, other: Tensor) -> Tensor:
    """Return a kernel moved by whole pixels to where its product with another of its size is largest, of sum one."""
    h, w = kernel.shape[-2:]
    wide = torch.nn.functional.pad(kernel, (w, w, h, h))
    windows = wide.unfold(0, h, 1).unfold(1, w, 1)
    best = int((windows * other).sum((-2, -1)).argmax())
    moved = windows[best // windows.shape[1], best % windows.shape[1]].clone()
    return moved / moved.sum()


def extent(kernel: Tensor, share: float = 0.95) -> int:
    """Return the longer side of a box with most of a kernel: on each axis, a `share` of its light in the middle."""
    rest = (1 - share) / 2
    sides = []
    for axis in (0, 1):
        light = kernel.sum(1 - axis).cumsum(0) / kernel.sum()
        inside = ((light > rest) & (light - kernel.sum(1 - axis) / kernel.sum() < 1 - rest)).nonzero()
        sides.append(int(inside.max() - inside.min()) + 1)
    return max(sides)
