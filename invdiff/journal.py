"""A journal of a long computation, so that it can be killed and started again.

A computation that depends on its arguments alone takes the same way each time. Its parts, which are the batches of its
solvers, have an entry each, numbered in their order: the result of a finished part, or the last state of the loop of
the one at work. A second run of the same computation reads them instead of computing them:

    with Journal("result/.resume", key="settings"):
        ...                                             # killed here, and started again: goes on

Files are written when a minute has passed since the last ones, under a temporary name which is then changed, so a
computation that is killed loses a minute, and a short one writes nothing.
"""

from __future__ import annotations

import shutil
import time
from contextvars import ContextVar, Token
from pathlib import Path
from typing import Any, Self

import torch

from .atomic import atomic_path

EVERY = 60.0
"""Seconds between two states on disk."""

_active: ContextVar[Journal | None] = ContextVar("journal", default=None)


class JournalError(OSError):
    """The state of a run cannot be written: the disk is full, for one."""


class Journal:
    """The journal of one computation; a context manager inside of which solvers write into it.

    Args:
        folder: for its files; made at the first write. Files of another computation in it are removed then.
        key: of the computation: all that its result depends on.
        every: seconds between two writes; by default a minute.
    """

    def __init__(self, folder: str | Path, key: str, every: float | None = None) -> None:
        self.folder, self._key, self._every = Path(folder), key, EVERY if every is None else every
        self._entries, self._waiting = 0, dict[int, dict[str, Any]]()
        self._last = time.monotonic()
        self.resumed = self._is_mine()
        """Whether an earlier run has left its files."""

    @property
    def written(self) -> bool:
        """Whether there are files to go on from."""
        return self._is_mine()

    def entry(self, name: str) -> Entry:
        """Return the next entry of the computation; `name` says what it does, and must be the same each time."""
        self._entries += 1
        return Entry(self, self._entries - 1, name)

    def discard(self) -> None:
        """Remove the files, when the result of the computation is safe."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._last >= self._every

    def write(self, file: str, content: dict[str, Any]) -> None:
        """Write the entries that have ended since the last time, and a file.

        Raises:
            JournalError: the disk is full, or the folder cannot be written.
        """
        try:
            self._begin()
            for number, result in self._waiting.items():
                self._save(_result(number), result)
            self._waiting.clear()
            self._save(file, content)
        except (OSError, RuntimeError) as error:  # torch's writer turns errors of the disk into its own
            why = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise JournalError(
                getattr(error, "errno", None) or 0,
                f"{self.folder}: the state of the run cannot be written: {why}; make room, and the same command goes "
                "on",
            ) from error
        self._last = time.monotonic()

    def ended(self, number: int, result: dict[str, Any]) -> None:
        """Keep the result of an entry; it is written with the next file, or now if it is time."""
        self._waiting[number] = result
        if self.due:
            self._waiting.pop(number)
            self.write(_result(number), result)

    def read(self, file: str, device: torch.device) -> dict[str, Any] | None:
        """Return the content of a file of this computation; `None` if there is none that is whole."""
        if not self.resumed:
            return None
        try:
            found: dict[str, Any] = torch.load(self.folder / file, map_location=device, weights_only=True)
        except Exception:  # what a broken file raises is of any type
            return None
        return found

    def __enter__(self) -> Self:
        """Let solvers write here."""
        self._token: Token[Journal | None] = _active.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        """Let solvers write here no longer."""
        _active.reset(self._token)

    def _is_mine(self) -> bool:
        try:
            return (self.folder / "key").read_text() == self._key
        except OSError:
            return False

    def _begin(self) -> None:
        if not self._is_mine():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            with atomic_path(self.folder / "key") as path:
                path.write_text(self._key)

    def _save(self, file: str, content: dict[str, Any]) -> None:
        with atomic_path(self.folder / file) as path:
            torch.save(content, path)


class Entry:
    """What the journal has of one part of a computation.

    Args:
        journal: that it belongs to.
        number: of the part, from 0.
        name: what the part does.
    """

    STATE = "state.pt"

    def __init__(self, journal: Journal, number: int, name: str) -> None:
        self._journal, self._number, self._name = journal, number, name

    def result(self, device: torch.device) -> dict[str, Any] | None:
        """Return what an earlier run found; `None` if it did not come to the end."""
        return self._mine(self._journal.read(_result(self._number), device))

    def state(self, device: torch.device) -> dict[str, Any] | None:
        """Return the last state of an earlier run; `None` if it has none of this entry."""
        return self._mine(self._journal.read(self.STATE, device))

    @property
    def due(self) -> bool:
        """Whether it is time to write the state."""
        return self._journal.due

    def keep(self, state: dict[str, Any]) -> None:
        """Write the state of the loop."""
        self._journal.write(self.STATE, {**state, "entry": self._number, "name": self._name})

    def end(self, result: dict[str, Any]) -> None:
        """Keep the result."""
        self._journal.ended(self._number, {**result, "entry": self._number, "name": self._name})

    def _mine(self, found: dict[str, Any] | None) -> dict[str, Any] | None:
        mine = found is not None and (found.get("entry"), found.get("name")) == (self._number, self._name)
        return found if mine else None


def current() -> Journal | None:
    """Return the journal of the innermost `with` block."""
    return _active.get()


def _result(number: int) -> str:
    return f"entry-{number:05d}.pt"
