"""The extension of an image past its border, and the matrix of a convolution with it on one axis."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Border = Literal["circular", "reflect", "zero", "valid"]


def margins(taps: int) -> tuple[int, int]:
    """Return the number of pixels before and behind the image that a kernel of `taps` pixels reaches."""
    return taps - 1 - taps // 2, taps // 2


def reflect(index: Tensor, n: int) -> Tensor:
    """Return the positions in `0 ... n - 1` that positions outside reflect to: d c b a | a b c d | d c b a."""
    folded = index % (2 * n)
    return torch.where(folded < n, folded, 2 * n - 1 - folded)


def reflected(n: int, before: int, after: int) -> Tensor:
    """Return the positions that an axis of `n` pixels, extended on both sides, takes its values from."""
    return reflect(torch.arange(-before, n + after), n)


def convolution_matrix(kernel: Tensor, n: int, border: Border) -> Tensor:
    """Return the matrix of a convolution on one axis.

    Args:
        kernel: `k`, `(m,)`.
        n: length of the axis.
        border: extension of the axis.

    Returns:
        Matrix `(n, n)`, or `(n - m + 1, n)` for "valid".
    """
    m = len(kernel)
    before, after = (0, 0) if border == "valid" else margins(m)
    source = torch.arange(-before, n + after)
    rows = len(source) - m + 1
    column = source.unfold(0, m, 1)  # y[i] = sum_t k[t] p[i + m - 1 - t] on the padded axis p
    weight = kernel.flip(0).expand(rows, m)
    if border == "zero":
        weight = torch.where((column >= 0) & (column < n), weight, 0)
        column = column.clamp(0, n - 1)
    elif border == "circular":
        column = column % n
    elif border == "reflect":
        column = reflect(column, n)
    return torch.zeros(rows, n, dtype=kernel.dtype).scatter_add(1, column, weight)
