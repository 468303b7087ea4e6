"""Arrays of numpy, `.npy` and `.npz`."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, first_line
from .content import Content, Format, Kept
from .conversions import Ask, channels_last, check_is_file, natural_white, scaled
from .parts import chosen

ARRAYS = (".npy", ".npz")


class Numpy(Format):
    """Arrays of numpy: `(H, W)`, `(H, W, C)`, `(C, H, W)` or `(1, C, H, W)`, or a stack with `#`."""

    suffixes = ARRAYS

    def read(self, path: Path, ask: Ask) -> Content:
        """Return an array as an image."""
        return content_of(read_array(path), path, ask)


def content_of(array: NDArray[Any], path: Path, ask: Ask) -> Content:
    """Return an array as an image; with a part, one of the images along its first axis."""
    if ask.part:
        color = 3 if array.ndim == 4 and array.shape[-1] in (1, 3, 4) else 2
        array = chosen(array, ask.part, path, image_axes=color)
    black, white = ask.levels(natural_white(array, path, ask))
    bits = 8 if white == 255 else 16 if array.dtype.kind in "ui" else 32
    return Content(channels_last(scaled(array, path, ask), path), Kept(bits=bits, black=black, white=white))


def read_array(path: Path) -> NDArray[Any]:
    """Return the array in a file, as it is."""
    check_is_file(path)
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                return np.asarray(found[_pick_array(list(found.files), path)])
        return np.asarray(found)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if str(error).startswith(str(path)):
            raise
        if "pickle" in str(error) and not str(error).startswith("Object arrays"):  # its message for any other file
            raise UserError(f"{path}: cannot be read as a numpy array: it is none, or damaged") from error
        raise UserError(f"{path}: cannot be read as a numpy array: {first_line(error)}") from error


def _pick_array(names: list[str], path: str | Path) -> str:
    if len(names) == 1:
        return names[0]
    for name in ("measurement", "image"):
        if name in names:
            return name
    raise UserError(
        f"{path}: expected one array, or one called 'measurement' or 'image', got {', '.join(names) or 'none'}"
    )
