"""Atomic writing of files: under a temporary name, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` at the end unless an error occurred.

    Args:
        path: final name; its folder must exist.

    Raises:
        FileNotFoundError: no such folder.
        IsADirectoryError: `path` is a folder.
    """
    final = Path(path)
    if not final.parent.is_dir():
        raise FileNotFoundError(f"{final}: no folder {str(final.parent)!r}; make it first")
    if final.is_dir():
        raise IsADirectoryError(f"{final}: expected the name of a file, got a folder")
    handle, name = tempfile.mkstemp(prefix=".invdiff-", suffix=final.suffix, dir=final.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner can read; results follow the user's umask.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)
