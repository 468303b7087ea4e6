"""What only a process of its own can show: start-up time, signals and exit codes."""

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

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


def invdiff(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "invdiff", *words]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list", "solvers"], ["reconstruct", "--help"]])
def test_help_and_lists_load_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from invdiff.cli import main; main(sys.argv[1:]);"
        "print(*sorted({'torch', 'numpy', 'scipy', 'skimage', 'PIL', 'deepinv'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == ""
    assert done.stdout


def test_declaring_any_command_loads_nothing_heavy() -> None:
    """Every module of a command is imported for the first line of help."""
    code = (
        "import importlib, pkgutil, sys, invdiff.cli, invdiff.commands as c;"
        "names = {m.name for m in pkgutil.iter_modules(c.__path__)};"
        "print(*sorted(n for n in names if f'invdiff.commands.{n}' in sys.modules));"
        "print(*sorted({'torch', 'numpy', 'scipy', 'skimage', 'PIL', 'deepinv'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    commands = {"bench", "check", "demo", "grade", "listing", "reconstruct", "report", "sample", "score", "train"}
    assert commands | {"tune"} <= set(done.stdout.split())


def test_help_answers_in_under_a_second() -> None:
    def seconds() -> float:
        begin = os.times()
        assert invdiff("list").returncode == 0
        end = os.times()
        # Processor time, as the machine may be busy with something else.
        return end.children_user + end.children_system - begin.children_user - begin.children_system

    assert min(seconds() for _ in range(3)) < 1.0


def test_importing_the_package_costs_little_beyond_torch() -> None:
    code = "import torch, time; t = time.process_time(); import invdiff; print(time.process_time() - t)"
    assert float(subprocess.check_output([sys.executable, "-c", code], text=True, timeout=120)) < 0.3


def test_exit_codes(tmp_path: Path) -> None:
    done = invdiff("reconstruct", "none.png", "--operator", "identity", "--noise", "0", "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "invdiff: error: none.png: no such file\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    np.save(tmp_path / "y.npy", np.full((33, 47), 0.5))
    words = ["reconstruct", "y.npy", "--operator", "blur:sigma=1", "--noise", "0.1", "--prior", "gaussian"]
    words += ["--solver", "dps:steps=1000000", "--threads", "1", "--device", "cpu", "--out", "a/b"]
    command = [sys.executable, "-m", "invdiff", *words]
    heard = partial(signal.signal, number, signal.SIG_DFL)  # a job in the background of a shell is deaf to Ctrl-C
    with subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if line.startswith("device"):
                    break
            time.sleep(0.5)
            assert process.poll() is None, "the run ended by itself"
            process.send_signal(number)
            rest = process.stderr.read()
            assert process.wait(timeout=30) == code
        finally:
            process.kill()
    assert "Traceback" not in rest
    if number == signal.SIGINT:
        assert rest.splitlines()[-1] == "invdiff: interrupted; nothing was written"
    assert [p.name for p in tmp_path.iterdir()] == ["y.npy"]


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m invdiff list | head -1"
    done = subprocess.run(command, shell=True, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "operators\n"
    assert done.stderr == ""
