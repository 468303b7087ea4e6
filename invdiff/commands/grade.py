"""`invdiff grade`: how wrong each solver is, against exact posteriors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..registry import operators
from ..specs import Spec
from . import terminal
from .checks import check_at_least, check_name, check_writable
from .reconstruction.noises import make_noise, parse_noise

if TYPE_CHECKING:
    from ..testing.exact import ExactProblem

SHAPE = (1, 8, 8)
NOISE = "0.05"


def run(
    suite: str,
    solvers: str | None,
    *,
    operator: Spec | None = None,
    shape: tuple[int, int, int] | None = None,
    noise: str | None = None,
    samples: int,
    seeds: int,
    steps: int,
    out: Path | None,
    threads: int | None,
) -> None:
    """Print the table of a suite, and write it as Markdown.

    Args:
        suite: "exact" or "mcgdiff".
        solvers: names with commas between, or `None` for those of the suite.
        operator: linear operator to grade the solvers on, under the Gaussian prior of photographs, for the suite
            "exact"; its own problems unless given.
        shape: of the images, `(C, H, W)`, for `operator`; `SHAPE` unless given.
        noise: as `invdiff reconstruct` takes it, for `operator`; `NOISE` unless given.
        samples: of each image, for the suite "exact".
        seeds: problems in each cell, for the suite "mcgdiff".
        steps: noise levels, for the suite "mcgdiff".
        out: the file; its folder must exist.
        threads: on the CPU.

    Raises:
        ValueError: an unknown suite or solver, or a number that is too small.
        FileNotFoundError: no folder for `out`.
    """
    check_at_least("--samples", samples, 2)
    check_at_least("--seeds", seeds, 1)
    check_at_least("--steps", steps, 1)
    check_at_least("--threads", threads, 1)
    for option, value in (("--shape", shape), ("--noise", noise)):
        if operator is None and value is not None:
            raise ValueError(f"{option}: goes with --operator, got none; add --operator, or leave it out")
    if operator is not None:
        if suite != "exact":
            raise ValueError(f"--operator: goes with the suite exact, got {suite}; leave one out")
        check_name(operators, operator.name)
        if parse_noise(noise or NOISE) is None:
            raise ValueError("--noise auto: estimates the noise of a measurement, got none; give a standard deviation")
    if out is not None and not out.parent.is_dir():  # before hours of work, not after
        raise FileNotFoundError(f"--out: no folder {str(out.parent)!r}; make it first")
    if out is not None and out.is_dir():
        raise IsADirectoryError(f"--out: expected the name of a file, got the folder {str(out)!r}; name one in it")
    if out is not None:
        check_writable(out.parent)
    import torch

    from ..benchmarks.studies import exact_grades as grade

    if threads is not None:
        torch.set_num_threads(threads)
    grade.chosen(solvers, suite)
    problems = None if operator is None else _problem(operator, shape or SHAPE, noise or NOISE)
    table = grade.run(
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
