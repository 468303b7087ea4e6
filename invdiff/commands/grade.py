"""`invdiff grade`: how wrong each solver is, against exact posteriors."""

from __future__ import annotations

from pathlib import Path

from . import terminal
from .request import check_at_least


def run(
    suite: str,
    solvers: str | None,
    *,
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
    if out is not None and not out.parent.is_dir():  # before hours of work, not after
        raise FileNotFoundError(f"--out: no folder {str(out.parent)!r}; make it first")
    import torch

    from ..benchmarks import grade

    if threads is not None:
        torch.set_num_threads(threads)
    grade.chosen(solvers, suite)
    table = grade.run(suite, solvers, samples=samples, seeds=seeds, steps=steps, out=out, say=terminal.progress_line)
    terminal.table(table)
