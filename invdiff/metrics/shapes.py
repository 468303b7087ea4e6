"""The shapes that every metric expects."""

from __future__ import annotations

from torch import Tensor


def check_pair(name: str, x: Tensor, ref: Tensor) -> None:
    """Raise a ValueError unless both are batches of images of one shape."""
    if x.ndim != 4 or x.shape != ref.shape:
        raise ValueError(
            f"{name}: x, ref: expected two batches (B, C, H, W) of one shape, got {tuple(x.shape)}, {tuple(ref.shape)}"
        )
