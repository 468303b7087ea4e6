"""Named arrays of a result on disk: `result.npz`, `result.zarr`, or a TIFF file for each.

Zarr arrays are in chunks, compressed, and their axes have names, so xarray and napari read them, and a part of a large
array is read alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UserError

Array = NDArray[np.float32]
Arrays = Mapping[str, Array]

CHUNK = 512
"""Largest side of a chunk in height and width."""

IMAGE_AXES = ("channel", "y", "x")


def axes_of(name: str, array: Array, image: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of the axes of an array.

    Args:
        name: of the array.
        array: the array.
        image: shape of the images, `(C, H, W)`; a measurement of another shape has axes of its own.
    """
    if array.shape == image:
        return IMAGE_AXES
    if array.shape[1:] == image:
        return ("sample", *IMAGE_AXES)
    return tuple(f"{name}_{i}" for i in range(array.ndim))


def save_npz(folder: Path, arrays: Arrays, attributes: Mapping[str, Any]) -> None:
    """Write `result.npz`."""
    np.savez(folder / "result.npz", **arrays)  # type: ignore[arg-type]


def save_zarr(folder: Path, arrays: Arrays, attributes: Mapping[str, Any]) -> None:
    """Write the group `result.zarr`, of format 3."""
    zarr = _zarr()
    group = zarr.create_group(folder / "result.zarr", zarr_format=3, attributes=dict(attributes))
    image = arrays["mean"].shape
    for name, array in arrays.items():
        chunks = (*(1,) * max(0, array.ndim - 2), *(min(n, CHUNK) for n in array.shape[-2:]))
        made = group.create_array(
            name, shape=array.shape, chunks=chunks, dtype=array.dtype, dimension_names=axes_of(name, array, image)
        )
        made[...] = array


def save_tiff(folder: Path, arrays: Arrays, attributes: Mapping[str, Any]) -> None:
    """Write `result_NAME.tif` for each array, in float32 and compressed; samples and channels are pages."""
    import tifffile  # comes with scikit-image

    for name, array in arrays.items():
        tifffile.imwrite(folder / f"result_{name}.tif", array, photometric="minisblack", compression="zlib")


def save_none(folder: Path, arrays: Arrays, attributes: Mapping[str, Any]) -> None:
    """Write nothing."""


KINDS: dict[str, Callable[[Path, Arrays, Mapping[str, Any]], None]] = {
    "npz": save_npz,
    "zarr": save_zarr,
    "tiff": save_tiff,
    "none": save_none,
}


def check_kind(kind: str) -> None:
    """Raise unless arrays can be written in this way.

    Raises:
        ValueError: an unknown kind.
        ImportError: zarr is not installed.
    """
    if kind not in KINDS:
        raise UserError(f"--export: expected {', '.join(KINDS)}, got {kind!r}")
    if kind == "zarr":
        _zarr()


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise ImportError("--export zarr: needs zarr; pip install 'invdiff[zarr]'") from error
    return zarr
