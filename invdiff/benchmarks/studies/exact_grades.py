"""How wrong is each solver: its samples against exact posteriors, as a table.

    python -m invdiff.benchmarks.studies exact_grades [--solvers dps,mcgdiff] [--out docs/grades.md]
    python -m invdiff.benchmarks.studies exact_grades --suite mcgdiff --solvers mcgdiff,dps
        [--seeds 20] [--d-x 8,80] [--d-y 1,2,4]

The suite `exact` runs solvers with their defaults on `invdiff.testing.exact_problems`. The suite `mcgdiff` is the
experiment of Cardoso et al. (2024) with a mixture of 25 Gaussians: see `mixture`. Every solver sees the same problems,
so that their differences are paired.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from ... import registry
from ...atomic import atomic_path
from ...solvers import Solver
from ...solvers.base import NEEDS
from ...testing import exact_problems, grade_solver
from ...testing.exact import ExactProblem
from .mixture import SAMPLES, STEPS, Say, Table, mixture_suite

SUITES = ("exact", "mcgdiff")
FEWER = {"dip": (4, ("modes", "mixture"))}
"""Most samples, and problems left out: `dip` trains a network for each sample, and these are vectors, not images."""


def grade_all(
    solvers: dict[str, Solver], *, samples: int = 256, seed: int = 0, problems: dict[str, ExactProblem] | None = None,
    say: Say = lambda text: None,
) -> Table:  # fmt: skip
    """Grade solvers on exact problems; the first row of the table is its head.

    Args:
        solvers: by the names that the table has.
        samples: how many samples of each image.
        seed: non-negative integer.
        problems: by name; those of `exact_problems` unless given.
        say: called with a line for each row, as it is done.

    Returns:
        A row for each solver and problem that has what the solver needs; for those of `FEWER`, as many as it says.
    """
    head = ["solver", "problem", "bias", "variance", "50 %", "90 %", "distance", "floor", "nfe", "seconds", "status"]
    table = [head]
    for name, solver in solvers.items():
        for label, (problem, prior) in (problems or exact_problems()).items():
            most, left_out = FEWER.get(name, (samples, ()))
            if solver.unmet(problem) or label in left_out:
                continue
            count = math.ceil(min(samples, most) / solver.cloud) * solver.cloud
            g = grade_solver(solver, problem, prior, samples=count, seed=seed)
            figures = (g.bias, g.variance_ratio, g.coverage_50, g.coverage_90, g.distance, g.floor)
            texts = [f"{v:.2f}" if v < 1000 else f"{v:.0e}" for v in figures]
            table.append([name, label, *texts, str(g.nfe), f"{g.seconds:.2f}", g.status])
            say("  ".join(table[-1]))
    return table


def markdown(table: Table, title: str, note: str) -> str:
    """Return a table as a page in Markdown."""
    rows = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([f"# {title}", "", note, "", rows[0], "|" + "---|" * len(table[0]), *rows[1:], ""])


def _left_out(solvers: dict[str, Solver], problems: dict[str, ExactProblem]) -> list[str]:
    """Take away the solvers that can do none of the problems, and return why, one line each."""
    reasons = []
    for name, solver in list(solvers.items()):
        unmet = [solver.unmet(problem) for problem, _ in problems.values()]
        if unmet and all(unmet):
            del solvers[name]
            reasons.append(f"{name}: left out, for it needs {' and '.join(NEEDS[n] for n in unmet[0])}")
    return reasons


def chosen(names: str | None, suite: str) -> list[str]:
    """Return the names of the solvers that a comma-separated list asks for.

    Raises:
        ValueError: an unknown suite or solver.
    """
    if suite not in SUITES:
        raise ValueError(registry.unknown("suite", suite, SUITES))
    if names is None:
        return list(registry.solvers) if suite == "exact" else ["floor", "mcgdiff", "mcgdiff-ours"]
    extra = () if suite == "exact" else ("floor", "prior", "mcgdiff-ours")
    out = [n.strip() for n in names.split(",") if n.strip()]
    if not out:
        raise ValueError(f"--solvers: expected names with commas between, as in dps,diffpir, got {names!r}")
    for name in out:
        if name not in extra and name not in registry.solvers and ".py:" not in name:
            raise ValueError(registry.unknown("solver", name, [*registry.solvers, *extra]))
    return out


def run(
    suite: str = "exact", solvers: str | None = None, *, samples: int = 256, seeds: int = 20, steps: int = STEPS,
    d_x: Sequence[int] = (8, 80, 800), d_y: Sequence[int] = (1, 2, 4), out: Path | None = None,
    problems: dict[str, ExactProblem] | None = None, say: Say = print,
) -> Table:  # fmt: skip
    """Run a suite, say each row as it is done, and write the table.

    Args:
        suite: one of `SUITES`.
        solvers: names with commas between; all, or those of the paper, unless given.
        samples: of each image, for the suite `exact`.
        seeds: how many problems in each cell, for the suite `mcgdiff`.
        steps: noise levels, of which the last is 0, for the suite `mcgdiff`.
        d_x: dimensions of x, for the suite `mcgdiff`.
        d_y: dimensions of y, for the suite `mcgdiff`.
        out: Markdown file to write; none unless given.
        problems: for the suite `exact`, by name; those of `exact_problems` unless given.
        say: called with each line.

    Raises:
        ValueError: an unknown suite or solver, a number that is too small, or problems that none of the solvers can do.
    """
    names = chosen(solvers, suite)
    for label, value in (("samples", samples), ("seeds", seeds), ("steps", steps)):
        if value < 1:
            raise ValueError(f"grade: {label}: expected at least 1, got {value}")
    if suite == "exact":
        made = {n: registry.solvers[n]() for n in names}
        reasons = _left_out(made, problems or {})
        if problems and not made:
            raise ValueError(f"grade: solvers: expected one that can do the problem, got none; {'; '.join(reasons)}")
        for reason in reasons:
            say(reason)
        table = grade_all(made, samples=samples, problems=problems, say=say)
        title = "How wrong is each solver"
        note = (
            f"Defaults on problems with a closed-form posterior; at least {samples} samples of each image. Bias of the "
            "mean and distance (sliced Wasserstein-1) are in posterior standard deviations, less chance; variance 1, "
            "coverage 50 % and 90 %, and a distance at its floor are those of a perfect solver. `dip`, which trains a "
            "network for each sample, draws 4 of each image, and vectors are no problem for it."
        )
    else:
        table = mixture_suite(names, d_x=d_x, d_y=d_y, seeds=seeds, steps=steps, say=say)
        title = "Mixture of 25 Gaussians"
        note = (
            f"Sliced Wasserstein-1 distance to the exact posterior: mean and 1.96 standard errors over {seeds} "
            f"problems of the authors (the same for every solver), {SAMPLES} samples, {steps} levels of which the last "
            "is 0; particles in two clouds."
        )
    if out is not None:
        with atomic_path(out) as path:
            path.write_text(markdown(table, title, note))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run a suite from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies exact_grades", description="How wrong is each solver."
    )
    parser.add_argument("--suite", default="exact", choices=SUITES)
    parser.add_argument("--solvers", help="names with commas between")
    parser.add_argument("--samples", type=int, default=256, help="of each image, for the suite exact")
    parser.add_argument("--seeds", type=int, default=20, help="problems in each cell, for the suite mcgdiff")
    parser.add_argument("--steps", type=int, default=STEPS, help="noise levels with the last, 0, for the suite mcgdiff")
    parser.add_argument("--d-x", default="8,80,800", help="dimensions, for the suite mcgdiff")
    parser.add_argument("--d-y", default="1,2,4", help="dimensions, for the suite mcgdiff")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args(argv)
    d_x, d_y = ([int(v) for v in text.split(",")] for text in (args.d_x, args.d_y))
    try:
        run(
            args.suite, args.solvers, samples=args.samples, seeds=args.seeds, steps=args.steps, d_x=d_x, d_y=d_y,
            out=args.out, say=lambda text: print(text, flush=True),
        )  # fmt: skip
    except ValueError as error:
        print(f"grade: {error}", file=sys.stderr)
        return 2
    return 0
