"""The error of each solver: its samples compared with exact posteriors, as a table.

    python -m invdiff.benchmarks.studies exact_grades [--solvers dps,mcgdiff] [--out docs/grades.md]

The suite `exact` runs solvers with their defaults on `invdiff.testing.exact_problems`. The suite `mcgdiff` is the study
`mixture`. Every solver sees the same problems, so their differences are paired.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ... import registry
from ...errors import UserError
from ...solvers import Solver
from ...solvers.base import NEEDS
from ...testing import exact_problems, grade_solver
from ...testing.exact import ExactProblem
from ..results.markdown import Table, markdown_page, markdown_table, write_page
from . import mixture
from .mixture import STEPS, Say

SUITES = ("exact", "mcgdiff")
FEWER = {"dip": (4, ("modes", "mixture"))}
"""Largest number of samples, and omitted problems: `dip` trains a network for each sample, and needs images."""


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
    head = ["solver", "problem", "bias", "variance", "50 %", "90 %", "distance", "floor", "nfe", "seconds", "status"]
    table = [head]
    for name, solver in solvers.items():
        for label, (problem, prior) in (problems or exact_problems()).items():
            most, left_out = FEWER.get(name, (samples, ()))
            if solver.unmet(problem) or label in left_out:
                continue
            count = math.ceil(min(samples, most) / solver.samples_per_row) * solver.samples_per_row
            g = grade_solver(solver, problem, prior, samples=count, seed=seed)
            figures = (g.bias, g.variance_ratio, g.coverage_50, g.coverage_90, g.distance, g.floor)
            texts = [f"{v:.2f}" if v < 1000 else f"{v:.0e}" for v in figures]
            table.append([name, label, *texts, str(g.nfe), f"{g.seconds:.2f}", g.status])
            say("  ".join(table[-1]))
    return table


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


def run(
    suite: str = "exact", solvers: str | None = None, *, samples: int = 256, seeds: int = 20, steps: int = STEPS,
    d_x: Sequence[int] = (8, 80, 800), d_y: Sequence[int] = (1, 2, 4), out: Path | None = None,
    problems: dict[str, ExactProblem] | None = None, say: Say = print,
) -> Table:  # fmt: skip
    """Run a suite, report each finished row, and write the table.

    Args:
        suite: one of `SUITES`.
        solvers: names with commas between; by default all, or those of the paper.
        samples: of each image, for the suite `exact`.
        seeds: number of problems in each cell, for the suite `mcgdiff`.
        steps: noise levels, of which the last is 0, for the suite `mcgdiff`.
        d_x: dimensions of x, for the suite `mcgdiff`.
        d_y: dimensions of y, for the suite `mcgdiff`.
        out: Markdown file to write; by default none.
        problems: for the suite `exact`, by name; by default those of `exact_problems`.
        say: called with each line.

    Raises:
        ValueError: an unknown suite or solver, a number that is too small, or problems that none of the solvers can do.
    """
    names = chosen(solvers, suite)
    for label, value in (("samples", samples), ("seeds", seeds), ("steps", steps)):
        if value < 1:
            raise UserError(f"grade: {label}: expected at least 1, got {value}")
    if suite == "exact":
        made = {n: registry.solvers[n]() for n in names}
        reasons = _left_out(made, problems or {})
        if problems and not made:
            raise UserError(f"grade: solvers: expected one that can do the problem, got none; {'; '.join(reasons)}")
        for reason in reasons:
            say(reason)
        table = grade_all(made, samples=samples, problems=problems, say=say)
        note = (
            f"Solvers with their defaults, on problems with a closed-form posterior; at least {samples} samples of "
            "each image. Bias of the mean and distance (sliced Wasserstein-1) are in posterior standard deviations; "
            "the bias is corrected for the finite number of samples. A perfect solver has variance 1, coverage 50 % "
            "and 90 %, and a distance at its floor. Particle methods have few independent samples here, and their bias "
            "includes the error from that. "
            f"Seconds are those of {torch.get_num_threads()} thread(s). "
            f"Made by `invdiff grade --samples {samples} --out docs/grades.md`. `dip` trains a network for each "
            "sample: it draws 4 samples of each image, and the problems with vectors are omitted."
        )
        page = markdown_page("The errors of solvers", note, markdown_table(table))
    else:
        table = mixture.mixture_suite(names, d_x=d_x, d_y=d_y, seeds=seeds, steps=steps, say=say)
        page = mixture.page(table, seeds, steps)
    if out is not None:
        write_page(out, page)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Grade solvers on the exact problems, from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies exact_grades",
        description="The errors of solvers against exact posteriors.",
    )
    parser.add_argument("--solvers", help="names with commas between")
    parser.add_argument("--samples", type=int, default=256, help="of each image")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args(argv)
    try:
        run("exact", args.solvers, samples=args.samples, out=args.out, say=lambda text: print(text, flush=True))
    except UserError as error:
        print(f"exact_grades: {error}", file=sys.stderr)
        return 2
    return 0
