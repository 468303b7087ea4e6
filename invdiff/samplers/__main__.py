"""`python -m invdiff.samplers`: all samplers on a mixture whose law is known, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..atomic import atomic_path
from .table import compare, show, to_markdown, to_page


def main(
    n: Annotated[int, typer.Option(min=2, help="Samples of each sampler.")] = 4000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write Markdown to this file as well.")] = None,
) -> None:
    """Compare all samplers on a mixture of two modes: evaluations and sliced Wasserstein distance."""
    rows = compare(n, seed)
    if markdown:
        print(to_markdown(rows), end="")
    else:
        show(rows)
    if out is not None:
        with atomic_path(out) as temporary:
            temporary.write_text(to_page(rows, n, seed), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
