"""`invdiff bench`: what it prints, what it leaves behind, and what is wrong with what it was asked."""

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from invdiff.benchmarks.execution import store
from invdiff.benchmarks.execution.store import FILE, Row, Store
from invdiff.cli import main
from invdiff.images import save_image

TINY = """
name = "tiny"
prior = "gaussian"
samples = 16
tasks = ["denoising", "super_resolution:factor=2"]
solvers = ["pinv", "dps:steps=3", "exact"]
[data]
source = "prior"
images = 1
size = 16
channels = 1
"""


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    (tmp_path / "tiny.toml").write_text(TINY)
    return str(tmp_path / "tiny.toml")


def test_a_run_prints_its_leaderboard_and_goes_on(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["bench", tiny, "--out", str(out), "--threads", "1", "--export", "csv"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert re.match(r"denoising +PSNR dB +SSIM +evaluations +seconds", lines[0])
    assert [line.split()[0] for line in lines if line.startswith("  ")].count("dps:steps=3") == 2
    assert max(map(len, said.out.splitlines()[:-4])) <= 80
    assert "6 of 6 cells done now in" in said.out and "on top of the solves" in said.out
    assert (out / "results.csv").exists() and "6/6" in said.err
    assert main(["bench", tiny, "--out", str(out), "--threads", "1", "--images", "2", "--solvers", "pinv,exact"]) == 0
    assert "4 of 8 cells done now" in capsys.readouterr().out
    assert main(["bench", tiny, "--out", str(out), "--threads", "1"]) == 0
    assert "All 6 cells were done before." in capsys.readouterr().out
    with Store.open(out) as store:
        rows = store.rows()
    assert len(rows) == 10 and {r.status for r in rows} <= {"ok", "misfit"}
    better = {r.task: r.metrics["psnr"] for r in rows if r.label == "exact" and r.image == "draw-000"}
    worse = {r.task: r.metrics["psnr"] for r in rows if r.label == "pinv" and r.image == "draw-000"}
    assert all(better[task] > worse[task] for task in worse)


def test_misfits_are_counted(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", tiny, "--images", "2", "--solvers", "prior,exact", "--tasks", "denoising", "--threads", "1"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    (line,) = [line for line in said.out.splitlines() if line.startswith("  prior")]
    assert line.endswith("2 misfit")
    assert "invdiff: warning: 2 of 4 cells are misfits" in said.err and ": prior 2" in said.err
    rows = {(r.label, r.status) for r in rows_of(tmp_path / "out")}
    assert rows == {("prior", "misfit"), ("exact", "ok")}


def rows_of(out: Path) -> list[Row]:
    with Store.open(out) as store:
        return store.rows()


def test_a_folder_of_ones_own(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(3):
        save_image(torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(i)), folder / f"{i}.png")
    command = ["bench", tiny, "--images", str(folder), "--solvers", "pinv", "--tasks", "denoising", "--threads", "1"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "3 of 3 cells done now" in capsys.readouterr().out
    with Store.open(tmp_path / "out") as store:
        assert [r.image.split("@")[0] for r in store.rows()] == ["0.png", "1.png", "2.png"]


def test_photographs_are_read_gray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "quick", "--prior", "photo-gray", "--images", "1", "--solvers", "pinv", "--tasks", "denoising"]
    command += ["--out", str(tmp_path / "out"), "--threads", "1", "--size", "32"]
    assert main(command) == 2
    assert "photo-gray" in (said := capsys.readouterr().err) and "--gray" in said
    assert main([*command, "--gray"]) == 0
    (row,) = rows_of(tmp_path / "out")
    assert row.pictures is not None
    with np.load(tmp_path / "out" / row.pictures) as pictures:
        assert {p.shape[-3:] for p in pictures.values() if p.ndim >= 3} == {(1, 32, 32)}


def test_a_cell_that_fails_is_told_and_done_again(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    flag = tmp_path / "works"
    file.write_text(
        "from dataclasses import dataclass\nfrom pathlib import Path\nimport torch\nfrom invdiff.solvers import DPS\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine(DPS):\n"
        "    def step(self, run, x, i):\n"
        f"        if i and not Path({str(flag)!r}).exists():\n            raise RuntimeError('my own fault')\n"
        "        return super().step(run, x, i)\n"
    )
    command = ["bench", tiny, "--solvers", f"{file}:Mine:steps=2,pinv", "--tasks", "denoising", "--threads", "1"]
    command += ["--out", str(tmp_path / "out")]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "RuntimeError: my own fault (mine.py:" in said.err and "1 of 2 cells failed; --retry" in said.err
    assert "1 failed" in said.out
    flag.touch()
    assert main(command) == 1  # it stays failed until it is asked for again
    assert main([*command, "--retry"]) == 0
    assert "1 of 2 cells done now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quik"], "unknown suite 'quik'; did you mean 'quick'"),
        (["none.toml"], "none.toml: no such file"),
        (["quick", "--solvers", "dpss:steps=3"], "unknown solver 'dpss'; did you mean 'dps'"),
        (["quick", "--solvers", "dps:step=3"], "unknown parameter of DPS 'step'; did you mean 'steps'"),
        (["quick", "--solvers", "exat"], "unknown solver 'exat'; did you mean 'exact'"),
        (["quick", "--tasks", "denoisin"], "unknown task 'denoisin'; did you mean 'denoising'"),
        (["quick", "--images", "photos"], "--images: expected a number or a folder, got 'photos'"),
        (["quick", "--images", "0"], "--images: expected an integer >= 1, got 0"),
        (["quick", "--images", "99"], "expected at most 20 photographs, got 99"),
        (["quick", "--size", "9999"], "size: expected at most"),
        (["quick", "--seeds", "0"], "--seeds: expected an integer >= 1, got 0"),
        (["quick", "--workers", "0"], "--workers: expected an integer >= 1, got 0"),
        (["quick", "--prior", "fashion"], "takes images of 1 x 28 x 28"),
        (["quick", "--prior", "phot"], "unknown prior 'phot'; did you mean 'photo'"),
        (["quick", "--export", "xls"], "--export: unknown kind 'xls'"),
        (["quick", "--workers", "2", "--scheduler", "tcp://host:1"], "--workers: goes without --scheduler"),
        (["quick", "--scheduler", "here"], "--scheduler: expected an address such as tcp://host:8786, got 'here'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments, "--out", str(tmp_path / "out")]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("invdiff: error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["bench", tiny, "--out", str(tmp_path / "file" / "out")]) == 2
    assert "--out: cannot write in" in capsys.readouterr().err
    with Store.open(tmp_path / "old") as store:
        store._connection.execute("PRAGMA user_version = 99")
    assert main(["bench", tiny, "--out", str(tmp_path / "old")]) == 2
    assert "expected a store of version 1, got version 99" in capsys.readouterr().err


def test_quick_is_killed_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = ["bench", "quick", "--size", "24", "--samples", "1", "--threads", "1", "--out", str(out)]
    command += ["--solvers", "measurement,dps:steps=20,diffpir:steps=20,ddrm:steps=20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "invdiff", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(2400):
        if (out / FILE).exists() and len(rows_of(out)) >= 5:
            break
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()  # SIGKILL: no time to tidy up
    process.wait()
    before = rows_of(out)
    assert 5 <= len(before) < 24
    monkeypatch.setattr(store, "EXPIRY", 1.0)  # of the claim of the dead process
    assert main(command) == 0
    assert f"{24 - len(before)} of 24 cells done now" in capsys.readouterr().out
    after = rows_of(out)
    assert after[: len(before)] == before and len({r.key for r in after}) == len(after) == 24
    assert {r.status for r in after} <= {"ok", "misfit"}
