"""The tables of a report as text: for each task the leaderboard, and over all tasks a matrix.

Every cell has the number that it shows, by which the page sorts its column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..results.intervals import Estimate
from .summary import SIGNIFICANT, Entry, Summary, TaskSummary, known_metric

COVERAGE = "coverage_90"
OVERCONFIDENT = 0.8
"""Coverage of the 90 % intervals below which the report marks a solver."""


@dataclass(frozen=True)
class TableCell:
    """One cell.

    Attributes:
        text: as shown.
        value: the number to sort by, or nothing.
        hint: shown for the pointer.
        best: whether it is the best of its column.
        interval: in small print beside the text.
        whisker: positions of the interval's ends and the mean on the column's scale, as CSS properties.
        tint: strength of the background, 0 to 1.
        alarm: whether the figure is a fault that a reader must see.
    """

    text: str = "–"
    value: float | str = ""
    hint: str = ""
    best: bool = False
    interval: str = ""
    whisker: str = ""
    tint: str = "0"
    alarm: bool = False


@dataclass(frozen=True)
class Column:
    """Head of a column; with `low`, small values come first when it is sorted."""

    title: str
    hint: str = ""
    low: bool = False


@dataclass(frozen=True)
class Badge:
    """A word beside a name: its CSS class, text, and explanation."""

    kind: str
    text: str
    hint: str


@dataclass(frozen=True)
class TableRow:
    """One solver."""

    label: str
    place: TableCell
    cells: tuple[TableCell, ...]
    badge: Badge | None = None
    muted: bool = False


@dataclass(frozen=True)
class TaskTable:
    """The leaderboard of one task."""

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class Settings:
    """Parameters of a solver in some tasks."""

    label: str
    task: str
    text: str


def task_title(name: str) -> str:
    """Return a task's name as words.

    Example:
        >>> task_title("super_resolution:factor=4,noise=0.1")
        'super resolution, factor=4, noise=0.1'
    """
    head, _, options = name.partition(":")
    return head.replace("_", " ") + (f", {options.replace(',', ', ')}" if options else "")


def shown(value: float, digits: int) -> str:
    """Return a figure for a table, with an exponent if it is very large.

    Example:
        >>> [shown(v, 2) for v in (26.384, -0.5, 1.23e7, math.inf)]
        ['26.38', '−0.50', '1.2e+07', '∞']
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if abs(value) >= 1e5:
        return f"{value:.1e}".replace("-", "−")
    return f"{value:.{digits}f}".replace("-", "−")


def counted(n: int, word: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "image"), counted(2, "image")
        ('1 image', '2 images')
    """
    return f"{n} {word}" + ("" if n == 1 else "s")


def too_few(solvers: int) -> int:
    """Return the largest number of images for which no difference between that many solvers can be significant.

    The smallest p-value of Wilcoxon's test on K images is `2 ** (1 - K)`; Holm multiplies it by the number of tests.

    Example:
        >>> too_few(2), too_few(12)
        (5, 8)
    """
    return max(1, math.floor(1 + math.log2(max(1, solvers - 1) / SIGNIFICANT)))


def matrix(summary: Summary) -> list[TableRow]:
    """Return a row for each solver, with its mean in every task."""
    digits = known_metric(summary.metric).digits
    out = []
    for label in summary.labels:
        cells = []
        for task in summary.tasks:
            entry = next((e for e in task.entries if e.label == label), None)
            if entry is None or not entry.rank:
                hint = "not run" if entry is None else entry.rows[0].reason or entry.rows[0].status
                cells.append(TableCell("failed" if entry and entry.applicable else "–", hint=hint))
                continue
            last = max(e.rank for e in task.ranked)
            tint = 1.0 if last == 1 else (last - entry.rank) / (last - 1)
            mean = entry.figures[summary.metric].mean
            hint = f"rank {entry.rank:g} of {len(task.ranked)}"
            cells.append(TableCell(shown(mean, digits), mean, hint, tint=f"{tint**2:.3f}"))
        rank = summary.mean_ranks.get(label)
        place = TableCell() if rank is None else TableCell(f"{rank:.1f}", rank)
        out.append(TableRow(label, place, tuple(cells)))
    return out


def task_table(task: TaskSummary, summary: Summary) -> TaskTable:
    """Return the leaderboard of a task."""
    main = known_metric(summary.metric)
    others = [n for n in summary.metrics if n != summary.metric and any(n in e.figures for e in task.entries)]
    beside = [n for n in others if n == COVERAGE]
    others = [n for n in others if n != COVERAGE]
    columns = (
        Column(main.title, low=main.best == "low"),
        *(Column(known_metric(n).title, _goal(known_metric(n).best), True) for n in beside),
        Column("to the best", "paired difference from the first solver"),
        Column("evaluations", "of the prior's network, for one sample", low=True),
        Column("seconds", "median wall time of one solve", low=True),
        *(Column(known_metric(n).title, _goal(known_metric(n).best), known_metric(n).best != "high") for n in others),
        Column("cells", "with figures, of all"),
    )
    span = _span([e.figures[summary.metric] for e in task.ranked])
    best = {name: _best(task, name) for name in others + beside}
    rows = tuple(_row(e, summary, beside, others, span, best) for e in task.entries)
    return TaskTable(task.name, task_title(task.name), _note(task), columns, rows)


def settings(summary: Summary) -> list[Settings]:
    """Return the parameters of each solver; tasks of equal parameters share a line."""
    out = []
    for label in summary.labels:
        texts: dict[str, list[str]] = {}
        for task in summary.tasks:
            for e in task.entries:
                if e.label == label:
                    values = ", ".join(f"{k}={v}" for k, v in sorted(e.rows[0].parameters.items())) or "defaults"
                    texts.setdefault(values, []).append(task.name)
        for text, names in texts.items():
            out.append(Settings(label, "all" if len(texts) == 1 else ", ".join(names), text))
    return out


def _note(task: TaskSummary) -> str:
    ranked = task.ranked
    if not ranked:
        return "No solver has a figure on this task."
    tied = [e.label for e in ranked if e.tied and e.rank != 1]
    first = ranked[0].label
    if len(ranked) == 1:
        return f"{first} is alone."
    if not tied:
        return f"{first} is significantly better than all others on these images."
    if len(tied) == len(ranked) - 1 > 2:
        return f"{first} comes first, but {counted(task.images, 'image')} cannot tell it apart from any other."
    listed = ", ".join(tied[:6]) + (f" and {len(tied) - 6} more" if len(tied) > 6 else "")
    return f"{first} comes first; not significantly different: {listed}."


def _row(
    entry: Entry,
    summary: Summary,
    beside: Sequence[str],
    others: Sequence[str],
    span: tuple[float, float],
    best: Mapping[str, float | None],
) -> TableRow:
    cells = [TableCell(), *(_figure_cell(entry, name, best) for name in beside), TableCell("")]
    if entry.rank:
        digits = known_metric(summary.metric).digits
        cells[0], cells[-1] = _main_cell(entry.figures[summary.metric], digits, span), _difference_cell(entry, digits)
    if entry.scored:
        cells.append(TableCell(f"{entry.nfe:g}", entry.nfe))
        seconds = "< 0.01" if entry.seconds < 0.01 else shown(entry.seconds, 2 if entry.seconds < 10 else 1)
        cells.append(TableCell(seconds, entry.seconds))
    else:
        cells += [TableCell(), TableCell()]
    cells += [_figure_cell(entry, name, best) for name in others]
    cells.append(TableCell(f"{len(entry.scored)} of {len(entry.rows)}", len(entry.scored)))
    place = TableCell(f"{entry.rank:g}", entry.rank) if entry.rank else TableCell("")
    return TableRow(entry.label, place, tuple(cells), _badge(entry), muted=not entry.rank)


def _figure_cell(entry: Entry, name: str, best: Mapping[str, float | None]) -> TableCell:
    if (figure := entry.figures.get(name)) is None:
        return TableCell()
    digits = known_metric(name).digits
    hint = "" if math.isnan(figure.low) else f"95 % interval {_interval(figure, digits)}"
    alarm = name == COVERAGE and figure.mean < OVERCONFIDENT
    if alarm:
        hint = f"too sure of itself: the 90 % intervals miss too often; {hint}".rstrip("; ")
    return TableCell(shown(figure.mean, digits), figure.mean, hint, best=figure.mean == best[name], alarm=alarm)


def _main_cell(figure: Estimate, digits: int, span: tuple[float, float]) -> TableCell:
    width, (low, high) = (span[1] - span[0]) or 1.0, _ends(figure)
    places = {"low": low, "mean": figure.mean, "high": high}
    whisker = ";".join(f"--{name}:{100 * min(1.0, max(0.0, (v - span[0]) / width)):.1f}%" for name, v in places.items())
    interval = "" if math.isnan(figure.low) else _interval(figure, digits)
    return TableCell(shown(figure.mean, digits), figure.mean, interval=interval, whisker=whisker)


def _difference_cell(entry: Entry, digits: int) -> TableCell:
    if (comparison := entry.against_best) is None:
        return TableCell("", 0.0 if entry.rank == 1 else "")
    d = comparison.difference
    p = "p < 0.001" if entry.p < 0.001 else f"p = {entry.p:.2g}"
    interval = "" if math.isnan(d.low) else f"95 % interval {_interval(d, digits)} "
    hint = (
        f"{interval}over {counted(d.images, 'image')}; {p} by Wilcoxon's test, corrected; uncorrected: Wilcoxon "
        f"{comparison.wilcoxon:.2g}, sign test {comparison.sign:.2g}, bootstrap {comparison.bootstrap:.2g}"
    )
    return TableCell(("≈ " if entry.tied else "") + shown(d.mean, digits), d.mean, hint)


def _badge(entry: Entry) -> Badge | None:
    for status in ("failed", "diverged", "misfit"):
        if n := entry.count(status):
            text = status if n == len(entry.rows) else f"{n} {status}"
            return Badge(status, text, next(r.reason for r in entry.rows if r.status == status))
    return None if entry.applicable else Badge("not", "not applicable", entry.rows[0].reason)


def _best(task: TaskSummary, name: str) -> float | None:
    """Return the best mean of a metric in a task, if there are several."""
    means = [e.figures[name].mean for e in task.entries if name in e.figures]
    goal = known_metric(name).best
    if len(means) < 2:
        return None
    return max(means) if goal == "high" else min(means) if goal == "low" else min(means, key=lambda v: abs(v - goal))


def _goal(best: str | float) -> str:
    return {"high": "higher is better", "low": "lower is better"}.get(
        str(best), f"{best} is the value of a perfect solver"
    )


def _span(ranked: Sequence[Estimate]) -> tuple[float, float]:
    """Return the scale of the whiskers: that of all solvers, without those far below the median."""
    if not ranked:
        return 0.0, 1.0
    best, middle = ranked[0].mean, ranked[len(ranked) // 2].mean
    reach = 2.5 * abs(best - middle)
    near = [v for e in ranked if abs(e.mean - best) <= reach or not reach for v in _ends(e)]
    return min(near), max(near)


def _ends(figure: Estimate) -> tuple[float, float]:
    return (figure.mean, figure.mean) if math.isnan(figure.low) else (figure.low, figure.high)


def _interval(figure: Estimate, digits: int) -> str:
    return f"[{shown(figure.low, digits)}, {shown(figure.high, digits)}]"
