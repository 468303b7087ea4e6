"""`invdiff report`: what a benchmark found, as one page."""

from __future__ import annotations

from pathlib import Path

from . import terminal
from .checks import check_writable


def run(folder: Path, *, out: Path | None, png: bool, metric: str, suite: str | None) -> None:
    """Write the page, and the figures.

    Args:
        folder: of the results.
        out: file of the page; `report.html` in the folder unless given.
        png: whether to write figures for a paper, too.
        metric: the one that ranks.
        suite: name or hash, where the folder has results of several.

    Raises:
        ValueError: no results, or options that do not fit them.
        ImportError: the extra `report` is not installed.
        OSError: a folder or file that cannot be read or written.
    """
    if out is not None and not out.parent.is_dir():
        raise FileNotFoundError(f"--out: no folder {str(out.parent)!r}; make it first")
    if out is not None:
        check_writable(out.parent)
    from ..benchmarks.report import write_figures, write_report

    page = write_report(folder, out, metric=metric, suite=suite)
    terminal.line(f"Report: {page}")
    if png:
        target = None if out is None else out.parent / "figures"
        for path in write_figures(folder, target, metric=metric, suite=suite):
            terminal.line(f"Figure: {path}")
