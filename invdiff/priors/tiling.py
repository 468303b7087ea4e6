r"""Denoising of large images in overlapping tiles.

The image is covered by tiles `t` with windows `w_t`, which decrease to zero at the inner edges of a tile,

    denoise(x) = sum_t w_t denoise(x_t) / sum_t w_t.

Tiles begin at multiples of the network's stride, so each tile has the same grid as the whole image. The overlap exceeds
the receptive field of the network, so both tiles agree where windows blend.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

OVERLAP = 96


def denoise_tiled(
    denoise: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor, *, tile: int, stride: int
) -> Tensor:
    """Return `denoise(x, sigma)` computed tile by tile.

    Args:
        denoise: denoiser of `(B, C, h, w)` and a broadcastable noise level.
        x: noisy images, `(B, C, H, W)`.
        sigma: noise level, `()`, `(B, 1, 1, 1)` or `(B or 1, 1, H, W)`; a tile has its part of it.
        tile: side of the tiles, in pixels.
        stride: tiles begin at multiples of this.

    Returns:
        The denoised images. In a backward pass each tile is computed again instead of being kept in memory.
    """
    total = torch.zeros_like(x)
    weight = x.new_zeros(x.shape[-2:])
    for top, height in _spans(x.shape[-2], tile, stride):
        for left, width in _spans(x.shape[-1], tile, stride):
            here = (..., slice(top, top + height), slice(left, left + width))
            part, level = x[here], sigma[here] if sigma.shape[-2:] == x.shape[-2:] else sigma
            if torch.is_grad_enabled() and x.requires_grad:
                out = checkpoint(denoise, part, level, use_reentrant=False)
            else:
                out = denoise(part, level)
            window = torch.outer(_ramp(top, height, x.shape[-2], x), _ramp(left, width, x.shape[-1], x))
            pad = (left, x.shape[-1] - left - width, top, x.shape[-2] - top - height)
            total = total + torch.nn.functional.pad(window * out, pad)
            weight = weight + torch.nn.functional.pad(window, pad)
    return total / weight


def _spans(size: int, tile: int, stride: int) -> list[tuple[int, int]]:
    """Return `(start, length)` of tiles that cover `size` pixels and overlap by at least `OVERLAP`."""
    if size <= tile:
        return [(0, size)]
    step = (tile - OVERLAP) // stride * stride
    starts = list(range(0, size - tile, step))
    last = -(-(size - tile) // stride) * stride  # rounded up: the last tile may be a little shorter
    return [(s, min(tile, size - s)) for s in [*starts, last]]


def _ramp(start: int, length: int, size: int, like: Tensor) -> Tensor:
    """Return the window of a tile along one axis: linear over the overlap, except at the image's own border."""
    position = torch.arange(length, dtype=like.dtype, device=like.device) + 0.5
    ramp = torch.ones_like(position)
    # The outer third of the overlap stays near zero: the tile lacks context there.
    margin = OVERLAP / 3
    if start > 0:
        ramp = torch.minimum(ramp, ((position - margin) / margin).clamp(1e-6, 1.0))
    if start + length < size:
        ramp = torch.minimum(ramp, ((length - position - margin) / margin).clamp(1e-6, 1.0))
    return ramp
