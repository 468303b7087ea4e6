"""The square in the middle of a picture."""

from __future__ import annotations

from torch import Tensor

from ..errors import UserError


def middle_square(x: Tensor, side: int | None = None) -> Tensor:
    """Return the square in the middle of pictures, `(..., side, side)`; where it cannot be exact, the upper left one.

    Args:
        x: `(..., H, W)`.
        side: in pixels; by default the smaller one of height and width.

    Raises:
        ValueError: a picture that is smaller.

    Example:
        >>> import torch
        >>> middle_square(torch.arange(8.0).reshape(2, 4))
        tensor([[1., 2.],
                [5., 6.]])
    """
    h, w = x.shape[-2:]
    side = min(h, w) if side is None else side
    if min(h, w) < side:
        raise UserError(f"middle_square: expected at least {side} x {side} pixels, got {w} x {h}; take a smaller side")
    top, left = (h - side) // 2, (w - side) // 2
    return x[..., top : top + side, left : left + side]
