"""Options that several commands share, and their help; without torch, so help is fast."""

from __future__ import annotations

from typing import Annotated, Any

import typer

FILES = "Mask and measurement"
RUN = "Running"

Seed = Annotated[int, typer.Option(help="Seed of all random numbers; the same seed gives the same result.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or cuda:N; auto takes CUDA if there is a device.", rich_help_panel=RUN)
]
Threads = Annotated[
    int | None, typer.Option(help="Threads on the CPU; by default torch's own choice.", rich_help_panel=RUN)
]
BatchSize = Annotated[
    int | None, typer.Option(help="Samples drawn at once; fewer take less memory.", rich_help_panel=RUN)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.", rich_help_panel=RUN)
]


def text(help: str, panel: str | None = None) -> Any:
    """Return an option with a help text, in a panel if one is named."""
    return typer.Option(help=help, rich_help_panel=panel)
