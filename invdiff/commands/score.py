"""`invdiff score`: scores of images of other programs against the true ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import terminal
from .arguments import text
from .checks import check_writable


def score(
    truth: Annotated[Path, text("Folder of the true images.")],
    estimate: Annotated[Path, text("Folder of the estimates, with the same names.")],
    metrics: Annotated[str, text("Of psnr, ssim, ssim_gaussian and lpips, with commas between.")] = "psnr,ssim",
    out: Annotated[Path | None, text("File for the scores of each image, as CSV.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Score images of other programs against the true ones.

    Example: invdiff score --truth photographs --estimate results --out scores.csv
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
