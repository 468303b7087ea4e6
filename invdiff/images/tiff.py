"""TIFF files that Pillow does not read, by tifffile."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import UserError
from .conversions import Array, channels_last, first_line, scaled


def read_tiff(path: str | Path) -> Array:
    """Return `(H, W, C)` of a TIFF that Pillow cannot read, such as one of floating-point colour."""
    import tifffile  # comes with scikit-image

    try:
        array = np.asarray(tifffile.imread(path, key=0))
    except Exception as error:  # its errors have no common base class
        raise UserError(f"{path}: not a TIFF that can be read: {first_line(error)}") from error
    return channels_last(scaled(array, path), path)
