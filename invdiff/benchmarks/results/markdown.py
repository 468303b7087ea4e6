"""Tables and pages in Markdown: the one writer of all tables under docs/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...atomic import atomic_path

Table = list[list[str]]
"""Rows of cells; the first row is the head."""
KEPT = "<!-- by hand: kept when the page is made anew -->"
"""The text of a page from this line on is written by hand, and every program that writes the page keeps it."""
RULES = {"": "---", "l": ":--", "r": "--:"}


def markdown_table(rows: Sequence[Sequence[str]], *, align: str = "") -> str:
    r"""Return a table in Markdown, without a line break at its end.

    Args:
        rows: cells of equal number; the first row is the head.
        align: for each column l (left) or r (right); by default unspecified.

    Example:
        >>> print(markdown_table([["solver", "dB"], ["a|b", "31.2"]], align="lr"))
        | solver | dB |
        | :-- | --: |
        | a\|b | 31.2 |
    """
    head, *body = [[_cell(text) for text in row] for row in rows]
    rule = [RULES[a] for a in align] or [RULES[""]] * len(head)
    lines = [head, rule, *body]
    assert all(len(line) == len(head) for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Return text that cannot end a cell or a row."""
    return " ".join(text.split()).replace("|", "\\|")


def markdown_page(title: str, *parts: str) -> str:
    """Return a page: a title and the parts of it, with an empty line between them."""
    return "\n\n".join([f"# {title}", *parts]) + "\n"


def write_page(path: str | Path, text: str) -> None:
    """Write a page atomically; what an earlier page has from the line `KEPT` on stays at its end."""
    target = Path(path)
    old = target.read_text(encoding="utf-8") if target.exists() else ""
    _, mark, kept = old.partition(KEPT)
    with atomic_path(path) as temporary:
        temporary.write_text(f"{text.rstrip()}\n\n{mark}{kept}" if mark else text, encoding="utf-8")
