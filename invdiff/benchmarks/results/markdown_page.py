"""The rows of a store as a page of Markdown: solvers by tasks, one solver against another, and each task by itself.

    python -m invdiff.benchmarks.results.markdown_page FOLDER --best pnp:steps=49 --against dps:steps=1000 \
        --out docs/benchmarks.md

The rows are those of the resolved suite that was run last in the folder. The text of the file above the line `<!--
measured -->` is kept, for an introduction.

Figures are means over images and seeds, with 95 % intervals of a bootstrap over the images; two solvers are compared by
their differences on the same images. See `intervals`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import UserError
from ...registry import peers, unknown
from ..execution.rows import Row
from ..execution.runner import plan
from ..execution.store import Store
from ..metrics import METRICS
from ..suite import Suite, load_suite
from .intervals import Estimate, compare, mean_interval
from .leaderboard import Line, leaderboard
from .markdown import markdown_table, write_page

METRIC = "psnr"
MARK = "<!-- measured -->"
"""The text of a page above this line is kept."""


def page(rows: Sequence[Row], suite: Suite, *, best: Sequence[str] = (), against: Sequence[str] = ()) -> str:
    """Return the page, from its list of conditions on.

    Args:
        rows: of one suite.
        suite: the suite.
        best: solvers, as the suite lists them, to compare with `against`.
        against: solvers for the comparison; in each task the one with the highest mean.

    Raises:
        ValueError: no rows, or a solver without rows.
    """
    if not rows:
        raise UserError("markdown: rows: expected some, got none; run invdiff bench first")
    labels = list(dict.fromkeys(row.label for row in rows))
    for label in (*best, *against):
        if label not in labels:
            raise UserError(unknown("solver of these results", label, labels))
    common = _common(rows)
    lines = leaderboard(common)
    parts = [_conditions(rows, suite), _overview(lines, common)]
    if against:
        parts += [_comparison(rows, one, against) for one in best]
    for task in dict.fromkeys(line.task for line in lines):
        parts.append(_task(task, [line for line in lines if line.task == task], common))
    return "\n\n".join(parts) + "\n"


def suite_rows(folder: Path, name: str | None = None) -> tuple[Suite, list[Row]]:
    """Return the resolved suite of a run in a folder, and its rows.

    Args:
        folder: of the store.
        name: file of the suite in the folder; by default the newest.

    Raises:
        ValueError: no such file, or no store.
    """
    files = sorted(folder.glob(name or "suite-*.toml"), key=lambda f: f.stat().st_mtime)
    if not files:
        raise UserError(f"{folder}: expected the file {name or 'suite-*.toml'} of a run, found none; run invdiff bench")
    suite = load_suite(files[-1])
    wanted = {job.cell.key for job in plan(suite)}
    with Store.open(folder, create=False) as store:
        return suite, [row for row in store.rows(suite_hash=suite.hash) if row.key in wanted]


def _conditions(rows: Sequence[Row], suite: Suite) -> str:
    """Return the conditions of the figures, as a list."""
    done = [r for r in rows if r.metrics]
    images = list(dict.fromkeys(r.image for r in rows))
    size = f" of {suite.data.size} x {suite.data.size}" if suite.data.size else ""
    facts = {
        "prior": ", ".join(sorted({f"`{r.prior}` ({r.prior_hash})" for r in rows})),
        "images": f"{len(images)}{size}: {', '.join(images)}",
        "samples of each posterior": str(suite.samples),
        "seeds": str(len({r.seed for r in rows})),
        "machine": ", ".join(sorted({f"{r.device}, {_count(r.threads, 'thread')}" for r in done})),
        "versions": ", ".join(sorted({f"{k} {v}" for r in rows for k, v in r.versions.items()})),
        "measured": f"{min(r.finished for r in rows)} to {max(r.finished for r in rows)}",
    }
    return "\n".join(f"- {name}: {text}" for name, text in facts.items())


def _common(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the images and seeds of all solvers of a task, so that means are comparable."""
    out = []
    for task in dict.fromkeys(r.task for r in rows):
        mine = [r for r in rows if r.task == task]
        by_label: dict[str, set[tuple[str, int]]] = {}
        for r in mine:
            by_label.setdefault(r.label, set()).add((r.image, r.seed))
        shared = set.intersection(*by_label.values())
        if not shared:
            raise UserError(f"markdown: {task}: no image that all its solvers have done; let invdiff bench go on")
        out += [r for r in mine if (r.image, r.seed) in shared]
    return out


def _overview(lines: Sequence[Line], rows: Sequence[Row]) -> str:
    """Return the mean PSNR of each solver on each task, the best of a task in bold; best mean rank first."""
    tasks = list(dict.fromkeys(line.task for line in lines))
    figures = {(line.label, line.task): line for line in lines}
    top = {
        t: max((f for line in lines if line.task == t and (f := _value(line)) > -math.inf), default=0) for t in tasks
    }
    labels = list(dict.fromkeys(line.label for line in lines))

    def order(label: str) -> tuple[float, ...]:
        behind = [top[t] - _value(figures[label, t]) for t in tasks if (label, t) in figures]
        finite = [b for b in behind if b < math.inf]
        return -len(finite), statistics.fmean(finite) if finite else math.inf

    table = [["solver", "evaluations", *tasks]]
    for label in sorted(labels, key=order):
        row = [_name(label), _range([figures[label, t].nfe for t in tasks if (label, t) in figures])]
        for task in tasks:
            line = figures.get((label, task))
            value = _value(line) if line else -math.inf
            text = f"{value:.2f}" if value > -math.inf else _absent(line)
            row.append(f"**{text}**" if value == top[task] else text)
        table.append(row)
    images = dict.fromkeys(r.image for r in rows)
    head = (
        f"## PSNR in dB\n\nMean over the images that all solvers have done, {len(images)} ({', '.join(images)}), the "
        "best of each task in bold; – where a solver cannot do a task, nothing where it was not run. "
        "Solvers that do most tasks come first, among these the one that is least behind the best on average."
    )
    return f"{head}\n\n{markdown_table(table)}"


def _comparison(rows: Sequence[Row], one: str, others: Sequence[str]) -> str:
    """Return the paired differences of a solver and, task by task, the best of others."""
    table = [["task", f"`{one}`", "the other", "difference", "evaluations", "which other"]]
    for task in dict.fromkeys(row.task for row in rows):
        a = _values(rows, task, one)
        pairs = {label: _shared(a, _values(rows, task, label)) for label in others}
        done = {label: pair for label, pair in pairs.items() if pair[0]}
        if not done:
            table.append([task, *["–"] * 5])
            continue
        other = max(done, key=lambda label: statistics.fmean(done[label][1].values()))
        means = [f"{statistics.fmean(v.values()):.2f}" for v in done[other]]
        nfe = [_range([r.nfe for r in rows if r.task == task and r.label == n and r.metrics]) for n in (one, other)]
        difference = _interval(compare(*done[other]).difference, sign=True)
        table.append([task, *means, difference, " / ".join(nfe), f"`{other}`"])
    which = "`, `".join(others)
    what = "PSNR in dB on the images that both have done, and their difference with its 95 % interval over the images."
    if len(others) > 1:
        what += " The other is in each task the best of those named, by these very figures."
    return f"## `{one}` against `{which}`\n\n{what}\n\n{markdown_table(table)}"


def _shared(
    a: Mapping[tuple[str, int], float], b: Mapping[tuple[str, int], float]
) -> tuple[dict[tuple[str, int], float], dict[tuple[str, int], float]]:
    """Return the values of two solvers on the images and seeds that both have."""
    return {k: v for k, v in a.items() if k in b}, {k: v for k, v in b.items() if k in a}


def _task(task: str, lines: Sequence[Line], rows: Sequence[Row]) -> str:
    """Return the solvers of one task, the best first."""
    names = [n for n in METRICS if any(n in line.metrics for line in lines)]
    table = [["solver", *(METRICS[n].title for n in names), "evaluations", "seconds", "parameters, or why not"]]
    for line in lines:
        mine = [r for r in rows if r.task == task and r.label == line.label]
        if not line.cells:
            table.append([_name(line.label), *["–"] * (len(names) + 2), line.reason])
            continue
        done = [r for r in mine if r.metrics]
        estimates = [
            _interval(mean_interval([r.metrics[n] for r in done], [r.image for r in done]), METRICS[n].digits)
            if n == METRIC
            else f"{line.metrics[n]:.{METRICS[n].digits}f}"
            if n in line.metrics
            else "–"
            for n in names
        ]
        note = "; ".join(filter(None, [_parameters(done[0].parameters), line.note]))
        table.append([_name(line.label), *estimates, f"{line.nfe:.0f}", f"{line.seconds:.2f}", note])
    return f"## {task}\n\n{markdown_table(table)}"


def _values(rows: Sequence[Row], task: str, label: str) -> Mapping[tuple[str, int], float]:
    return {(r.image, r.seed): r.metrics[METRIC] for r in rows if (r.task, r.label) == (task, label) and r.metrics}


def _absent(line: Line | None) -> str:
    """Return the text for a missing figure."""
    if line is None:
        return ""
    return "failed" if line.failed else "–"


def _value(line: Line) -> float:
    return line.metrics.get(METRIC, -math.inf)


def _name(label: str) -> str:
    return f"`{label}`" + (" (peer)" if label.partition(":")[0] in peers else "")


def _parameters(values: Mapping[str, object]) -> str:
    return ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={json.dumps(v)}" for k, v in values.items())


def _interval(e: Estimate, digits: int = 2, *, sign: bool = False) -> str:
    plus = "+" if sign else ""
    if math.isnan(e.low):
        return f"{e.mean:{plus}.{digits}f}"
    return f"{e.mean:{plus}.{digits}f} [{e.low:{plus}.{digits}f}, {e.high:{plus}.{digits}f}]"


def _range(values: Sequence[float]) -> str:
    known = sorted({round(v) for v in values if not math.isnan(v)})
    return "–" if not known else str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + "s" * (n != 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.results.markdown_page", description="results as Markdown"
    )
    parser.add_argument("folder", type=Path, help="of invdiff bench --out")
    parser.add_argument("--suite", help="file in the folder, suite-*.toml; by default the newest")
    parser.add_argument("--best", nargs="*", default=[], help="solvers as the suite lists them")
    parser.add_argument("--against", nargs="*", default=[], help="solvers that they are compared with")
    parser.add_argument("--out", type=Path, help="file for the page; by default it is printed")
    chosen = parser.parse_args(arguments)
    suite, rows = suite_rows(chosen.folder, chosen.suite)
    text = page(rows, suite, best=chosen.best, against=chosen.against)
    if chosen.out is None:
        print(text, end="")
        return
    above = chosen.out.read_text(encoding="utf-8").partition(MARK)[0] if chosen.out.exists() else "# Benchmarks\n\n"
    write_page(chosen.out, f"{above}{MARK}\n\n{text}")


if __name__ == "__main__":
    main()
