"""`invdiff reconstruct` that is killed and started again has the bits of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from invdiff.cli import main
from invdiff.commands.reconstruction.results import RESUME

WRITES_ALWAYS = (
    "import sys, torch, invdiff.journal; invdiff.journal.EVERY = 0.0;"
    "from invdiff.cli import main; sys.exit(main(sys.argv[1:]))"
)
OPTIONS = ["--operator", "blur:sigma=1", "--noise", "0.1", "--prior", "gaussian", "--solver", "dps:steps=120"]
OPTIONS += ["--samples", "2", "--batch-size", "1", "--threads", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name in "ab":
        np.save(f"in/{name}.npy", np.random.default_rng(ord(name)).random((40, 40)))


def stop(words: list[str], number: signal.Signals, after: Path) -> str:
    """Start the command, send a signal when it has written a new state, and return its standard error."""
    before = after.stat().st_mtime_ns if after.exists() else 0
    command = [sys.executable, "-c", WRITES_ALWAYS, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        try:
            for _ in range(6000):
                if after.exists() and after.stat().st_mtime_ns != before:
                    break
                assert process.poll() is None, "the run ended by itself"
                time.sleep(0.01)
            else:
                pytest.fail(f"{after} was not written")
            process.send_signal(number)
            _, printed = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    return printed


def samples(folder: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(np.load(Path(folder, "result.npz"))["samples"])


def test_one_picture_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reconstruct", "in/a.npy", *OPTIONS]
    state = Path("out", RESUME, "state.pt")
    said = stop([*words, "--out", "out"], signal.SIGINT, state)
    assert said.splitlines()[-1] == (
        f"invdiff: error: interrupted: the state of the run is in out/{RESUME}; the same command goes on"
    )
    stop([*words, "--out", "out"], signal.SIGKILL, state)
    stop([*words, "--out", "out"], signal.SIGKILL, Path("out", RESUME, "entry-00000.pt"))
    assert main([*words, "--out", "out"]) == 0
    assert "note      goes on from the state that an earlier run" in capsys.readouterr().err
    assert main([*words, "--out", "whole"]) == 0
    assert np.array_equal(samples("out"), samples("whole"))
    assert sorted(p.name for p in Path("out").iterdir()) == sorted(p.name for p in Path("whole").iterdir())


def test_a_folder_goes_on() -> None:
    words = ["reconstruct", "in", *OPTIONS]
    state = Path("out", RESUME, "state.pt")
    stop([*words, "--out", "out"], signal.SIGKILL, state)
    stop([*words, "--out", "out"], signal.SIGKILL, Path("out/a/result.json"))
    said = stop([*words, "--out", "out"], signal.SIGINT, state)
    assert "interrupted: 1 of 2 pictures are in out; the same command goes on" in said
    assert main([*words, "--out", "out"]) == 0
    assert main([*words, "--out", "whole"]) == 0
    for name in "ab":
        assert np.array_equal(samples(f"out/{name}"), samples(f"whole/{name}"))
    assert sorted(p.name for p in Path("out").iterdir()) == ["a", "b", "summary.json"]
    assert not list(Path("out").rglob(".invdiff*"))
