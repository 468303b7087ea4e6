"""HDF5 by h5py and Zarr by zarr: one array by its name, `FILE.h5#entry/data`, and one of a stack, `...#3` behind it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, first_line
from .arrays import content_of
from .content import Content, Format
from .conversions import Ask
from .extras import library
from .parts import named


class Store(Format):
    """A file of named arrays."""

    def read(self, path: Path, ask: Ask) -> Content:
        """Return one array as an image."""
        array, part = read_store(path, ask.part)
        return content_of(array, path, dataclasses.replace(ask, part=part))


class Hdf5(Store):
    """HDF5."""

    suffixes = (".h5", ".hdf5", ".hdf", ".nxs")
    needs = "h5py"


class Zarr(Store):
    """A Zarr archive in a folder or a zip file."""

    suffixes = (".zarr", ".zarr.zip")
    needs = "zarr"


STORES = (*Hdf5.suffixes, *Zarr.suffixes)


def read_store(path: Path, part: str) -> tuple[NDArray[Any], str]:
    """Return one array of an HDF5 file or a Zarr archive, and the number of a picture in it, "" for all.

    Args:
        path: the file or folder.
        part: `NAME`, `NAME#3` or `3`; the name may be left out if there is one array.

    Raises:
        ValueError: a file that cannot be read, or several arrays and no name.
    """
    try:
        if path.name.lower().endswith(Hdf5.suffixes):
            h5py = library("h5py", path)
            with h5py.File(path) as file:
                found: dict[str, Any] = {}
                file.visititems(lambda n, item: found.update({n: item} if isinstance(item, h5py.Dataset) else {}))
                name, rest = _named(part, {k: v for k, v in found.items() if v.ndim >= 2}, path)
                return np.asarray(found[name][()]), rest
        zarr = library("zarr", path)
        opened = zarr.open(zarr.storage.ZipStore(path, mode="r") if path.is_file() else str(path), mode="r")
        arrays = {"": opened} if hasattr(opened, "shape") else dict(_walk(opened))
        name, rest = _named(part, {k: v for k, v in arrays.items() if v.ndim >= 2}, path)
        return np.asarray(arrays[name][...]), rest
    except UserError:
        raise
    except Exception as error:  # the errors of these libraries have no common base class
        raise UserError(f"{path}: cannot be read: {first_line(error)}") from error


def _walk(group: Any, prefix: str = "") -> Any:
    for name, item in group.members():
        if hasattr(item, "shape"):
            yield prefix + name, item
        else:
            yield from _walk(item, f"{prefix}{name}/")


def _named(part: str, arrays: dict[str, Any], path: Path) -> tuple[str, str]:
    shown = ", ".join(f"{k} {tuple(v.shape)}" for k, v in sorted(arrays.items())[:8])
    return named(part, list(arrays), path, shown=shown)
