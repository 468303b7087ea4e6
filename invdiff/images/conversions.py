"""Arrays of files as pixels: integers by their white level, channels last, alpha apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

Array = NDArray[np.float32]
GRAY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in Pillow's own conversion to "L"


def check_finite(array: Array, path: str | Path) -> None:
    """Raise a ValueError that counts NaN and infinite values and gives the position of the first one."""
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise UserError(
            f"{path}: expected finite values, got {int(bad.sum())} NaN or infinite, the first at {where}; "
            "set them to any number and mark them as missing with --operator inpainting --mask"
        )


def check_is_file(path: str | Path) -> None:
    """Raise an OSError or ValueError unless there is a file that is not empty."""
    p = Path(path)
    if p.is_dir():
        raise IsADirectoryError(f"{path}: expected an image file, got a folder; name one file in it")
    if not p.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if p.is_file() and p.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes)")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def scaled(array: NDArray[Any], path: str | Path, *, white: int | None = None) -> Array:
    """Return the array in float32, integers divided by their white level."""
    if array.dtype == bool or array.dtype.kind == "f":
        return array.astype(np.float32)
    low, high = (int(array.min()), int(array.max())) if array.dtype.kind in "ui" and array.size else (-1, -1)
    if low >= 0 and high <= 65535:
        # Arithmetic turns 8- and 16-bit images into integers of 32 or 64 bits.
        by_type = {"uint8": 255, "uint16": 65535}.get(array.dtype.name, 255 if high <= 255 else 65535)
        return (array.astype(np.float64) / (white or by_type)).astype(np.float32)
    raise UserError(
        f"{path}: expected floats, or integers of 8 or 16 bits, got {array.dtype}"
        + (f" in [{low}, {high}]" if array.dtype.kind in "ui" else "")
        + "; convert it to floats in [0, 1]"
    )


def channels_last(array: Array, path: str | Path) -> Array:
    """Return `(H, W, C)` of an image `(H, W)`, `(H, W, C)`, `(C, H, W)` or `(1, C, H, W)`."""
    shape = array.shape
    if array.ndim == 4 and shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim == 3 and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or array.size == 0:
        raise UserError(f"{path}: expected shape (H, W), (H, W, C), (C, H, W) or (1, C, H, W), C = 1 or 3, got {shape}")
    return array


def split_alpha(array: Array) -> tuple[Array, Array | None]:
    """Return colour and alpha of `(H, W, C)`; alpha is the last of 2 or 4 channels."""
    return (array[..., :-1], array[..., -1]) if array.shape[2] in (2, 4) else (array, None)
