"""`invdiff report`: the results of a benchmark on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import terminal
from .arguments import text
from .checks import check_writable


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of results of invdiff bench.")],
    out: Annotated[Path | None, text("File for the page; by default report.html in the folder.")] = None,
    png: Annotated[bool, typer.Option("--png", help="Write figures for a paper, too.")] = False,
    metric: Annotated[str, text("Metric of the ranks, such as psnr, ssim or crps.")] = "psnr",
    suite: Annotated[str | None, text("Name or hash, if the folder has results of several.")] = None,
) -> None:
    """Write the results of a benchmark as one page that works offline.

    Example: invdiff report results --png
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
