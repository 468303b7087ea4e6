"""Options that several commands share, and their help; free of torch, so that help answers at once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

FILES = "Mask and measurement"
RUN = "Running"

Seed = Annotated[int, typer.Option(help="Seed of all random numbers; the same seed, the same result.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or cuda:N; auto takes CUDA where there is one.", rich_help_panel=RUN)
]
Threads = Annotated[
    int | None, typer.Option(help="Threads on the CPU; torch's own choice unless given.", rich_help_panel=RUN)
]


def text(help: str, panel: str | None = None) -> Any:
    """Return an option with a help text, in a panel of its own if one is named."""
    return typer.Option(help=help, rich_help_panel=panel)
