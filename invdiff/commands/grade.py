"""`invdiff grade`: the errors of solvers, compared with exact posteriors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from ..registry import operators
from ..specs import Spec, parse_operator
from . import terminal
from .arguments import Threads, text
from .checks import check_at_least, check_name, check_writable
from .reconstruction.noises import make_noise, parse_noise

if TYPE_CHECKING:
    from ..benchmarks.results.grades import Graded
    from ..benchmarks.studies.exact_grades import Sets

SHAPE = (1, 8, 8)
NOISE = "0.05"


def grade(
    suite: Annotated[
        str, text("exact: problems with a closed-form posterior; mcgdiff: the mixture experiment of its paper.")
    ] = "exact",
    solvers: Annotated[str | None, text("Names with commas between; by default all.")] = None,
    problems: Annotated[
        str | None,
        text("For exact: ordinary, a row each; hard or more, one screen; or all of them, the default."),
    ] = None,
    out: Annotated[Path | None, text("Markdown file for the tables.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For exact: print all figures as JSON.")] = False,
    operator: Annotated[
        str | None,
        text("For exact: grade on this linear operator instead, under a Gaussian prior: NAME:key=value,..."),
    ] = None,
    shape: Annotated[tuple[int, int, int] | None, text("For --operator: shape C H W; by default 1 8 8.")] = None,
    noise: Annotated[str | None, text("For --operator: Gaussian noise; by default 0.05.")] = None,
    samples: Annotated[int, text("For exact: samples of each image.")] = 256,
    seeds: Annotated[int, text("For mcgdiff: number of random problems in each cell.")] = 20,
    steps: Annotated[int, text("For mcgdiff: noise levels.")] = 20,
    threads: Threads = None,
) -> None:
    """Measure the errors of solvers against exact posteriors.

    Example: invdiff grade --solvers dps,mcgdiff,twisted
    """
    check_at_least("--samples", samples, 2)
    check_at_least("--seeds", seeds, 1)
    check_at_least("--steps", steps, 1)
    check_at_least("--threads", threads, 1)
    for option, value in (("--shape", shape), ("--noise", noise)):
        if operator is None and value is not None:
            raise UserError(f"{option}: goes with --operator, got none; add --operator, or leave it out")
    spec = None if operator is None else parse_operator(operator)
    for option, given in (("--problems", problems is not None), ("--json", as_json)):
        if given and suite != "exact":
            raise UserError(f"{option}: goes with the suite exact, got {suite}; leave one out")
    if spec is not None:
        if problems is not None:
            raise UserError("--problems: --operator brings a problem of its own; leave one out")
        if suite != "exact":
            raise UserError(f"--operator: goes with the suite exact, got {suite}; leave one out")
        check_name(operators, spec.name)
        if parse_noise(noise or NOISE) is None:
            raise UserError("--noise auto: estimates the noise of a measurement, got none; give a standard deviation")
    if out is not None and not out.parent.is_dir():  # checked before hours of work
        raise FileNotFoundError(f"--out: no folder {str(out.parent)!r}; make it first")
    if out is not None and out.is_dir():
        raise IsADirectoryError(f"--out: expected the name of a file, got the folder {str(out)!r}; name one in it")
    if out is not None:
        check_writable(out.parent)
    import torch

    from ..benchmarks.studies import exact_grades

    if threads is not None:
        torch.set_num_threads(threads)
    exact_grades.chosen(solvers, suite)
    if suite != "exact":
        table = exact_grades.run(suite, solvers, seeds=seeds, steps=steps, out=out, say=terminal.progress_line)
        terminal.table(table)
        return
    sets = exact_grades.problem_sets(problems or "all") if spec is None else _own(spec, shape or SHAPE, noise or NOISE)
    graded = exact_grades.run_exact(solvers, samples=samples, sets=sets, out=out, say=terminal.progress_line)
    if as_json:
        _print_json(graded, samples)
    else:
        _show(graded)


def _show(graded: dict[str, list[Graded]]) -> None:
    """Print the table or screen of each set."""
    from ..benchmarks.results.grades import COLUMNS, long_table, reasons, screen
    from ..benchmarks.results.grades_page import CELL, LEGEND, TITLES, chance

    for i, (name, part) in enumerate(graded.items()):
        if i:
            terminal.line("")
        if name not in COLUMNS:
            terminal.table(long_table(part))
            continue
        terminal.line(f"{TITLES[name]}: {CELL}")
        terminal.screen(screen(part, COLUMNS[name]))
        for note in (f"{LEGEND} {chance(part)}", *(f"- {why}" for why in reasons(part))):
            terminal.paragraph(note)


def _print_json(graded: dict[str, list[Graded]], samples: int) -> None:
    """Print all figures, by the name of the set of problems."""
    from .. import __version__
    from ..benchmarks.results.grades import as_json

    found = {"version": __version__, "samples": samples, **{name: as_json(part) for name, part in graded.items()}}
    print(json.dumps(found, indent=1))


def _own(spec: Spec, shape: tuple[int, int, int], noise: str) -> Sets:
    """Return the problem of an operator, by its name, in a set of its own."""
    import torch

    from ..operators.builders.factory import make_operator
    from ..testing.exact import operator_problem

    operator = make_operator(spec.name, shape, spec.options)
    law = make_noise(noise, torch.zeros((1, *operator.out_shape), dtype=torch.float64))
    return {"own": {spec.name.rpartition(":")[2]: operator_problem(operator, law)}}
