"""Chroma subsampling of JPEG, with the filters of libjpeg.

Encoder: the mean of the samples of a cell of `v x h` pixels, in whole levels. Decoder: linear interpolation between the
centres of the cells ("fancy upsampling"), 3/4 of the nearest sample and 1/4 of the next one along each axis. Halves are
rounded to either side in turn, by a bias that depends on the position. All functions act on planes `(B, C, H, W)` in
levels of 8 bits; rounding has the derivative of the identity.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

CELLS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:4:0": (2, 1), "4:2:0": (2, 2)}
"""Height and width of the cell of one chroma sample, in pixels."""

HALF = 1e-4
"""Added before a value is cut to a whole number, so that halves fall to the same side in single precision."""


def through(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `f(x)` with the derivative of the identity."""
    return x + (f(x.detach()) - x.detach())


def whole(x: Tensor, bias: Tensor | float = 0.5) -> Tensor:
    """Return the largest whole number up to `x + bias`."""
    return through(x, lambda v: (v + bias + HALF).floor())


def smaller(x: Tensor, cell: tuple[int, int]) -> Tensor:
    """Return one sample for each cell, `(B, C, ceil(H / v), ceil(W / h))` with rows padded by the last one.

    Args:
        x: planes of whole numbers; rows and columns are a multiple of the cell's.
        cell: height and width of a cell.
    """
    v, h = cell
    if v * h == 1:
        return x
    # libjpeg adds 0, 1, 0, 1, ... before it halves, and 1, 2, 1, 2, ... before it divides by four.
    columns = torch.arange(x.shape[-1] // h, device=x.device) % 2
    bias = {(1, 2): columns / 2, (2, 2): (1 + columns) / 4}.get(cell, torch.full_like(columns, 0.5, dtype=x.dtype))
    return whole(avg_pool2d(x, cell), bias.to(x))


def larger(x: Tensor, cell: tuple[int, int]) -> Tensor:
    """Return planes of the full size, `(B, C, v H, h W)`, from one sample for each cell."""
    v, h = cell
    if v * h == 1:
        return x
    if h == 2 and x.shape[-1] <= 2:  # libjpeg repeats the samples of pictures up to four pixels wide
        return x.repeat_interleave(v, -2).repeat_interleave(h, -1)
    total = x
    if v == 2:
        rows = pad(total, (0, 0, 1, 1), mode="replicate")
        total = _between(3 * total + rows[..., :-2, :], 3 * total + rows[..., 2:, :], -2)
    if h == 2:
        columns = pad(total, (1, 1, 0, 0), mode="replicate")
        total = _between(3 * total + columns[..., :-2], 3 * total + columns[..., 2:], -1)
    axis, low, high = {(1, 2): (-1, 1, 2), (2, 1): (-2, 1, 2), (2, 2): (-1, 8, 7)}[cell]
    bias = torch.tensor([low, high], device=x.device).repeat(total.shape[axis] // 2)
    scale = 4 if v * h == 2 else 16
    return whole(total / scale, (bias / scale).to(x) if axis == -1 else (bias / scale).to(x)[:, None])


def _between(even: Tensor, odd: Tensor, axis: int) -> Tensor:
    """Return the rows or columns of two tensors in turn."""
    axis %= even.ndim
    return torch.stack([even, odd], axis + 1).flatten(axis, axis + 1)
