"""`invdiff grade`: the errors of solvers, compared with exact posteriors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..errors import UserError
from ..registry import operators
from ..specs import Spec, parse_spec
from . import terminal
from .arguments import Threads, text
from .checks import check_at_least, check_name, check_writable
from .reconstruction.noises import make_noise, parse_noise

if TYPE_CHECKING:
    from ..testing.exact import ExactProblem

SHAPE = (1, 8, 8)
NOISE = "0.05"


def grade(
    suite: Annotated[
        str, text("exact: problems with a closed-form posterior; mcgdiff: the mixture experiment of its paper.")
    ] = "exact",
    solvers: Annotated[str | None, text("Names with commas between; by default all.")] = None,
    out: Annotated[Path | None, text("Markdown file for the table.")] = None,
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
    spec = None if operator is None else parse_spec(operator)
    if spec is not None:
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
    problems = None if spec is None else _problem(spec, shape or SHAPE, noise or NOISE)
    table = exact_grades.run(
        suite, solvers, samples=samples, seeds=seeds, steps=steps, out=out, problems=problems,
        say=terminal.progress_line,
    )  # fmt: skip
    terminal.table(table)


def _problem(spec: Spec, shape: tuple[int, int, int], noise: str) -> dict[str, ExactProblem]:
    """Return the problem of an operator, by its name."""
    import torch

    from ..operators.builders.factory import make_operator
    from ..testing.exact import operator_problem

    operator = make_operator(spec.name, shape, spec.options)
    law = make_noise(noise, torch.zeros((1, *operator.out_shape), dtype=torch.float64), None)
    return {spec.name.rpartition(":")[2]: operator_problem(operator, law)}
