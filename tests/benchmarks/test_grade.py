"""The table of errors, and the mixture experiment."""

from pathlib import Path

import pytest

from invdiff.benchmarks import grade
from invdiff.cli import main
from invdiff.solvers import DPS, MCGDiff, PseudoInverse
from invdiff.testing import exact_problems


def test_a_row_for_each_solver_and_problem() -> None:
    said: list[str] = []
    table = grade.grade_all({"pinv": PseudoInverse(), "dps": DPS(steps=3)}, samples=8, say=said.append)
    assert len(table[0]) == 11
    assert [row[:2] for row in table[1:]] == [[s, p] for s in ("pinv", "dps") for p in exact_problems()]
    assert len(said) == len(table) - 1
    assert [row[8] for row in table[1:]] == ["0"] * 4 + ["3"] * 4


def test_clouds_are_whole() -> None:
    """A cloud of 50 particles is not cut to 8 samples: evaluations are those of one sample."""
    one = {"modes": exact_problems()["modes"]}
    row = grade.grade_all({"mcgdiff": MCGDiff(steps=3, particles=50)}, samples=8, problems=one)[1]
    assert row[8] == "3"


def test_bad_input_names_what_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="unknown suite 'mcgdif'; did you mean 'mcgdiff'"):
        grade.run("mcgdif")
    with pytest.raises(ValueError, match="unknown solver 'dpss'; did you mean 'dps'"):
        grade.run("exact", "dpss")
    with pytest.raises(ValueError, match="seeds: expected at least 1, got 0"):
        grade.run("mcgdiff", "floor", seeds=0)
    with pytest.raises(ValueError, match="steps: expected at least 2 noise levels, of which the last is 0, got 1"):
        grade.run("mcgdiff", "floor", steps=1)
    assert grade.main(["--solvers", "dpss"]) == 2
    assert "did you mean 'dps'" in capsys.readouterr().err


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grades.md"
    assert main(["grade", "--solvers", "pinv", "--samples", "4", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].split()[:3] == ["solver", "problem", "bias"]
    assert len(printed.out.splitlines()) == 5
    assert "| pinv | modes |" in out.read_text()
    assert main(["grade", "--solvers", "pin"]) == 2
    assert "did you mean 'pinv'" in capsys.readouterr().err
    assert main(["grade", "--out", str(tmp_path / "none" / "x.md")]) == 2
