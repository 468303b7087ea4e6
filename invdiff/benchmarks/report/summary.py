"""The figures of a report from rows: for each task a ranked list of solvers, with intervals and paired tests.

Means are over the cells with a figure, and the report counts these, so a solver that failed on a hard image does not
look better without notice. Diverged cells count with the metrics of their last finite states.
"""

from __future__ import annotations

import math
import statistics as stdlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...errors import UserError
from ...registry import unknown
from ..execution.rows import Row
from ..metrics import METRICS, Metric
from ..results.intervals import Comparison, Estimate, compare, holm, mean_interval, ranks

SIGNIFICANT = 0.05
"""Level of the paired tests, corrected for the number of solvers."""


@dataclass(frozen=True)
class Entry:
    """One solver on one task.

    Attributes:
        label: name in the tables.
        rows: all of its cells.
        figures: mean and interval of each metric with values.
        rank: rank in the task, from 1, the best; 0 without a figure.
        against_best: paired comparison with the best solver; `None` for the best one, or without a comparison.
        p: its p-value by Wilcoxon's test, corrected for the number of solvers; NaN without a test.
    """

    label: str
    rows: tuple[Row, ...]
    figures: Mapping[str, Estimate] = field(default_factory=dict)
    rank: float = 0.0
    against_best: Comparison | None = None
    p: float = math.nan

    @property
    def scored(self) -> tuple[Row, ...]:
        """Cells with metrics."""
        return tuple(r for r in self.rows if r.metrics)

    @property
    def nfe(self) -> float:
        """Median of the network evaluations for one sample."""
        return stdlib.median(r.nfe for r in self.scored)

    @property
    def seconds(self) -> float:
        """Median of the wall times of one solve."""
        return stdlib.median(r.seconds for r in self.scored)

    @property
    def applicable(self) -> bool:
        """Whether the solver can do the task."""
        return any(r.status != "not applicable" for r in self.rows)

    @property
    def tied(self) -> bool:
        """Whether the difference from the best solver is not significant."""
        return self.rank == 1 or (self.against_best is not None and self.p >= SIGNIFICANT)

    def count(self, status: str) -> int:
        """Return the number of cells with that status."""
        return sum(r.status == status for r in self.rows)


@dataclass(frozen=True)
class TaskSummary:
    """One task: its solvers, the best first, then those that failed, then those that cannot do it."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def ranked(self) -> tuple[Entry, ...]:
        """Solvers with a figure for the rank."""
        return tuple(e for e in self.entries if e.rank)

    @property
    def images(self) -> int:
        """Number of images."""
        return len({r.image for e in self.entries for r in e.rows})


@dataclass(frozen=True)
class Incident:
    """Cells with the same status other than "ok"."""

    status: str
    label: str
    task: str
    reason: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """The figures of a report.

    Attributes:
        rows: the rows.
        metric: name of the metric of the ranks.
        metrics: names of all metrics that occur, in the order of their table.
        tasks: in the order in which they were first run.
        labels: the solvers, by their mean rank over the tasks.
        incidents: cells with a status other than "ok".
    """

    rows: tuple[Row, ...]
    metric: str
    metrics: tuple[str, ...]
    tasks: tuple[TaskSummary, ...]
    labels: tuple[str, ...]
    mean_ranks: Mapping[str, float]
    incidents: tuple[Incident, ...]


def summarise(rows: Sequence[Row], *, metric: str = "psnr") -> Summary:
    """Return the summary of the rows of one suite.

    Args:
        rows: of one suite hash.
        metric: the metric of the ranks; its best value must be the highest or the lowest.

    Raises:
        ValueError: no rows, no row with that metric, rows of several suites, or a metric without an order.
    """
    if not rows:
        raise UserError("report: expected results, got none; run invdiff bench first")
    if len({r.suite_hash for r in rows}) > 1:
        raise ValueError("summarise: rows: expected those of one suite, got several")
    found = {name for r in rows for name in r.metrics}
    if metric not in METRICS and metric not in found:
        raise UserError(f"report: --metric: {unknown('metric', metric, METRICS)}")
    best = known_metric(metric).best
    if best not in ("high", "low"):
        raise UserError(f"report: --metric: expected one whose best value is the highest or lowest, got {metric!r}")
    if found and metric not in found:
        raise UserError(f"report: --metric: no result has {metric!r}; they have {', '.join(sorted(found))}")
    named = _labels(rows)
    tasks = tuple(
        _task(task, {label: cells for (t, label), cells in named.items() if t == task}, metric)
        for task in dict.fromkeys(r.task for r in rows)
    )
    placed = {t.name: {e.label: e.rank for e in t.ranked} for t in tasks}
    all_labels = dict.fromkeys(label for _, label in named)
    mean_ranks = {
        label: stdlib.fmean(p[label] for p in placed.values() if label in p)
        for label in all_labels
        if any(label in p for p in placed.values())
    }
    done = {label: sum(label in p for p in placed.values()) for label in all_labels}
    # Solvers with ranks in more tasks come first.
    order = sorted(all_labels, key=lambda x: (done[x] == 0, -done[x], mean_ranks.get(x, math.inf)))
    names = tuple(name for name in METRICS if name in found) + tuple(sorted(found - set(METRICS)))
    return Summary(tuple(rows), metric, names, tasks, tuple(order), mean_ranks, _incidents(named))


def known_metric(name: str) -> Metric:
    """Return a metric of the table; an unknown metric of a store gets its name as title."""
    return METRICS[name] if name in METRICS else Metric(lambda outcome: None, name.replace("_", " "), 0.0)


def values(rows: Iterable[Row], metric: str) -> dict[tuple[str, int], float]:
    """Return the finite figures of a metric by image and seed."""
    found = {(r.image, r.seed): float(r.metrics[metric]) for r in rows if metric in r.metrics}
    return {key: value for key, value in found.items() if math.isfinite(value)}


def _labels(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return the rows by task and label; the prior is part of the label if there are several."""
    several = len({r.prior_hash for r in rows}) > 1
    out: dict[tuple[str, str], list[Row]] = {}
    for r in rows:
        out.setdefault((r.task, f"{r.label} · {r.prior}" if several else r.label), []).append(r)
    return out


def _task(task: str, cells: Mapping[str, Sequence[Row]], metric: str) -> TaskSummary:
    figures = {label: _figures(rows) for label, rows in cells.items()}
    scores = {label: f[metric].mean for label, f in figures.items() if metric in f}
    placed = {
        s: r[task] for s, r in ranks({task: scores}, higher_is_better=known_metric(metric).best == "high").items()
    }
    first = min(placed, key=lambda label: placed[label], default=None)
    against: dict[str, Comparison] = {}
    if first is not None:
        reference = values(cells[first], metric)
        for label in placed:
            mine = values(cells[label], metric)
            if label != first and mine.keys() & reference.keys():
                against[label] = compare(mine, reference)
    p = dict(zip(against, holm([c.wilcoxon for c in against.values()]), strict=True))
    entries = [
        Entry(label, tuple(rows), figures[label], placed.get(label, 0.0), against.get(label), p.get(label, math.nan))
        for label, rows in cells.items()
    ]
    return TaskSummary(task, tuple(sorted(entries, key=lambda e: (not e.rank, e.rank, not e.applicable, e.label))))


def _figures(rows: Sequence[Row]) -> dict[str, Estimate]:
    out = {}
    for name in dict.fromkeys(name for r in rows for name in r.metrics):
        found = values(rows, name)
        if found:
            out[name] = mean_interval(list(found.values()), [image for image, _ in found])
    return out


def _incidents(named: Mapping[tuple[str, str], Sequence[Row]]) -> tuple[Incident, ...]:
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for (task, label), rows in named.items():
        for r in rows:
            if r.status != "ok":
                groups.setdefault((r.status, label, task, r.reason), []).append(f"{r.image}, seed {r.seed}")
    order = ("failed", "diverged", "misfit", "not applicable")
    out = [Incident(*key, tuple(cells)) for key, cells in groups.items()]
    return tuple(sorted(out, key=lambda i: (order.index(i.status) if i.status in order else len(order), i.label)))
