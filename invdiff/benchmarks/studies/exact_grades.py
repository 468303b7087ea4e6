"""The error of each solver: its samples compared with exact posteriors, as a table.

    python -m invdiff.benchmarks.studies exact_grades [--solvers dps,mcgdiff] [--problems hard] [--out docs/grades.md]

The suite `exact` runs solvers with their defaults on `invdiff.testing.exact_problems`, a row for each, and on
`invdiff.testing.hard_problems`, one screen for all. The suite `mcgdiff` is the study `mixture`. Every solver sees the
same problems, so their differences are paired.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from ... import registry
from ...errors import NotApplicable, UserError
from ...posterior import ExactPosterior
from ...reconstruction import Reconstruction
from ...solvers import Solver
from ...solvers.base import NEEDS
from ...testing import exact_problems, grade_solver, hard_problems
from ...testing.exact import ExactProblem
from ...testing.hard import HARD
from ...testing.solver import grade_result
from ..results.grades import COLUMNS, EXACT, Graded, long_row, long_table
from ..results.grades_page import grades_page
from ..results.markdown import Table, write_page
from . import mixture
from .mixture import STEPS, Say

SUITES = ("exact", "mcgdiff")
SETS = {"ordinary": ("ordinary",), **{name: (name,) for name in COLUMNS}, "all": ("ordinary", *COLUMNS)}
"""Sets of problems, by the names of `--problems`."""
FEWER = {"dip": (4, ("modes", "mixture", *HARD), "trains a network for each sample, which takes too long here")}
"""Largest number of samples, omitted problems, and why."""

Sets = dict[str, dict[str, ExactProblem]]


def problem_sets(names: str = "all") -> Sets:
    """Return the problems of some sets, by the name of the set and of the problem.

    Raises:
        ValueError: an unknown name.
    """
    if names not in SETS:
        raise UserError(registry.unknown("set of problems", names, SETS))
    hard = hard_problems()
    sets = {n: {p: hard[p] for column in columns for p in column.problems} for n, columns in COLUMNS.items()}
    return {name: {"ordinary": exact_problems(), **sets}[name] for name in SETS[names]}


def grade_each(
    solvers: dict[str, Solver], problems: dict[str, ExactProblem], *, samples: int = 256, seed: int = 0,
    exact: bool = False, say: Say = lambda text: None,
) -> list[Graded]:  # fmt: skip
    """Grade each solver on each problem.

    Args:
        solvers: by their names.
        problems: by their names.
        samples: number of samples of each image.
        seed: non-negative integer.
        exact: whether exact samples come first, under the name `EXACT`.
        say: called with a line for each finished grade.
    """
    out = []
    for label, (problem, prior) in problems.items() if exact else ():
        drawn = Reconstruction(ExactPosterior(problem, prior).sample(samples, seed=seed + 3))
        out.append(Graded(EXACT, label, grade_result(drawn, problem, prior, seed=seed)))
    for name, solver in solvers.items():
        for label, (problem, prior) in problems.items():
            most, left_out, why = FEWER.get(name, (samples, (), ""))
            if label in left_out:
                out.append(Graded(name, label, None, why))
                continue
            if unmet := solver.unmet(problem):
                out.append(Graded(name, label, None, f"needs {' and '.join(NEEDS[n] for n in unmet)}"))
                continue
            count = math.ceil(min(samples, most) / solver.samples_per_row) * solver.samples_per_row
            try:
                grade = grade_solver(solver, problem, prior, samples=count, seed=seed)
            except NotApplicable as error:
                out.append(Graded(name, label, None, str(error)))
                continue
            out.append(Graded(name, label, grade))
            say("  ".join(long_row(out[-1])))
    return out


def grade_all(
    solvers: dict[str, Solver], *, samples: int = 256, seed: int = 0, problems: dict[str, ExactProblem] | None = None,
    say: Say = lambda text: None,
) -> Table:  # fmt: skip
    """Grade solvers on exact problems; the first row of the table is its head.

    Args:
        solvers: by their names in the table.
        samples: number of samples of each image.
        seed: non-negative integer.
        problems: by name; by default those of `exact_problems`.
        say: called with a line for each finished row.

    Returns:
        A row for each solver and each problem that meets its needs, with the exceptions of `FEWER`.
    """
    return long_table(grade_each(solvers, problems or exact_problems(), samples=samples, seed=seed, say=say))


def _left_out(solvers: dict[str, Solver], problems: dict[str, ExactProblem]) -> list[str]:
    """Remove the solvers that can do none of the problems, and return the reasons, one line each."""
    reasons = []
    for name, solver in list(solvers.items()):
        unmet = [solver.unmet(problem) for problem, _ in problems.values()]
        if unmet and all(unmet):
            del solvers[name]
            reasons.append(f"{name}: left out, for it needs {' and '.join(NEEDS[n] for n in unmet[0])}")
    return reasons


def chosen(names: str | None, suite: str) -> list[str]:
    """Return the names of the solvers in a comma-separated list.

    Raises:
        ValueError: an unknown suite or solver.
    """
    if suite not in SUITES:
        raise UserError(registry.unknown("suite", suite, SUITES))
    if suite == "mcgdiff":
        return mixture.chosen(names)
    return list(registry.solvers) if names is None else mixture.listed(names)


def run_exact(
    solvers: str | None = None, *, samples: int = 256, sets: Sets | None = None, out: Path | None = None,
    say: Say = print,
) -> dict[str, list[Graded]]:  # fmt: skip
    """Grade solvers on sets of problems, report each finished grade, and write the page.

    Args:
        solvers: names with commas between; by default all.
        samples: of each image.
        sets: problems by the name of their set; by default those of `problem_sets`. A set with a screen in `COLUMNS`
            begins with exact samples.
        out: Markdown file to write; by default none.
        say: called with each line.

    Returns:
        The grades of each set.

    Raises:
        ValueError: an unknown solver, a number that is too small, or problems that none of the solvers can do.
    """
    names = chosen(solvers, "exact")
    if samples < 1:
        raise UserError(f"grade: samples: expected at least 1, got {samples}")
    made = {n: registry.solvers[n]() for n in names}
    reasons = [] if sets is None else _left_out(made, {k: v for problems in sets.values() for k, v in problems.items()})
    if not made:
        raise UserError(f"grade: solvers: expected one that can do the problem, got none; {'; '.join(reasons)}")
    for reason in reasons:
        say(reason)
    graded = {
        name: grade_each(made, problems, samples=samples, exact=name in COLUMNS, say=say)
        for name, problems in (sets or problem_sets()).items()
    }
    if out is not None:
        write_page(out, grades_page(graded, samples))
    return graded


def run(
    suite: str = "exact", solvers: str | None = None, *, samples: int = 256, seeds: int = 20, steps: int = STEPS,
    d_x: Sequence[int] = (8, 80, 800), d_y: Sequence[int] = (1, 2, 4), out: Path | None = None,
    sets: Sets | None = None, say: Say = print,
) -> Table:  # fmt: skip
    """Run a suite, report each finished row, and write its page.

    Args:
        suite: one of `SUITES`.
        solvers: names with commas between; by default all, or those of the paper.
        samples: of each image, for the suite `exact`.
        seeds: number of problems in each cell, for the suite `mcgdiff`.
        steps: noise levels, of which the last is 0, for the suite `mcgdiff`.
        d_x: dimensions of x, for the suite `mcgdiff`.
        d_y: dimensions of y, for the suite `mcgdiff`.
        out: Markdown file to write; by default none.
        sets: for the suite `exact`, problems by the name of their set; by default those of `problem_sets`.
        say: called with each line.

    Returns:
        A table, whose first row is its head.

    Raises:
        ValueError: an unknown suite or solver, a number that is too small, or problems that none of the solvers can do.
    """
    names = chosen(solvers, suite)
    for label, value in (("samples", samples), ("seeds", seeds), ("steps", steps)):
        if value < 1:
            raise UserError(f"grade: {label}: expected at least 1, got {value}")
    if suite == "exact":
        graded = run_exact(solvers, samples=samples, sets=sets, out=out, say=say)
        return long_table(g for part in graded.values() for g in part)
    table = mixture.mixture_suite(names, d_x=d_x, d_y=d_y, seeds=seeds, steps=steps, say=say)
    if out is not None:
        write_page(out, mixture.page(table, seeds, steps))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Grade solvers on the exact problems, from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies exact_grades",
        description="The errors of solvers against exact posteriors.",
    )
    parser.add_argument("--solvers", help="names with commas between")
    parser.add_argument("--problems", default="all", help=f"set of problems: {', '.join(SETS)}")
    parser.add_argument("--samples", type=int, default=256, help="of each image")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args(argv)
    try:
        run(
            "exact", args.solvers, samples=args.samples, out=args.out, sets=problem_sets(args.problems),
            say=lambda text: print(text, flush=True),
        )  # fmt: skip
    except UserError as error:
        print(f"exact_grades: {error}", file=sys.stderr)
        return 2
    return 0
