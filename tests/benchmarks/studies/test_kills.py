from pathlib import Path

import numpy as np
import pytest

from invdiff.benchmarks.studies.kills import equal, main


def test_a_short_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--pictures", "3", "--size", "24", "--kills", "2", "--effort", "fast", "--every", "0", "--longest", "2"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert "exit code 0; 3 of 3 pictures have the same bits" in capsys.readouterr().out


def test_one_bit_counts(tmp_path: Path) -> None:
    for run, value in (("whole", 1.0), ("killed", np.nextafter(np.float32(1), np.float32(2)))):
        (tmp_path / run / "a").mkdir(parents=True)
        np.savez(tmp_path / run / "a" / "result.npz", mean=np.full(3, value, np.float32))
    assert not equal(tmp_path, "a")
    assert not equal(tmp_path, "b")
