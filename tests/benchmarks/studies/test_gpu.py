"""The program for a GPU works in its rehearsal, and does not pass a CPU off as one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from invdiff.benchmarks.studies import gpu
from invdiff.benchmarks.studies.__main__ import main


def test_a_rehearsal_has_every_part_and_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "STEPS", 2)
    page = tmp_path / "gpu.md"
    assert main(["gpu", "--rehearse", "--device", "cpu", "--solvers", "dps", "--out", str(page)]) == 0
    text = page.read_text()
    assert "No GPU has been measured" in text
    for part in (
        "## Tests",
        "## Milliseconds",
        "## Solvers",
        "| dps",
        "## A large picture",
        "64 x 48 colour",
        "peak memory",
    ):
        assert part in text, part


def test_a_cpu_is_no_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["gpu"]) == 2
    assert "expected a CUDA device, found none; --rehearse" in capsys.readouterr().err


def test_what_the_time_does_not_allow_is_named() -> None:
    text = gpu.report(torch.device("cpu"), rehearse=True, minutes=0.0, solvers=["dps", "pnp"], compiled=False)
    assert "Left out: dps, pnp." in text
    assert "Left out: the time was over." in text
