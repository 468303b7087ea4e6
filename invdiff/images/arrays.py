"""Arrays of numpy, `.npy` and `.npz`."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, first_line
from .content import Content, Format, Kept
from .conversions import Ask, channels_last, check_is_file, natural_white, scaled
from .parts import chosen, named

ARRAYS = (".npy", ".npz")


class Numpy(Format):
    """Arrays of numpy: `(H, W)`, `(H, W, C)`, `(C, H, W)` or `(1, C, H, W)`, or a stack with `#`."""

    suffixes = ARRAYS

    def read(self, path: Path, ask: Ask) -> Content:
        """Return an array as an image."""
        array, part = read_array(path, ask.part)
        return content_of(array, path, dataclasses.replace(ask, part=part))


def content_of(array: NDArray[Any], path: Path, ask: Ask) -> Content:
    """Return an array as an image; with a part, one of the images along its axes in front."""
    notes: tuple[str, ...] = ()
    if ask.part:
        color = 3 if array.ndim == 4 and array.shape[-1] in (1, 3, 4) else 2
        array = chosen(array, ask.part, path, image_axes=color)
    elif array.ndim == 3 and len(array) == 3 < min(array.shape[1:]):
        notes = (f"three planes are taken as red, green and blue; {path}#0 to #2 take one as a slice",)
    black, white = ask.levels(natural_white(array, path, ask))
    bits = 8 if white == 255 else 16 if array.dtype.kind in "ui" else 32
    return Content(channels_last(scaled(array, path, ask), path), Kept(bits=bits, black=black, white=white), notes)


def read_array(path: Path, part: str = "") -> tuple[NDArray[Any], str]:
    """Return one array of a file, as it is, and the number of an entry of it, "" for all.

    Args:
        path: `.npy` or `.npz`.
        part: a number, or for `.npz` `NAME` or `NAME#3`; without a name it is the only array, or the one called
            `measurement` or `image`.

    Raises:
        ValueError: a file that cannot be read, or several arrays and no name.
    """
    check_is_file(path)
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                name, part = named(part, list(found.files), path, usual=("measurement", "image"))
                return np.asarray(found[name]), part
        return np.asarray(found), part
    except UserError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if "pickle" in str(error) and not str(error).startswith("Object arrays"):  # its message for any other file
            raise UserError(f"{path}: cannot be read as a numpy array: it is none, or damaged") from error
        raise UserError(f"{path}: cannot be read as a numpy array: {first_line(error)}") from error
