"""The table of errors, and the mixture experiment."""

import json
import math
from pathlib import Path

import pytest

from invdiff.benchmarks.results.grades import COLUMNS, screen
from invdiff.benchmarks.studies import exact_grades as grade
from invdiff.cli import main
from invdiff.errors import NotApplicable
from invdiff.solvers import DPS, DeepImagePrior, MCGDiff, PseudoInverse
from invdiff.testing import exact_problems, hard_problems


def test_a_row_for_each_solver_and_problem() -> None:
    said: list[str] = []
    table = grade.grade_all({"pinv": PseudoInverse(), "dps": DPS(steps=3)}, samples=8, say=said.append)
    assert len(table[0]) == 11
    assert [row[:2] for row in table[1:]] == [[s, p] for s in ("pinv", "dps") for p in exact_problems()]
    assert len(said) == len(table) - 1
    assert [row[8] for row in table[1:]] == ["0"] * 4 + ["3"] * 4


def test_particles_are_not_cut() -> None:
    """A system of 50 particles is not cut to 8 samples: evaluations are those of one sample."""
    one = {"modes": exact_problems()["modes"]}
    row = grade.grade_all({"mcgdiff": MCGDiff(steps=3, particles=50)}, samples=8, problems=one)[1]
    assert row[8] == "3"


def test_a_solver_that_takes_hours_draws_fewer_samples_of_fewer_problems() -> None:
    assert "dip" in grade.chosen(None, "exact")
    table = grade.grade_all({"dip": DeepImagePrior(steps=2, width=4, depth=1)}, samples=300)
    assert [row[1] for row in table[1:]] == ["inpainting", "deblurring"]
    assert all(math.isfinite(float(v)) for row in table[1:] for v in row[2:8])


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
    assert main(["grade", "--problems", "ordinary", "--solvers", "pinv", "--samples", "4", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].split()[:3] == ["solver", "problem", "bias"]
    assert len(printed.out.splitlines()) == 5
    assert "| pinv | modes |" in out.read_text()
    assert main(["grade", "--solvers", "pin"]) == 2
    assert "did you mean 'pinv'" in capsys.readouterr().err
    assert main(["grade", "--out", str(tmp_path / "none" / "x.md")]) == 2
    assert main(["grade", "--solvers", "pinv", "--samples", "4", "--out", str(tmp_path)]) == 2
    assert main(["grade", "--solvers", " , "]) == 2


def test_all_tables_are_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two screens below the table, both with exact samples and with what a solver lacks."""
    out = tmp_path / "grades.md"
    assert main(["grade", "--solvers", "ddrm", "--samples", "20", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    begin = {word: next(i for i, line in enumerate(lines) if line.startswith(word)) for word in ("Hard", "More")}
    assert lines[0].split()[:3] == ["solver", "problem", "bias"] and len(lines[: begin["Hard"]]) == 6
    for first, problem in (("Hard", "modes"), ("More", "column blur")):
        head, exact, solver = lines[begin[first] + 1 : begin[first] + 4]
        assert head.startswith("solver") and problem in head
        assert exact.split()[0] == "exact" and solver.split()[0] == "ddrm"
        assert max(len(line) for line in (head, exact, solver)) <= 100
    assert any(line.startswith("- ddrm: needs an operator with a closed-form singular") for line in lines)
    page = out.read_text()
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## Ordinary problems", "## Hard problems", "## More problems",
    ]  # fmt: skip


def test_json_has_all_figures_of_both_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", "--solvers", "pinv,dip", "--samples", "4", "--json", "--problems", "hard"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == 4 and list(found)[2:] == ["hard"]
    by_name = {(row["solver"], row["problem"]): row for row in found["hard"]}
    assert by_name["pinv", "one-mode"]["modes"] == pytest.approx(1, abs=1e-3)  # the measured pixel is at its mode
    assert by_name["pinv", "tiny-noise"]["worst_ratio"] < 0.1 and by_name["exact", "gain-100"]["status"] == "ok"
    assert "trains a network" in by_name["dip", "one-pixel"]["reason"]
    for arguments, message in (
        (["--problems", "hrad"], "did you mean 'hard'"),
        (["--suite", "mcgdiff", "--problems", "hard"], "--problems: goes with the suite exact, got mcgdiff"),
        (["--suite", "mcgdiff", "--json"], "--json: goes with the suite exact, got mcgdiff"),
        (["--operator", "identity", "--problems", "hard"], "--operator brings a problem of its own"),
    ):
        assert main(["grade", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_samples_that_miss_the_data_are_marked() -> None:
    """Nearly no noise, in five steps of a guided diffusion: the residual is far beyond the noise."""
    problems = {"tiny-noise": hard_problems()["tiny-noise"]}
    graded = grade.grade_each({"dps": DPS(steps=5)}, problems, samples=20, exact=True)
    assert graded[1].grade is not None and graded[1].grade.status == "misfit" and graded[1].grade.chi_square > 100
    (_, exact, found) = screen(graded, COLUMNS["hard"])
    assert exact[1].endswith(" ") and found[1].endswith("!")


def test_a_solver_that_cannot_do_a_problem_after_all_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise NotApplicable("too large for it")

    monkeypatch.setattr(grade, "grade_solver", refuse)
    (found,) = grade.grade_each({"pinv": PseudoInverse()}, {"modes": exact_problems()["modes"]}, samples=4)
    assert found.grade is None and found.reason == "too large for it"


def test_solvers_on_an_operator_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An exact solver grades as one; solvers that lack what they need are named."""
    command = ["grade", "--operator", "downsample:factor=2", "--shape", "1", "4", "6", "--noise", "0.1"]
    out = tmp_path / "own.md"
    assert main([*command, "--solvers", "pinv,pnpdm,repaint", "--samples", "200", "--out", str(out)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [r[:2] for r in rows[1:]] == [[n, "downsample"] for n in ("pinv", "pnpdm", "repaint")]
    bias, variance = (float(v) for v in rows[2][2:4])
    assert bias < 0.25 and 0.8 < variance < 1.25, rows[2]  # of 200 samples: 0.07 and 0.1 by chance
    assert float(rows[1][2]) > 1, "without a prior the mean is wrong"
    assert "| pnpdm | downsample |" in out.read_text()
    own = ["grade", "--operator", "tomography:angles=4", "--samples", "4", "--solvers"]
    assert main([*own, "ddrm,pinv"]) == 0
    assert "ddrm: left out, for it needs an operator with a closed-form singular value" in capsys.readouterr().err
    for arguments, message in (
        ([*own, "ddrm"], "expected one that can do the problem, got none; ddrm: left out"),
        (["grade", "--operator", "gamma_curve"], "expected a linear one"),
        (["grade", "--operator", "identity", "--shape", "3", "64", "64"], "at most 2048 numbers in an image"),
        (["grade", "--operator", "identity", "--shape", "2", "8", "8"], "images of 1 or 3 channels"),
        (["grade", "--operator", "identity", "--noise", "poisson:photons=9"], "noise: expected Gaussian"),
        (["grade", "--operator", "identity", "--noise", "auto"], "give a standard deviation"),
        (["grade", "--operator", "identiy"], "did you mean 'identity'"),
        (["grade", "mcgdiff", "--operator", "identity"], "unexpected extra argument"),
        (["grade", "--suite", "mcgdiff", "--operator", "identity"], "goes with the suite exact, got mcgdiff"),
        (["grade", "--noise", "0.1"], "--noise: goes with --operator"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
