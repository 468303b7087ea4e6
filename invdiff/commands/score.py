"""`invdiff score`: what others made, against the truth."""

from __future__ import annotations

from pathlib import Path

from . import terminal
from .checks import check_writable


def run(truth: Path, estimate: Path, *, metrics: str, out: Path | None, overwrite: bool) -> None:
    """Print the scores of each image and their means, and write them as CSV.

    Args:
        truth: folder of the true images.
        estimate: folder of the estimates.
        metrics: names with commas between.
        out: file for the table; its folder must exist.
        overwrite: whether to replace that file.

    Raises:
        ValueError: see `score_folders`.
        OSError: a folder that is not there, or a file that is.
    """
    if out is not None and out.exists() and not overwrite:
        raise FileExistsError(f"--out: {str(out)!r} is there already; add --overwrite, or choose another name")
    if out is not None and not out.parent.is_dir():
        raise FileNotFoundError(f"--out: no folder {str(out.parent)!r}; make it first")
    if out is not None:
        check_writable(out.parent)
    from ..benchmarks.results.folders import score_folders, table, write_csv

    scores = score_folders(truth, estimate, [name.strip() for name in metrics.split(",") if name.strip()])
    if out is not None:
        write_csv(scores, out)
    terminal.table(table(scores), names=1)
