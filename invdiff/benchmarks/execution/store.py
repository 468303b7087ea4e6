"""The store of a benchmark: one SQLite file, `results.sqlite`, with one row for each cell of a suite.

A cell is identified by

    (suite hash, task, solver with parameters, prior hash, image, seed),

and its key is the SHA-256 of that. Each row is written in one transaction, so a killed process loses at most its
current cell, and no row is duplicated.

Use:

    store = Store.open(folder)                   # folder/results.sqlite, made if needed
    if store.claim(cell):                        # not finished, and not claimed by another process
        store.record(Row.of(cell, status="ok", metrics={"psnr": 30.1}, seconds=2.0, ...))
    for row in Store.open(folder, create=False).rows(status="ok", task="denoising"):
        row.metrics["psnr"], row.load_pictures(folder)

Several processes, on one machine or many, may work on one store. Each claims cells under its own name, and sends a
heartbeat every `HEARTBEAT` seconds (`store.heartbeats()`). A claim without a heartbeat for `EXPIRY` seconds is free
again. The clocks of the machines must agree to well within that time.

A failed cell is a row with its error. Only `claim(cell, retry=True)` claims it again.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import platform
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...atomic import atomic_path
from ...errors import UserError
from ...registry import unknown
from .rows import STATUSES, Cell, Pictures, Row, plain_json

__all__ = ["FILE", "SCHEMA", "STATUSES", "Cell", "Pictures", "Row", "Store", "StoreError"]

SCHEMA = 1
"""Version of the tables; a file of another version is not changed."""
FILE = "results.sqlite"
PICTURES = "pictures"
HEARTBEAT, EXPIRY = 5.0, 30.0
"""Seconds between two heartbeats of a process, and without one until its claims are free."""
TIMEOUT = 60.0
"""Seconds to wait for a lock that another process holds."""
APPLICATION = 0x696E7664  # "invd": distinguishes these files from other SQLite databases


class StoreError(OSError):
    """The store cannot be read or written: no place, no permission, or locked for too long."""

    def __str__(self) -> str:
        """Return the message, with the file, without the error number."""
        return str(self.strerror)


_JSON = frozenset({"parameters", "metrics", "versions"})
_COLUMNS = tuple(f.name for f in dataclasses.fields(Row))
_TYPES = {"seed": "INTEGER", "nfe": "INTEGER", "vjps": "INTEGER", "peak_memory": "INTEGER", "threads": "INTEGER",
          "workers": "INTEGER", "seconds": "REAL", "harness": "REAL"}  # fmt: skip


class Store:
    """The results in one folder; see the module. A context manager that closes the file.

    Example:
        >>> import tempfile
        >>> cell = Cell(suite="s", suite_hash="0", task="t", solver="dps", label="dps", prior="p", prior_hash="1",
        ...             image="cat", seed=0)
        >>> with tempfile.TemporaryDirectory() as folder, Store.open(folder) as store:
        ...     store.claim(cell), store.record(Row.of(cell, status="ok")), store.claim(cell), len(store.rows())
        (True, None, False, 1)
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.owner = f"{platform.node()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._connection, self._lock = connection, threading.RLock()

    @classmethod
    def open(cls, path: str | Path, *, create: bool = True) -> Store:
        """Open the store in a folder.

        Args:
            path: the folder, or the SQLite file itself.
            create: whether to make folder and file where there are none.

        Raises:
            FileNotFoundError: none there, and `create` is false.
            ValueError: the file is not a store, or one of another version.
            StoreError: it cannot be written.
        """
        given = Path(path)
        file = given if given.suffix == ".sqlite" else given / FILE
        if not file.exists():
            if not create:
                raise FileNotFoundError(f"{given}: expected results of invdiff bench, found no {FILE} there")
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    error.errno, f"{file.parent}: cannot be made: {error.strerror}; choose another folder"
                ) from error
        with _clear(file):
            connection = sqlite3.connect(file, timeout=TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            with _clear(file):
                _prepare(connection, file)
                # Rows survive the death of the process; a power failure may lose the last rows, but not the file.
                connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return cls(file, connection)

    @property
    def folder(self) -> Path:
        """The folder of the store; paths of images are relative to it."""
        return self.path.parent

    def __enter__(self) -> Store:
        """Return the store."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Release this process's claims, and close the file."""
        with self._lock:
            try:
                self._connection.execute("DELETE FROM claims WHERE owner = ?", (self.owner,))
            except sqlite3.Error:
                pass  # the claims will expire
            finally:
                self._connection.close()

    def rows(self, **where: object) -> list[Row]:
        """Return the rows in the order in which they were first written.

        Args:
            **where: values that columns must have, as in `rows(status="ok", task="denoising")`.

        Raises:
            ValueError: an unknown column, with the nearest known one.
        """
        for name in where:
            if name not in _COLUMNS or name in _JSON:
                raise ValueError(unknown("column", name, set(_COLUMNS) - _JSON))
        condition = " AND ".join(f"{name} IS ?" for name in where)
        query = f"SELECT {', '.join(_COLUMNS)} FROM rows {'WHERE ' + condition if where else ''} ORDER BY rowid"
        with self._guarded() as connection:
            return [_from_sql(values) for values in connection.execute(query, tuple(where.values()))]

    def statuses(self) -> dict[str, str]:
        """Return the status of every stored cell, by key."""
        with self._guarded() as connection:
            return dict(connection.execute("SELECT key, status FROM rows").fetchall())

    def claim(self, cell: Cell, *, retry: bool = False) -> bool:
        """Claim a cell; return whether it was free: not finished, and not claimed by another process.

        Args:
            cell: the cell.
            retry: whether a failed cell is free.
        """
        with self._transaction() as connection:
            found = connection.execute("SELECT status FROM rows WHERE key = ?", (cell.key,)).fetchone()
            if found is not None and not (retry and found[0] == "failed"):
                return False
            held = connection.execute("SELECT owner, beat FROM claims WHERE key = ?", (cell.key,)).fetchone()
            if held is not None and held[0] != self.owner and time.time() - held[1] <= EXPIRY:
                return False
            connection.execute("REPLACE INTO claims VALUES (?, ?, ?)", (cell.key, self.owner, time.time()))
            return True

    def release(self, cell: Cell) -> None:
        """Release the claim on an unfinished cell."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (cell.key, self.owner))

    def heartbeat(self) -> None:
        """Record that this process is alive."""
        with self._transaction() as connection:
            connection.execute("UPDATE claims SET beat = ? WHERE owner = ?", (time.time(), self.owner))

    @contextmanager
    def heartbeats(self) -> Iterator[None]:
        """Send a heartbeat every `HEARTBEAT` seconds, from a thread."""
        stop = threading.Event()

        def send() -> None:
            while not stop.wait(HEARTBEAT):
                try:
                    self.heartbeat()
                except OSError:
                    continue  # writing a row will report a full disk; one missing heartbeat does no harm

        thread = threading.Thread(target=send, daemon=True, name="invdiff-claims")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def record(self, row: Row, pictures: Pictures | None = None) -> None:
        """Write a row, in place of an earlier one of its cell, and release the claim.

        Args:
            row: the row.
            pictures: arrays for the gallery; they are written to a file that the row names.

        Raises:
            StoreError: the disk is full, or the folder cannot be written; earlier rows are kept.
        """
        if row.status not in STATUSES:
            raise ValueError(f"Row: {unknown('status', row.status, STATUSES)}")
        if pictures is not None:
            row = dataclasses.replace(row, pictures=self._keep(row, pictures))
        marks = ", ".join("?" * (len(_COLUMNS) + 1))
        updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)
        statement = (
            f"INSERT INTO rows (key, {', '.join(_COLUMNS)}) VALUES ({marks}) ON CONFLICT (key) DO UPDATE SET {updates}"
        )
        with self._transaction() as connection:
            connection.execute(statement, (row.key, *_to_sql(row)))
            connection.execute("DELETE FROM claims WHERE key = ?", (row.key,))

    def _keep(self, row: Row, pictures: Pictures) -> str:
        relative = f"{PICTURES}/{row.key[:2]}/{row.key[:24]}.npz"
        try:
            (self.folder / relative).parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(self.folder / relative) as path, path.open("wb") as file:
                np.savez(file, **pictures)  # type: ignore[arg-type]
        except OSError as error:
            raise StoreError(error.errno, _advice(self.folder / relative, error.strerror or str(error))) from error
        return relative

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _clear(self.path):
            yield self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guarded() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite itself rolls back on a full disk
                    connection.execute("ROLLBACK")
                raise


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    """Make the tables of a new file, or check those of an old one."""
    # In this order: if another process makes the tables in between, the version is theirs.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found == 0 and not tables:
        _log_ahead(connection)
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # no other process was faster
            columns = ", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in _COLUMNS)
            connection.execute(f"CREATE TABLE rows (key TEXT PRIMARY KEY, {columns})")
            connection.execute("CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT, beat REAL)")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise UserError(f"{file}: expected results of invdiff bench, got another database; choose another folder")
    if found != SCHEMA:
        raise UserError(
            f"{file}: expected a store of version {SCHEMA}, got version {found}, which another invdiff wrote; "
            "use that one, or choose another folder"
        )


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at the same time, by a write-ahead log.

    On some network filesystems SQLite keeps its older journal, which is slower but as safe. SQLite does not wait for
    the lock of another process that makes the same change, so it is tried again.
    """
    until = time.monotonic() + TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.01)


@contextmanager
def _clear(file: Path) -> Iterator[None]:
    """Convert SQLite's errors to errors that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        number = errno.ENOSPC if "full" in text else errno.EACCES
        raise StoreError(number, _advice(file, text)) from error
    except sqlite3.DatabaseError as error:
        raise UserError(f"{file}: expected results of invdiff bench: {error}; choose another folder") from error


def _advice(path: Path, text: str) -> str:
    if "full" in text or "No space" in text:
        return f"{path}: the disk is full; free some space and run the same command again: all earlier rows are kept"
    return f"{path}: cannot be written: {text}; check the folder's permissions and run the same command again"


def _to_sql(row: Row) -> tuple[object, ...]:
    values = ((name, getattr(row, name)) for name in _COLUMNS)
    return tuple(plain_json(dict(value)) if name in _JSON else value for name, value in values)


def _from_sql(values: tuple[Any, ...]) -> Row:
    named = dict(zip(_COLUMNS, values, strict=True))
    return Row(**{name: json.loads(value) if name in _JSON else value for name, value in named.items()})
