"""The pictures in a folder."""

from __future__ import annotations

from pathlib import Path

from .content import formats
from .hdf import STORES

PHOTOGRAPHS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".jp2", ".avif")


def picture_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are pictures by the end of their name, by name; hidden ones are left out.

    HDF5 and Zarr are left out too, because a file of them holds several arrays.
    """
    ends = {*PHOTOGRAPHS, *(end for entry in formats.entries().values() for end in formats.described(entry).suffixes)}
    known = tuple(ends - set(STORES))
    files = (f for f in folder.iterdir() if f.name.lower().endswith(known) and not f.name.startswith("."))
    return sorted(f for f in files if f.is_file())
