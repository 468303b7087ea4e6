"""Several pictures on the command line: files, folders of files, and all pictures of a file.

Each picture has a name, which its result and the files that belong to it share: `{name}` in an option stands for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from ...images.folders import PHOTOGRAPHS, picture_files
from ...images.hdf import STORES
from ...images.loading import read_content
from ...images.parts import SeveralPictures, split_part
from ..checks import check_exists

NAME = "{name}"
"""Stands for the name of the picture in options."""

ALL = "all"
"""The part of a file that means all of its pictures."""


@dataclass(frozen=True)
class Picture:
    """One of several pictures.

    Attributes:
        path: of its file; `FILE#3` for one of several in a file.
        name: of its result.
    """

    path: Path
    name: str


def is_several(paths: Sequence[Path]) -> bool:
    """Return whether the arguments stand for several pictures: more than one, a folder, or all pictures of a file."""
    return len(paths) > 1 or _is_folder(paths[0]) or split_part(paths[0])[1] == ALL


def find_pictures(paths: Sequence[Path]) -> list[Picture]:
    """Return the pictures of files, folders and `FILE#all`, in the order of the arguments, folders by name.

    Raises:
        ValueError: a folder without pictures, or two pictures that map to one name.
        OSError: a file that does not exist.
    """
    found = dict.fromkeys(path for argument in paths for path in _expanded(argument))
    pictures: dict[str, Picture] = {}
    for path in found:
        picture = Picture(path, name_of(path))
        if (other := pictures.setdefault(picture.name, picture)) is not picture:
            raise UserError(
                f"{other.path} and {path}: expected a name of its own for each result, got {picture.name!r} for both; "
                "rename one, or give them in two commands with two --out"
            )
    return list(pictures.values())


def name_of(path: Path) -> str:
    """Return the name of a picture's result: that of its file without the ending, and the part.

    Example:
        >>> name_of(Path("scans/head.nii.gz#12")), name_of(Path("v1.2.png"))
        ('head-12', 'v1.2')
    """
    file, part = split_part(path)
    ends = (".nii.gz", ".fits.gz", ".zarr.zip", *PHOTOGRAPHS)
    end = next((e for e in ends if file.name.lower().endswith(e)), file.suffix)
    stem = file.name[: len(file.name) - len(end)] if end else file.name
    return "-".join(filter(None, [stem or file.name, *re.split(r"[^\w.]+", part)]))


def filled(text: str, name: str) -> str:
    """Return the text of an option with the name of the picture in it."""
    return text.replace(NAME, name)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.endswith(STORES)


def _expanded(path: Path) -> list[Path]:
    """Return the pictures of one argument."""
    if _is_folder(path):
        if not (files := picture_files(path)):
            raise UserError(f"{path}: expected a folder with pictures, got none in it; see: invdiff list formats")
        return files
    file, part = split_part(path)
    check_exists(file)
    if part != ALL:
        return [path]
    try:
        read_content(file)
    except SeveralPictures as several:
        return [Path(f"{file}#{i}") for i in range(several.count)]
    return [file]
