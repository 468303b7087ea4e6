"""Printing: results on standard output, everything else on standard error; plain text when piped."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Scores = Mapping[str, Mapping[str, float]]


def _console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, highlight=False, emoji=False, markup=False)


def line(text: str) -> None:
    """Print a line without breaks, so that paths stay whole."""
    _console().print(text, soft_wrap=True)


def error(text: str) -> None:
    """Print `invdiff: error: ...` in one line on standard error."""
    print("invdiff: error: " + " ".join(text.split()), file=sys.stderr)


def warning(text: str) -> None:
    """Print `invdiff: warning: ...` in one line on standard error, yellow on a terminal."""
    console = _console(stderr=True)
    console.print(Text("invdiff: warning: " + " ".join(text.split())), soft_wrap=True, style="yellow")


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and texts in two columns on standard error."""
    _columns(_console(stderr=True), rows, style="dim")


def listing(entries: Mapping[str, str], facts: Mapping[str, str] | None = None) -> None:
    """Print names and texts: a table on a terminal, else one line for each name, of any length.

    Args:
        entries: texts by name.
        facts: additions to some of the texts, by name: dim and on separate lines on a terminal, else in brackets.
    """
    _columns(_console(), list(entries.items()), style="bold", facts=facts or {})


def _columns(
    console: Console, rows: Sequence[tuple[str, str]], style: str, facts: Mapping[str, str] | None = None
) -> None:
    """Print names and texts; texts are broken into lines on a terminal only."""
    facts = facts or {}
    width = max((len(name) for name, _ in rows), default=0)
    if not console.is_terminal:
        for name, text in rows:
            print(f"{name:<{width}}  {text}" + (f" ({facts[name]})" if facts.get(name) else ""), file=console.file)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style=style, no_wrap=True, min_width=width)
    table.add_column()
    for name, text in rows:
        table.add_row(name, text)
        if facts.get(name):
            table.add_row("", Text(facts[name], style="dim"))
    console.print(table)


def scores(groups: Mapping[str, Scores]) -> None:
    """Print PSNR, SSIM and coverage, one row for each estimate, groups one under the other.

    Args:
        groups: scores by estimate, by the name of a group; a name may be empty.
    """
    console = _console()
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    named = any(groups)
    if named:
        table.add_column("task")
    table.add_column("estimate")
    table.add_column("PSNR dB", justify="right")
    table.add_column("SSIM", justify="right")
    covered = any("coverage_90" in s for group in groups.values() for s in group.values())
    if covered:
        table.add_column("in 90 % interval", justify="right")
    for i, (group, rows) in enumerate(groups.items()):
        if i:
            table.add_section()
        for j, (name, values) in enumerate(rows.items()):
            cells = [group if j == 0 else ""] if named else []
            cells += [name, f"{values['psnr']:.2f}", f"{values['ssim']:.3f}" if "ssim" in values else "-"]
            if covered:
                cells.append(f"{values['coverage_90']:.0%}" if "coverage_90" in values else "")
            table.add_row(*cells)
    console.print(table)


def progress_line(text: str) -> None:
    """Print a line of progress on standard error."""
    _console(stderr=True).print(text, soft_wrap=True, style="dim")


def table(rows: Sequence[Sequence[str]], *, names: int = 2) -> None:
    """Print a table with its head in the first row; the first columns, by default two, are names, the rest figures."""
    console = _console()
    if not console.is_terminal:
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip(), file=console.file)
        return
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(rows[0]):
        shown.add_column(name, justify="left" if i < names else "right")
    for row in rows[1:]:
        shown.add_row(*row)
    console.print(shown)


def screen(rows: Sequence[Sequence[str]]) -> None:
    """Print a dense table, one space between its columns, never broken; its head is the first row."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        line(" ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def paragraph(text: str) -> None:
    """Print a paragraph, broken at the width of the terminal."""
    _console().print(text, style="dim")
