"""Checks of shapes of images."""

from __future__ import annotations

import torch

from ..errors import UserError


def image_shape(owner: str, shape: object) -> tuple[int, int, int]:
    """Return `shape` as three positive integers `(C, H, W)`.

    Raises:
        ValueError: any other value.
    """
    values = tuple(shape) if isinstance(shape, (tuple, list, torch.Size)) else ()
    if len(values) != 3 or not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in values):
        raise UserError(
            f"{owner}: in_shape: expected three positive integers (C, H, W), got {shape!r}; "
            "give the shape of one image, without the batch axis"
        )
    return values[0], values[1], values[2]
