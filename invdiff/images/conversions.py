"""Arrays of files as pixels: integers by their white level, channels last, alpha apart.

    x = (v - black) / (white - black)

for the values `v` of a file. 8-bit integers have white 255, 16-bit ones 65535, floating-point values 1. Integers of any
other type have none, and it must be stated: guessing it from the largest value would change the brightness.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

Array = NDArray[np.float32]
GRAY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in Pillow's own conversion to "L"


@dataclasses.dataclass(frozen=True)
class Ask:
    """What a reader is asked for.

    Attributes:
        part: the picture of a file that holds several: its number from 0, or its name in HDF5 and Zarr.
        white: the value of white, if it is stated.
        black: the value of black.
        raw: whether values are taken as they are, as for a mask.
        mosaic: whether the values of the sensor are wanted, not the developed picture of a camera's raw file.
    """

    part: str = ""
    white: float | None = None
    black: float = 0.0
    raw: bool = False
    mosaic: bool = False

    def levels(self, white: float) -> tuple[float, float]:
        """Return black and white, the latter of the file where none is stated."""
        return (0.0, 1.0) if self.raw else (self.black, white if self.white is None else self.white)


def check_finite(array: NDArray[Any], path: str | Path) -> None:
    """Raise a ValueError that counts NaN and infinite values and gives the position of the first one."""
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise UserError(
            f"{path}: expected finite values, got {int(bad.sum())} NaN or infinite, the first at {where}; "
            "mark them as missing with --operator inpainting --mask"
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


def natural_white(array: NDArray[Any], path: str | Path, ask: Ask | None = None) -> float:
    """Return the value of white of an array's type.

    Raises:
        ValueError: neither a real numeric array, nor one whose type says what white is, and none is stated.
    """
    if array.dtype == bool or array.dtype.kind == "f":
        return 1.0
    if array.dtype.kind in "ui" and array.size:
        if ask is not None and (ask.raw or ask.white is not None):
            return 1.0
        if array.dtype.name in ("uint8", "uint16"):
            return {"uint8": 255.0, "uint16": 65535.0}[array.dtype.name]
        raise UserError(
            f"{path}: expected floats, or integers of 8 or 16 bits, got {array.dtype} in "
            f"[{int(array.min())}, {int(array.max())}]; state the value of white with --white-level "
            "(white= in Python), 255 for integers that hold 8-bit pixels, or 1 to take them as they are"
        )
    advice = "give its real and imaginary part as (2, H, W)" if array.dtype.kind == "c" else "convert it"
    raise UserError(f"{path}: expected floats, or integers of 8 or 16 bits, got {array.dtype}; {advice}")


def scaled(array: NDArray[Any], path: str | Path, ask: Ask | None = None, *, white: float | None = None) -> Array:
    """Return the array in float32, from its black level at 0 to its white level at 1.

    Args:
        array: values of a file.
        path: the file, for messages.
        ask: stated levels.
        white: the white level that the file itself tells, if it does.
    """
    ask = ask or Ask()
    own = natural_white(array, path, ask) if white is None else white
    black, white = ask.levels(own)
    if (black, white) == (0.0, 1.0):
        return array.astype(np.float32)
    if not white > black:
        raise UserError(f"{path}: expected a white level above the black level, got {white:g} and {black:g}")
    return ((array.astype(np.float64) - black) / (white - black)).astype(np.float32)


def channels_last(array: NDArray[Any], path: str | Path) -> NDArray[Any]:
    """Return `(H, W, C)` of an image `(H, W)`, `(H, W, C)`, `(C, H, W)` or `(1, C, H, W)`."""
    shape = array.shape
    if array.ndim == 4 and shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim == 3 and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or array.size == 0:
        several = f"; choose one of {shape[0]} with {path}#0" if len(shape) >= 3 and min(shape) > 0 else ""
        raise UserError(
            f"{path}: expected shape (H, W), (H, W, C), (C, H, W) or (1, C, H, W), C = 1 or 3, got {shape}{several}"
        )
    return array


def split_alpha(array: Array) -> tuple[Array, Array | None]:
    """Return colour and alpha of `(H, W, C)`; alpha is the last of 2 or 4 channels."""
    return (array[..., :-1], array[..., -1]) if array.shape[2] in (2, 4) else (array, None)


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return a stored picture `(H, W, ...)` as it is shown, by the number of its orientation tag (EXIF and TIFF)."""
    exchanged, reversed_axes = TURNS.get(orientation, TURNS[1])
    return np.flip(array.swapaxes(0, 1) if exchanged else array, reversed_axes)


ORIENTATION = 0x0112
"""The number of the tag, in EXIF and in TIFF."""
TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    1: (False, ()), 2: (False, (1,)), 3: (False, (0, 1)), 4: (False, (0,)),
    5: (True, ()), 6: (True, (1,)), 7: (True, (0, 1)), 8: (True, (0,)),
}  # fmt: skip
"""By orientation: whether rows and columns of the stored picture are exchanged, and which are then reversed."""
