"""`invdiff list`: what names there are, without loading any of it; with `--options`, what each can be told."""

from __future__ import annotations

from .. import registry
from ..registry import unknown
from . import terminal

KINDS = ("operators", "solvers", "priors", "tasks")


def run(kind: str | None, *, options: bool = False) -> None:
    """Print the names of one kind, or of all kinds under headings.

    Args:
        kind: one of `KINDS`, or `None` for all.
        options: whether to print the options and their defaults instead of the summaries, which loads torch.

    Raises:
        ValueError: an unknown kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(unknown("kind", kind, KINDS))
    for i, one in enumerate(KINDS if kind is None else (kind,)):
        if kind is None:
            terminal.line(("\n" if i else "") + one)
        entries = getattr(registry, one).entries() | (registry.peers.entries() if one == "solvers" else {})
        texts = {name: entry.summary for name, entry in entries.items()}
        if options:
            from .options import describe

            texts = {name: describe(one, name) for name in entries}
        if entries:
            terminal.listing(texts)
        else:
            terminal.line(f"no {one} yet")
