"""`invdiff list`: the names of all objects, without importing them; with `--options`, their options."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer

from .. import registry
from ..entry import Entry, NoiseEntry, OperatorEntry, SolverEntry
from ..errors import UserError
from ..registry import Registry, unknown
from . import terminal

KINDS = ("operators", "noises", "solvers", "priors", "samplers", "tasks")
FORMATS = "formats"
"""A kind that is listed by its name alone: the formats of images, which import their readers."""


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(help="operators, noises, solvers, priors, samplers or tasks, by default all these; or formats."),
    ] = None,
    options: Annotated[
        bool, typer.Option("--options", help="Print the options of each, with defaults, as NAME:key=value.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all facts as JSON.")] = False,
) -> None:
    """List operators, noises, solvers (with paper, needs and class), priors, samplers, tasks, and formats of files."""
    run(kind, options=options, as_json=as_json)


def run(kind: str | None, *, options: bool = False, as_json: bool = False) -> None:
    """Print the names of one kind, or of all kinds under headings.

    Args:
        kind: one of `KINDS`, `FORMATS`, or `None` for all of the former.
        options: whether to print the options and their defaults instead of the summaries, which loads torch.
        as_json: whether to print one object with complete lists of entries by kind.

    Raises:
        ValueError: an unknown kind.
    """
    if kind is not None and kind not in (*KINDS, FORMATS):
        raise UserError(unknown("kind", kind, (*KINDS, FORMATS)))
    kinds = KINDS if kind is None else (kind,)
    if as_json:
        found = {k: [record(k, name, e, options=options) for name, e in entries(k).items()] for k in kinds}
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for i, one in enumerate(kinds):
        if kind is None:
            terminal.line(("\n" if i else "") + one)
        named = entries(one)
        if options and one != FORMATS:
            from .options import describe

            terminal.listing({name: describe(one, name) for name in named})
        elif named:
            terminal.listing({n: e.summary for n, e in named.items()}, {n: facts(e) for n, e in named.items()})
        else:
            terminal.line(f"no {one} yet")


def entries(kind: str) -> dict[str, Entry]:
    """Return the entries of one kind, with peers among the solvers; facts of other packages come from their objects."""
    if kind == FORMATS:
        from .formats import format_entries

        return format_entries()
    names: Registry[Any] = getattr(registry, kind)
    found = names.entries() | (registry.peers.entries() if kind == "solvers" else {})
    return {name: asked(names, entry) for name, entry in found.items()}


def asked(names: Registry[Any], entry: Entry) -> Entry:
    """Return an entry with the facts of another package's object; unchanged if the object fails to load."""
    try:
        described: Entry = names.described(entry)
        return described
    except Exception as error:  # another package's code; the list of all others must not fail with it
        return Entry(entry.target, f"{entry.summary}; fails to load: {type(error).__name__}: {error}", entry.source)


def facts(entry: Entry) -> str:
    """Return the text under a summary: for a solver its paper, needs and class, for a format its files."""
    if hasattr(entry, "suffixes"):
        from .formats import format_facts

        return format_facts(entry)
    return entry.facts if isinstance(entry, SolverEntry) else ""


def record(kind: str, name: str, entry: Entry, *, options: bool) -> dict[str, object]:
    """Return an entry for JSON."""
    out: dict[str, object] = {
        "name": name,
        "summary": entry.summary,
        "target": entry.target,
        "source": entry.source,
    }
    if isinstance(entry, OperatorEntry | NoiseEntry):
        out |= {f.name: getattr(entry, f.name) for f in dataclasses.fields(entry) if f.name not in out}
    if isinstance(entry, SolverEntry):
        out |= {"paper": entry.paper, "needs": entry.needs.split(), "class": entry.kind, "limit": entry.limit}
    if kind == FORMATS:
        from .formats import format_record

        out |= format_record(entry)
    elif options:
        from .options import describe

        out["options"] = describe(kind, name)
    return out
