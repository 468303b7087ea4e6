"""The data needed to reproduce the results of a report: commands, the resolved suite, versions, machines."""

from __future__ import annotations

import statistics as stdlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..execution.rows import Row


@dataclass(frozen=True)
class Reproduction:
    """The origin of results.

    Attributes:
        commands: for a shell.
        facts: names and values.
        files: name and text of each file beside the results.
    """

    commands: str
    facts: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]


def reproduction(rows: Sequence[Row], folder: Path) -> Reproduction:
    """Return the origin of the rows of one suite.

    Args:
        rows: the rows.
        folder: that of the store, with the resolved suite.
    """
    first = rows[0]
    file = folder / f"suite-{first.suite}-{first.suite_hash}.toml"
    texts = ((file.name, file.read_text(encoding="utf-8")),) if file.is_file() else ()
    names = sorted({name for r in rows for name in r.versions})
    facts = [
        ("suite", f"{first.suite}, hash {first.suite_hash[:16]}"),
        *(("prior", f"{p}, hash {h[:16]}") for p, h in sorted({(r.prior, r.prior_hash) for r in rows})),
        ("images", _listed(r.image for r in rows)),
        ("seeds", _listed(str(s) for s in sorted({r.seed for r in rows}))),
        ("device", _listed(r.device for r in rows)),
        ("threads", _listed(str(r.threads) for r in rows)),
        *((name, _listed(r.versions[name] for r in rows if name in r.versions)) for name in names),
        ("measured", f"{min(r.finished for r in rows)} to {max(r.finished for r in rows)}"),
    ]
    timed = [r.harness / r.seconds for r in rows if r.seconds > 0]
    if timed:
        facts.append(("beside the solves", f"{stdlib.median(timed):.1%} of their time, the median over the cells"))
    peak = max(r.peak_memory for r in rows)
    if peak:
        facts.append(("peak memory", f"{peak / 2**30:.2f} GiB"))
    suite = texts[0][0] if texts else first.suite
    commands = f"invdiff bench {suite} --out results\ninvdiff report results"
    return Reproduction(commands, tuple(facts), texts)


def _listed(values: object) -> str:
    return ", ".join(dict.fromkeys(str(v) for v in values))  # type: ignore[attr-defined]
