"""Arrays of any shape: `.npy`, `.npz`, HDF5, Zarr, and text.

`FILE#PART` is one of several. In files of named arrays the name comes first, `scan.h5#entry/data#3`,
`result.npz#mean`. The last two axes are those of an entry, and the axes in front are counted in the order of the file;
an array of one or two axes is a list along its first one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, first_line
from .arrays import ARRAYS, read_array
from .conversions import check_is_file
from .hdf import STORES, read_store
from .parts import chosen, split_part

ARRAY_FILES = (*ARRAYS, *STORES)
TEXT = (".txt", ".csv")


def is_array_file(path: str | Path) -> bool:
    """Return whether a file holds arrays of any shape, by the end of its name."""
    return split_part(path)[0].name.lower().endswith(ARRAY_FILES)


def read_numbers(path: str | Path, *, pairs: bool = False) -> NDArray[Any]:
    """Return the array in a file, or one of its entries, with its own type; files of other names are text.

    Args:
        path: the file, with `#PART` if it holds several.
        pairs: whether an entry `(2, H, W)` of real numbers is a complex one, of which both parts are taken.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no array, a damaged file, or a part that it does not have.
    """
    file, part = split_part(path)
    if not file.name.lower().endswith(ARRAY_FILES):
        return _text(file)
    array, part = (read_store if file.name.lower().endswith(STORES) else read_array)(file, part)
    if not part:
        return array
    both = pairs and array.dtype.kind != "c" and array.ndim > 3 and array.shape[-3] == 2
    return chosen(array, part, file, image_axes=3 if both else min(2, array.ndim - 1))


def _text(file: Path) -> NDArray[Any]:
    check_is_file(file)
    try:
        comma = "," if "," in file.read_text(errors="replace")[:4096] else None
        return np.loadtxt(file, delimiter=comma, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: expected numbers, in text or an array: {first_line(error)}") from error
