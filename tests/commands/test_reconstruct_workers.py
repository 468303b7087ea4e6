"""`invdiff reconstruct` on several processes and on a cluster: the results of one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invdiff.cli import main

MINE = """
import os, signal
from pathlib import Path
from invdiff.operators import Operator
from invdiff.solvers import DPS

class Square(Operator):
    def __init__(self, in_shape):
        self.in_shape = self.out_shape = in_shape
    def forward(self, x):
        return x ** 2

class Picky(DPS):
    def step(self, run, x, i):
        if float(run.problem.measurement.flatten(1).mean(1).max()) > 0.9:
            raise RuntimeError("too bright")
        return super().step(run, x, i)

class Deadly(DPS):
    def step(self, run, x, i):
        flag = Path("flag")
        if i == 1 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(run, x, i)
"""
FAST = ["--noise", "0.1", "--prior", "gaussian", "--samples", "2", "--threads", "1", "--device", "cpu"]
DPS = ["--solver", "dps:steps=5"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("mine.py").write_text(MINE)
    for i, name in enumerate("abcd"):
        np.save(f"in/{name}.npy", np.random.default_rng(i).random((10, 10 + i // 2)))


def samples(folder: str) -> np.ndarray[Any, Any]:
    return np.asarray(np.load(Path(folder, "result.npz"))["samples"])


def same(a: str, b: str) -> bool:
    return all(np.array_equal(samples(f"{a}/{name}"), samples(f"{b}/{name}")) for name in "abcd")


def test_processes_give_the_results_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reconstruct", "in", "--operator", "mine.py:Square", *FAST, "--solver", "mine.py:Picky:steps=5"]
    assert main([*words, "--out", "one"]) == 0
    np.save("in/bad.npy", np.full((10, 10), 0.95))  # of the size of a and b, with which it is sent
    for out, more in (("two", ["--workers", "2"]), ("three", [])):
        assert main([*words, *more, "--out", out]) == 4
        assert "mine.py:16: RuntimeError: too bright" in capsys.readouterr().err
        assert same("one", out)
    np.save("in/a.npy", np.random.default_rng(5).random((40, 40)))
    alone = ["reconstruct", "in/a.npy", "--operator", "mine.py:Square", *FAST, *DPS, "--samples", "3"]
    assert main([*alone, "--out", "serial", "--batch-size", "2"]) == 0
    assert main([*alone, "--out", "parallel", "--workers", "2"]) == 0
    assert np.array_equal(samples("serial"), samples("parallel"))


@pytest.mark.filterwarnings("ignore")  # of distributed, when a worker dies
def test_a_cluster_whose_worker_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    distributed = pytest.importorskip("distributed")
    words = ["reconstruct", "in", "--operator", "blur:sigma=1", *FAST, "--solver", "mine.py:Deadly:steps=5"]
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        at = ["--scheduler", cluster.scheduler_address]
        assert main([*words, "--out", "cluster", *at]) == 0
        assert Path("flag").exists()
        assert main([*words, "--out", "alone"]) == 0
        assert same("cluster", "alone")
        one = ["reconstruct", "in/a.npy", *words[2:], "--batch-size", "1"]
        assert main([*one, "--out", "samples", *at]) == 0
        assert main([*one, "--out", "serial"]) == 0
        assert np.array_equal(samples("samples"), samples("serial"))


def test_a_scheduler_that_is_gone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("invdiff.pools.dask.PATIENCE", 0.3)
    words = ["reconstruct", "in", "--operator", "identity", *FAST, *DPS, "--out", "out"]
    assert main([*words, "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "--scheduler: tcp://127.0.0.1:9 does not answer" in capsys.readouterr().err
    assert main([*words, "--scheduler", "127.0.0.1:9"]) == 2
    assert "expected an address such as tcp://host:8786" in capsys.readouterr().err
    assert main([*words, "--scheduler", "tcp://a:1", "--workers", "2"]) == 2
    assert "--workers: goes without --scheduler" in capsys.readouterr().err
