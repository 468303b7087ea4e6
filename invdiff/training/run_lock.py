"""One training in a folder at a time.

The process that trains holds the kernel's lock on the file `lock` of the folder, and its process number and host stand
in the file. The kernel gives a lock to one process only, and takes it back when that process ends, however it ends. So
a file that still names a process, but whose lock can be had, is that of a training that was killed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = "lock"
BUSY = (errno.EACCES, errno.EAGAIN)


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[str]:
    """Hold a folder for one training; the file of the lock is removed at the end.

    Args:
        folder: of the run; it must exist.

    Yields:
        Who had the folder before and was killed, as "process 123 on HOST"; "" if nobody.

    Raises:
        UserError: another training holds the folder.
    """
    path = folder / NAME
    handle = _locked(path)
    try:
        former = _content(handle)
        _replace(handle, f"process {os.getpid()} on {socket.gethostname()}\n")
        yield former
    finally:
        _replace(handle, "")
        with contextlib.suppress(OSError):  # Windows keeps open files; an empty one is nobody's
            path.unlink()
        os.close(handle)


def _locked(path: Path) -> int:
    """Return a descriptor of the file that `path` names, with its lock."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle, path)
            # A training that ended between the two calls has removed the file; that lock guards nothing.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    holder = _content(handle)
    try:
        if fcntl is None:
            raise OSError(errno.ENOTSUP, "no locks of files")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        refusal = (
            f"--out: expected a folder in which no other training runs, {path.parent} is in use by "
            f"{holder or 'one that has just started'}"
        )
        if error.errno in BUSY:
            raise UserError(f"{refusal}; wait for its end, stop it, or choose another --out") from None
        if holder:
            raise UserError(f"{refusal}, or was when that one was killed: if so, delete {path}") from None


def _content(handle: int) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, 1000).decode(errors="replace").strip()


def _replace(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, text.encode())
