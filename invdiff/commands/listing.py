"""`invdiff list`: what names there are, without loading any of it."""

from __future__ import annotations

from .. import registry
from ..registry import unknown
from . import terminal

KINDS = ("operators", "solvers", "priors", "tasks")


def run(kind: str | None) -> None:
    """Print the names of one kind, or of all kinds under headings."""
    if kind is not None and kind not in KINDS:
        raise ValueError(unknown("kind", kind, KINDS))
    for i, one in enumerate(KINDS if kind is None else (kind,)):
        if kind is None:
            terminal.line(("\n" if i else "") + one)
        entries = getattr(registry, one).entries()
        if entries:
            terminal.listing({name: entry.summary for name, entry in entries.items()})
        else:
            terminal.line(f"no {one} yet")
