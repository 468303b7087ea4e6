"""One picture of a file that holds several: `FILE#3` is the fourth, `FILE.h5#entry/data#3` that of a data set.

No picture is chosen in silence. A file of several without a number is an error that says how many it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError


class SeveralPictures(UserError):
    """A file of several pictures was read without a number.

    Args:
        message: the text.
        count: number of pictures.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


def split_part(path: str | Path) -> tuple[Path, str]:
    """Return the file and the part of `FILE#PART`; the part is "" without one.

    Example:
        >>> split_part("stack.tif#3")
        (PosixPath('stack.tif'), '3')
    """
    text = str(path)
    if "#" not in text or Path(text).exists():
        return Path(text), ""
    file, _, part = text.partition("#")
    return Path(file), part


def number_of(part: str, count: int, path: str | Path, kind: str = "slices") -> int:
    """Return the number of the chosen picture, from 0.

    Args:
        part: the number as text, or "" for the only one.
        count: number of pictures in the file.
        path: the file, for messages.
        kind: the word for the pictures.

    Raises:
        ValueError: several pictures and no number, no number, or one beyond the last.
    """
    if not part:
        if count == 1:
            return 0
        raise SeveralPictures(
            f"{path}: expected one picture, got {count} {kind}; choose one, from {path}#0 to {path}#{count - 1}", count
        )
    if not part.isdigit() or int(part) >= count:
        raise UserError(f"{path}: expected a number of {count} {kind}, from 0 to {count - 1}, got #{part}")
    return int(part)


def chosen(stack: NDArray[Any], part: str, path: str | Path, *, image_axes: int = 2) -> NDArray[Any]:
    """Return one picture of `(..., H, W)`; the axes in front are numbered in the order of the file."""
    flat = stack.reshape(-1, *stack.shape[stack.ndim - image_axes :])
    return np.asarray(flat[number_of(part, len(flat), path)])


def named(
    part: str, names: Sequence[str], path: str | Path, *, usual: Sequence[str] = (), shown: str = ""
) -> tuple[str, str]:
    """Return the name of an array in a file of several, and what of the part stands behind it.

    Args:
        part: `NAME`, `NAME#3`, `3`, or "".
        names: of the arrays in the file.
        path: the file, for messages.
        usual: names of which the first that is there needs no naming.
        shown: the names for messages, by default themselves.

    Raises:
        ValueError: several arrays and no name, or one that is not there.

    Example:
        >>> named("entry/data#3", ["entry/data", "entry/dark"], "scan.h5")
        ('entry/data', '3')
    """
    name, _, rest = part.strip("/").partition("#")
    if name in names:
        return name, rest
    if not name or name.isdigit():
        if len(names) == 1:
            return names[0], name
        for one in usual:
            if one in names:
                return one, name
    alone = (
        f"one array, or one called {' or '.join(map(repr, usual))}, or its name" if usual else "the name of an array"
    )
    raise UserError(
        f"{path}: expected {alone}, as in {Path(path).name}#NAME, got {repr(name) if name else 'none'}; it has "
        f"{shown or ', '.join(names) or 'none'}"
    )
