"""The centre of a kernel: the pixel that a point of the image goes to.

`Blur` takes pixel `n // 2` of each axis. A kernel of an odd size has it in the middle; one of an even size has its
middle half a pixel before it, and shifts the image by that. Around a chosen centre `c` a kernel is put in an odd
number of pixels: whole pixels are moved as they are, and a fraction of a pixel by cubic splines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...checks import is_number
from ...errors import UserError
from ...registry import unknown

CENTRES = ("middle", "peak", "centroid")
_MARGIN = 6  # pixels: splines reach beyond their knots, by a factor 0.27 a pixel


def centered_kernel(kernel: Tensor, center: str | Sequence[float] = "middle") -> Tensor:
    """Return a kernel with a chosen centre in the middle of an odd number of rows and columns.

    Args:
        kernel: `(h, w)`.
        center: "middle", `((h - 1) / 2, (w - 1) / 2)`; "peak", its largest pixel; "centroid", its centre of mass; or
            `[row, column]`, counted from 0, which may be fractions.

    Returns:
        The kernel, float64, of the same sum. A kernel without negative values stays so.

    Raises:
        ValueError: another word, or a position outside of the kernel.

    Example:
        >>> centered_kernel(torch.tensor([[1.0, 2.0, 0.0, 0.0]]), "peak")
        tensor([[0., 1., 2., 0., 0.]], dtype=torch.float64)
    """
    k = kernel.detach().double()
    if k.ndim != 2:
        raise UserError(f"center: expected a kernel (h, w), got shape {tuple(k.shape)}")
    sizes = (int(k.shape[0]), int(k.shape[1]))
    place = _place(k, center)
    for at, n in zip(place, sizes, strict=True):
        if not -0.5 <= at <= n - 0.5:
            raise UserError(
                f"center: expected a row and a column of a kernel of {sizes[0]} x {sizes[1]}, from 0, got {place}"
            )
    whole = [math.floor(at + 0.5) for at in place]
    moved = [n - at for n, at in zip(whole, place, strict=True)]
    reach = [math.ceil(max(at, n - 1 - at) - 1e-9) for at, n in zip(place, sizes, strict=True)]
    side = [r + _MARGIN for r in reach]
    wide = k.new_zeros(2 * side[0] + 1, 2 * side[1] + 1)
    top, left = side[0] - whole[0], side[1] - whole[1]
    wide[top : top + sizes[0], left : left + sizes[1]] = k
    if any(abs(d) > 1e-9 for d in moved):
        wide = _shifted(wide, moved)
    inside = wide[side[0] - reach[0] : side[0] + reach[0] + 1, side[1] - reach[1] : side[1] + reach[1] + 1]
    if bool((k >= 0).all()):
        inside = inside.clamp(min=0)
    total = inside.sum()
    return (inside * (k.sum() / total) if float(total) != 0 else inside).contiguous()


def is_even(kernel: Tensor) -> bool:
    """Return whether a kernel `(..., h, w)` has no middle pixel."""
    return kernel.shape[-2] % 2 == 0 or kernel.shape[-1] % 2 == 0


def even_note(kernel: Tensor, where: str, remedy: str) -> str:
    """Return what is to be known about a kernel without a middle pixel, in one line.

    Args:
        kernel: `(..., h, w)`.
        where: what it is, for the message.
        remedy: what to do.
    """
    h, w = kernel.shape[-2:]
    ways = " and ".join(way for n, way in ((h, "up"), (w, "to the left")) if n % 2 == 0)
    return (
        f"{where} has {h} x {w} pixels, an even size: its centre is pixel [{h // 2}, {w // 2}] counted from 0, half a "
        f"pixel beyond the middle, so the image is shifted half a pixel {ways}; {remedy}"
    )


def _place(k: Tensor, center: str | Sequence[float]) -> tuple[float, float]:
    """Return the row and the column of a centre."""
    h, w = k.shape
    if isinstance(center, str):
        if center == "middle":
            return (h - 1) / 2, (w - 1) / 2
        if center == "peak":
            row, column = divmod(int(k.argmax()), w)
            return float(row), float(column)
        if center == "centroid":
            total = float(k.sum())
            if not total > 0:
                raise UserError(f"center: centroid: expected a kernel of positive sum, got {total:.4g}; choose peak")
            rows, columns = (torch.arange(n, dtype=torch.float64) for n in (h, w))
            return float(k.sum(1) @ rows) / total, float(k.sum(0) @ columns) / total
        raise UserError(f"center: {unknown('center', center, CENTRES)}, or [row, column]")
    if not isinstance(center, Sequence) or len(center) != 2 or not all(is_number(v) for v in center):
        raise UserError(f"center: expected {', '.join(CENTRES)} or [row, column], got {center!r}")
    return float(center[0]), float(center[1])


def _shifted(k: Tensor, shift: Sequence[float]) -> Tensor:
    """Return a kernel moved down and to the right by fractions of a pixel, by cubic splines, zero outside."""
    from scipy import ndimage

    return torch.from_numpy(ndimage.shift(k.numpy(), shift, order=3, mode="constant", cval=0.0))
