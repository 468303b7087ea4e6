"""The shapes that every metric expects."""

from __future__ import annotations

from torch import Tensor


def check_pair(name: str, x: Tensor, ref: Tensor) -> None:
    """Raise a ValueError unless both are batches of images of one shape."""
    if x.ndim != 4 or x.shape != ref.shape:
        raise ValueError(
            f"{name}: x, ref: expected two batches (B, C, H, W) of one shape, got {tuple(x.shape)}, {tuple(ref.shape)}"
        )


def check_samples(name: str, samples: Tensor, ref: Tensor) -> tuple[Tensor, Tensor]:
    """Return samples and truth in float64, or raise a ValueError unless there are two samples of each true image."""
    if samples.ndim != 5 or samples.shape[1] < 2:
        raise ValueError(
            f"{name}: samples: expected (B, S, C, H, W) with at least 2 samples, got {tuple(samples.shape)}"
        )
    check_pair(name, samples[:, 0], ref)
    return samples.double(), ref.double()
