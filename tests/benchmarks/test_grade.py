"""The table of errors, and the mixture experiment."""

import math
from pathlib import Path

import pytest

from invdiff.benchmarks import grade
from invdiff.cli import main
from invdiff.solvers import DPS, MCGDiff, PseudoInverse
from invdiff.testing import exact_problems
from invdiff.testing.exact import mixture_problem


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


def test_mixture_suite_is_paired_and_reproducible(tmp_path: Path) -> None:
    cell = grade.mixture_cell("floor", 8, 1, range(2), samples=100)
    assert cell.distances == grade.mixture_cell("floor", 8, 1, range(2), samples=100).distances
    assert cell.mean < 1.5
    assert math.isinf(grade.mixture_cell("floor", 8, 1, range(1), samples=50).error)
    out = tmp_path / "table.md"
    table = grade.run("mcgdiff", "floor,mcgdiff", seeds=1, steps=3, d_x=(8,), d_y=(2,), out=out, say=lambda text: None)
    assert table[0] == ["d_x", "d_y", "published", "floor", "mcgdiff"]
    assert table[1][3:] == ["0", "3"]
    assert table[2][:3] == ["8", "2", "0.49 ± 0.24"]
    assert "| 8 | 2 | 0.49 ± 0.24 |" in out.read_text()


def test_published_settings_are_in_the_units_of_the_mixture() -> None:
    _, prior = mixture_problem(8, 2, 0)
    solver = grade.mixture_solver("mcgdiff", prior)
    assert isinstance(solver, MCGDiff)
    assert solver.kappa * (prior.std / 0.5) ** 2 == pytest.approx(1e-2)
    problem, _ = mixture_problem(8, 1, 0)
    levels = solver.levels(problem, prior)
    assert levels[0] == pytest.approx(157) and levels[-2] == pytest.approx(0.01)


def test_bad_input_names_what_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="unknown suite 'mcgdif'; did you mean 'mcgdiff'"):
        grade.run("mcgdif")
    with pytest.raises(ValueError, match="unknown solver 'dpss'; did you mean 'dps'"):
        grade.run("exact", "dpss")
    with pytest.raises(ValueError, match="seeds: expected at least 1, got 0"):
        grade.run("mcgdiff", "floor", seeds=0)
    assert grade.main(["--solvers", "dpss"]) == 2
    assert "did you mean 'dps'" in capsys.readouterr().err


# MCGDiff on this package's levels, and ours: 20 problems, 20 evaluations. Measured 0.77, 0.28, 0.21, 0.99, 0.59, 0.31
# and 0.24, 0.12, 0.08, 0.41, 0.20, 0.11; the first is below the published interval, the others inside.
@pytest.mark.slow
@pytest.mark.parametrize(("d_x", "d_y"), [(8, 1), (8, 2), (8, 4), (80, 1), (80, 2), (80, 4)])
def test_mcgdiff_is_as_good_as_published_and_ours_halves_it(d_x: int, d_y: int) -> None:
    published, error = grade.PUBLISHED[d_x, d_y]
    theirs = grade.mixture_cell("mcgdiff-ours", d_x, d_y, range(20))
    ours = grade.mixture_cell("twisted", d_x, d_y, range(20))
    assert theirs.mean < published + error
    assert ours.nfe == theirs.nfe
    assert ours.mean < 0.5 * theirs.mean


@pytest.mark.slow
@pytest.mark.parametrize("d_y", [1, 2, 4])
def test_published_settings_give_the_published_distance(d_y: int) -> None:
    """At d_x = 8; at 80 these settings give more than was published, on the authors' grid to the level as well."""
    published, error = grade.PUBLISHED[8, d_y]
    assert abs(grade.mixture_cell("mcgdiff", 8, d_y, range(20)).mean - published) < error


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
