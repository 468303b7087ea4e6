"""Checks of the arguments of a command, before any work."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..checks import integer
from ..errors import UserError
from ..registry import Registry, unknown

RESULT = "result.json"


def check_name(registry: Registry[Any], name: str) -> None:
    """Raise a ValueError with the nearest known name, unless the name is known or refers to a file."""
    if ".py:" not in name and name not in registry:
        raise UserError(unknown(registry.kind, name, registry))


def check_exists(path: Path) -> None:
    """Raise an OSError unless the file exists."""
    if path.is_dir() and path.suffix != ".zarr":
        raise IsADirectoryError(f"{path}: expected a file, got a folder; name one file in it")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")


def check_at_least(option: str, value: int | None, least: int) -> None:
    """Raise a ValueError for a number that is too small."""
    if value is not None:
        integer(option, value, least)


def check_out(out: Path, *, overwrite: bool) -> None:
    """Raise an error unless results can be written to a folder; nothing is written."""
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out: expected a folder, got the file {str(out)!r}; choose another name")
    if (out / RESULT).exists() and not overwrite:
        raise FileExistsError(f"--out: {str(out)!r} holds an earlier result; add --overwrite, or choose another folder")
    home = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    check_writable(home)


def check_writable(folder: Path) -> None:
    """Raise a PermissionError unless a file can be written in a folder, which permissions alone do not show."""
    try:
        if not folder.is_dir():
            raise NotADirectoryError
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(f"--out: cannot write in {str(folder)!r}; choose another folder") from error
