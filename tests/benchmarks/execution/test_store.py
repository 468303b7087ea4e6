"""The store of a benchmark: rows, claims, versions, and what happens when it cannot be written."""

import dataclasses
import multiprocessing
import subprocess
import sys
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from invdiff.benchmarks.execution import store as module
from invdiff.benchmarks.execution.store import Cell, Row, Store, StoreError


def cell(**changes: object) -> Cell:
    base = Cell(
        suite="s", suite_hash="h", task="denoising", solver="dps", parameters={"steps": 5}, label="dps:steps=5",
        prior="photo", prior_hash="p", image="cat", seed=0,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_a_row_comes_back_as_it_was(tmp_path: Path) -> None:
    pictures = {"truth": np.arange(12, dtype=np.uint8).reshape(3, 2, 2)}
    row = Row.of(
        cell(), status="ok", metrics={"psnr": 30.25}, seconds=1.5, harness=0.1, nfe=5, vjps=2, peak_memory=2**40,
        threads=2, workers=3, device="cpu", versions={"torch": "2"},
    )  # fmt: skip
    with Store.open(tmp_path) as store:
        store.record(row, pictures)
    with Store.open(tmp_path, create=False) as store:
        (found,) = store.rows()
    assert dataclasses.replace(found, pictures=None) == row
    kept = found.load_pictures(tmp_path)
    assert kept is not None and np.array_equal(kept["truth"], pictures["truth"])


def test_the_key_tells_cells_apart_and_nothing_else_does() -> None:
    keys = {
        cell(**{name: value}).key
        for name, value in {
            "suite_hash": "g", "task": "t", "solver": "x", "label": "dps", "parameters": {"steps": 6},
            "prior_hash": "q", "image": "dog", "seed": 1,
        }.items()
    }  # fmt: skip
    assert len(keys | {cell().key}) == 9
    assert cell(suite="renamed", prior="elsewhere/photo").key == cell().key
    assert cell(parameters={"a": 1, "b": 2}).key == cell(parameters={"b": 2, "a": 1}).key


def test_a_second_row_of_a_cell_replaces_the_first_in_its_place(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.record(Row.of(cell(), status="failed", reason="no"))
        store.record(Row.of(cell(seed=1), status="ok"))
        store.record(Row.of(cell(), status="ok"))
        assert [(r.seed, r.status) for r in store.rows()] == [(0, "ok"), (1, "ok")]
        assert [r.seed for r in store.rows(status="ok", seed=1)] == [1]
        with pytest.raises(ValueError, match="did you mean 'status'"):
            store.rows(statsu="ok")
        with pytest.raises(ValueError, match="did you mean 'failed'"):
            store.record(Row.of(cell(), status="faild"))


def test_a_cell_is_claimed_once_until_it_is_done_or_given_back(tmp_path: Path) -> None:
    with Store.open(tmp_path) as one, Store.open(tmp_path) as two:
        assert one.claim(cell()) and one.claim(cell()) and not two.claim(cell())
        one.release(cell())
        assert two.claim(cell()) and not one.claim(cell())
        two.record(Row.of(cell(), status="failed", reason="no"))
        assert not one.claim(cell()) and one.claim(cell(), retry=True)
        assert not two.claim(cell(), retry=True)
    with Store.open(tmp_path) as three:
        assert three.claim(cell(), retry=True)  # closing gave it back
        three.record(Row.of(cell(), status="ok"))
        assert not three.claim(cell(), retry=True)


def test_a_silent_owner_loses_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path) as here, Store.open(tmp_path) as there:
        assert there.claim(cell()) and not here.claim(cell())
        monkeypatch.setattr(module, "EXPIRY", 0.3)
        monkeypatch.setattr(module, "HEARTBEAT", 0.05)
        with there.heartbeats():
            time.sleep(0.6)
            assert not here.claim(cell())  # its heartbeat is recent
        time.sleep(0.6)
        assert here.claim(cell())


def test_a_dead_process_loses_its_claim_after_expiry_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, sys; sys.path[:0] = sys.argv[2:];"
        "from invdiff.benchmarks.execution.store import Store; from test_store import cell;"
        "assert Store.open(sys.argv[1]).claim(cell()); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)], check=True)
    now = time.time()
    with Store.open(tmp_path) as store:
        for later, free in ((module.EXPIRY - 5.0, False), (module.EXPIRY + 5.0, True)):
            monkeypatch.setattr(time, "time", lambda later=later: now + later)
            assert store.claim(cell()) is free


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.record(Row.of(cell(), status="ok"))
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match=r"the disk is full; free some space .* all earlier rows are kept"):
            store.record(Row.of(cell(seed=1), status="failed", reason="x" * 100_000))
        store._connection.execute("PRAGMA max_page_count = 100000")
        store.record(Row.of(cell(seed=2), status="ok"))
        assert [r.seed for r in store.rows()] == [0, 2]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        Store.open(tmp_path / "file" / "folder")
    with pytest.raises(FileNotFoundError, match=r"found no results.sqlite"):
        Store.open(tmp_path / "none", create=False)
    with Store.open(tmp_path) as store:
        store._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError, match=r"results.sqlite: cannot be written: attempt to write a readonly"):
            store.claim(cell())


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path / "a").close()
    with Store.open(tmp_path / "a") as store:
        store._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match=r"expected a store of version 1, got version 99.*choose another folder"):
        Store.open(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "results.sqlite").write_text("my diary, long enough to be no header of SQLite" * 50)
    with pytest.raises(ValueError, match="file is not a database"):
        Store.open(tmp_path / "b")
    import sqlite3

    (tmp_path / "c").mkdir()
    other = sqlite3.connect(tmp_path / "c" / "results.sqlite")
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(ValueError, match="got another database"):
        Store.open(tmp_path / "c")


def _open_new_stores(folder: Path, start: Barrier, faults: SimpleQueue[str]) -> None:
    for k in range(60):
        start.wait(60)
        try:
            Store.open(folder / str(k)).close()
        except Exception as error:
            faults.put(f"{type(error).__name__}: {error}")


def test_processes_may_make_the_same_store_at_the_same_moment(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, faults = context.Barrier(4), context.SimpleQueue()
    processes = [context.Process(target=_open_new_stores, args=(tmp_path, start, faults)) for _ in range(4)]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
    assert [p.exitcode for p in processes] == [0] * 4
    assert faults.empty(), faults.get()
