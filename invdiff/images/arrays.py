"""Arrays of numpy, `.npy` and `.npz`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ..errors import UserError
from .conversions import Array, check_is_file, first_line, scaled

ARRAYS = (".npy", ".npz")


def load_array(path: str | Path, *, complex_valued: bool = False) -> Array:
    """Read a numeric array from `.npy` or `.npz`; 8- and 16-bit integers are scaled to [0, 1].

    Args:
        path: the file. An `.npz` must hold one array, or one called `measurement` or `image`.
        complex_valued: whether complex numbers are read, too, as two channels `(2, ...)`, real and imaginary part.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or an array that is not real and numeric.
    """
    check_is_file(path)
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                array = found[_pick_array(list(found.files), path)]
        else:
            array = found
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if str(error).startswith(str(path)):
            raise
        if "pickle" in str(error) and not str(error).startswith("Object arrays"):  # its message for any other file
            raise UserError(f"{path}: cannot be read as a numpy array: it is none, or damaged") from error
        raise UserError(f"{path}: cannot be read as a numpy array: {first_line(error)}") from error
    if complex_valued and array.dtype.kind == "c":
        return np.stack([array.real, array.imag]).astype(np.float32)
    return scaled(array, path)


def _pick_array(names: list[str], path: str | Path) -> str:
    if len(names) == 1:
        return names[0]
    for name in ("measurement", "image"):
        if name in names:
            return name
    raise UserError(
        f"{path}: expected one array, or one called 'measurement' or 'image', got {', '.join(names) or 'none'}"
    )
