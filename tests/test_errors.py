"""Whose fault an error is: exit codes, benchmark cells, and what the package raises."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import invdiff
from invdiff.benchmarks.execution import prepared
from invdiff.benchmarks.execution.runner import run_suite
from invdiff.benchmarks.suite import Data, Suite
from invdiff.cli import main
from invdiff.errors import NotApplicable, UserError, UserTypeError

PACKAGE = Path(invdiff.__file__).parent
FILE = """
from invdiff.operators import LinearOperator

class Mine(LinearOperator):
    def __init__(self, in_shape, gain=1.0):
        if gain < 0:
            raise {error}("gain: expected >= 0")
        self.in_shape = self.out_shape = in_shape
    def forward(self, x):
        return x
"""


def test_all_are_value_errors_so_that_nothing_that_caught_them_breaks() -> None:
    assert issubclass(UserError, ValueError) and issubclass(NotApplicable, UserError)
    assert issubclass(UserTypeError, TypeError) and issubclass(UserTypeError, UserError)


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError])
def test_our_own_fault_is_one_line_that_asks_for_a_report(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object, **__: object) -> None:
        raise error("operands could not be broadcast together\nwith shapes (3,) (4,)")

    monkeypatch.delenv("INVDIFF_TRACEBACK", raising=False)
    monkeypatch.setattr("invdiff.commands.listing.run", run)
    assert main(["list"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"invdiff: error: a fault of invdiff, not of what it was given: {error.__name__}: ")
    assert "(at listing.py:" in line and "please report it" in line and "invdiff --traceback" in line
    with pytest.raises(error):
        main(["--traceback", "list"])


@pytest.mark.parametrize("error", ["ValueError", "TypeError"])
def test_an_error_of_a_users_file_is_the_users(error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(FILE.format(error=error))
    np.save(tmp_path / "y.npy", np.full((8, 8), 0.5))
    words = ["reconstruct", str(tmp_path / "y.npy"), "--noise", "0.1", "--out", str(tmp_path / "out")]
    assert main([*words, "--operator", f"{tmp_path / 'mine.py'}:Mine:gain=-1"]) == 2
    assert capsys.readouterr().err == "invdiff: error: gain: expected >= 0\n"


def test_an_error_of_a_package_with_entry_points_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "their_package.py").write_text(FILE.format(error="ValueError"))
    info = tmp_path / "their_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[invdiff.operators]\ntheirs = their_package:Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["check", "operator", "theirs:gain=-1"]) == 2
    assert capsys.readouterr().err == "invdiff: error: gain: expected >= 0\n"


def cells(monkeypatch: pytest.MonkeyPatch, folder: Path, *solvers: str) -> dict[str, tuple[str, str]]:
    suite = Suite(
        name="tiny", prior="gaussian", tasks=("phase_retrieval",), solvers=solvers, samples=1,
        data=Data(source="prior", images=1, size=8, channels=1),
    )  # fmt: skip
    return {r.label: (r.status, r.reason) for r in run_suite(suite, folder).rows}


def test_only_what_a_solver_cannot_do_is_not_applicable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = cells(monkeypatch, tmp_path / "a", "measurement", "ddrm:steps=2")
    assert found["measurement"][0] == "not applicable" and "a picture of the image" in found["measurement"][1]
    assert found["ddrm:steps=2"][0] == "not applicable"

    def broken(*_: object, **__: object) -> None:
        raise ValueError("shapes (3,) and (4,) do not match")

    monkeypatch.setattr(prepared, "make_task", broken)  # before the first step
    status, reason = cells(monkeypatch, tmp_path / "b", "dps:steps=2")["dps:steps=2"]
    assert status == "failed" and reason.startswith("ValueError: shapes (3,) and (4,) do not match (")


INTERNAL = {
    "benchmarks/execution/store.py", "benchmarks/report/summary.py", "benchmarks/results/intervals.py",
    "benchmarks/studies/mixture.py", "benchmarks/tasks.py", "benchmarks/tuning/study.py", "calibration.py",
    "figures.py", "images", "metrics", "noise/base.py", "operators/base.py", "operators/composed",
    "operators/numerics", "operators/tomography/parallel.py", "priors/base.py", "priors/gaussian.py",
    "priors/mixture.py", "problem.py", "schedules", "streams.py", "testing/prior_figure.py", "training/optim.py",
    "transitions.py", "whitening.py",
}  # fmt: skip
"""Where a plain ValueError is right: checks of tensors that the package passes from one function to another."""


def test_what_the_user_did_wrong_is_a_user_error() -> None:
    """A check of names, options, files and numbers raises UserError, or the command line takes it for our fault."""
    plain = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
                inside = path.relative_to(PACKAGE).as_posix()
                if node.exc.func.id in ("ValueError", "TypeError") and not any(inside.startswith(k) for k in INTERNAL):
                    plain.add(f"{inside}:{node.lineno}")
    assert not plain
