"""Two trainings never share a folder; a killed one leaves it to the next."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invdiff.errors import UserError
from invdiff.training.run_lock import run_lock

CONFIG = """
[run]
name = "tiny"
steps = {steps}
warmup = 1
precision = "float32"
evaluate_images = 2
[data]
channels = 1
crop = 16
batch = 2
[network]
channels = 1
widths = [8, 16]
encoder = [1, 1]
decoder = [1]
embedding = 16
"""
PATIENCE = 240
"""Seconds for which a busy machine may keep a process waiting; a quiet one takes three."""
RACE = """
import sys, time
from pathlib import Path
from invdiff.errors import UserError
from invdiff.training.run_lock import run_lock
sys.stdin.readline()
try:
    with run_lock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
except UserError as error:
    print(error, flush=True)
"""


def command(folder: Path, out: Path, steps: int, workers: int = 1) -> list[str]:
    images = folder / "images"
    if not images.exists():
        images.mkdir()
        rng = np.random.default_rng(0)
        for i in range(4):
            coarse = Image.fromarray(rng.integers(0, 256, (3, 4), dtype=np.uint8))
            coarse.resize((32, 32), Image.Resampling.BICUBIC).save(images / f"{i}.png")
    config = folder / f"{steps}.toml"
    config.write_text(CONFIG.format(steps=steps))
    words = ["train", "--data", str(images), "--out", str(out), "--config", str(config), "--no-progress"]
    return [sys.executable, "-m", "invdiff", *words, "--workers", str(workers), "--threads", str(workers)]


def wait_for(path: Path, process: subprocess.Popen[str]) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if path.is_file() and path.read_text():
            return path.read_text().strip()
        time.sleep(0.02)
    raise AssertionError(f"no {path.name}")


def test_a_second_training_is_refused_and_a_killed_one_taken_over(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = subprocess.Popen(
        command(tmp_path, out, 100_000, workers=2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    try:
        holder = wait_for(out / "lock", first)
        assert holder == f"process {first.pid} on {socket.gethostname()}"
        wait_for(out / "train.log", first)
        log = (out / "train.log").stat().st_ino
        second = subprocess.run(command(tmp_path, out, 2), capture_output=True, text=True, timeout=PATIENCE)
        assert second.returncode == 2
        (line,) = second.stderr.splitlines()
        assert line == (
            f"invdiff: error: --out: expected a folder in which no other training runs, {out} is in use by {holder}; "
            "wait for its end, stop it, or choose another --out"
        )
        assert first.poll() is None and (out / "train.log").stat().st_ino == log
        assert (out / "lock").read_text().strip() == holder  # the refused one changed nothing
    finally:
        first.kill()
        first.wait()
    third = subprocess.run(command(tmp_path, out, 2), capture_output=True, text=True, timeout=PATIENCE)
    assert third.returncode == 0, third.stderr
    assert f"invdiff: warning: --out: {out} is taken over from {holder}: that training was killed" in third.stderr
    assert (out / "tiny.safetensors").is_file() and not (out / "lock").exists()


def test_an_interrupted_training_leaves_no_lock(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = subprocess.Popen(
        command(tmp_path, out, 100_000),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job's child would ignore it
    )
    wait_for(out / "train.log", first)
    first.send_signal(signal.SIGINT)
    first.wait(PATIENCE)
    assert not (out / "lock").exists()


@pytest.mark.parametrize("stale", [False, True])
def test_one_of_many_gets_the_folder(tmp_path: Path, stale: bool) -> None:
    if stale:
        (tmp_path / "lock").write_text("process 1 on elsewhere\n")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = []
    for p in processes:
        assert p.stdin is not None
        p.stdin.write("\n")
        p.stdin.flush()
    for p in processes:
        assert p.stdout is not None
        said.append(p.stdout.readline().strip())
    for p in processes:
        p.communicate("\n", timeout=PATIENCE)
    assert sorted(s == "held" for s in said) == [False, False, False, True]
    assert all("in use by" in s for s in said if s != "held")
    assert not (tmp_path / "lock").exists()


def test_without_locks_of_the_file_system_the_file_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr("invdiff.training.run_lock.fcntl.flock", no_locks)
    with run_lock(tmp_path) as former:
        assert former == ""
        with pytest.raises(UserError, match=f"in use by process {os.getpid()} on .*if so, delete"), run_lock(tmp_path):
            pass
    assert not (tmp_path / "lock").exists()
