"""The rows of a store as a table: for each task and solver, means over images and seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..execution.rows import SCORED, Row
from ..metrics import METRICS


@dataclass(frozen=True)
class Line:
    """One solver on one task.

    Attributes:
        task: with its options.
        label: the solver as the suite lists it.
        cells: number of cells with figures.
        failed: number of cells without figures, because of an error.
        diverged: number of diverged cells among those with figures.
        misfit: number of cells among them whose samples do not explain the measurement.
        reason: reason for missing figures: the first error, or why the solver cannot do the task.
        metrics: means by name.
        nfe: mean of the network evaluations for one sample.
        seconds: median of the solve's wall time.
    """

    task: str
    label: str
    cells: int
    failed: int
    diverged: int
    misfit: int
    reason: str
    metrics: dict[str, float]
    nfe: float
    seconds: float

    @property
    def note(self) -> str:
        """Short description of failures."""
        parts = [(self.failed, "failed"), (self.diverged, "diverged"), (self.misfit, "misfit")]
        text = ", ".join(f"{count} {word}" for count, word in parts if count)
        return text or ("" if self.cells else "n/a")


def leaderboard(rows: Iterable[Row]) -> list[Line]:
    """Return a line for each task and solver: tasks in their order, in each the best PSNR first, then lines without."""
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault(row.task, {}).setdefault(row.label, []).append(row)
    out: list[Line] = []
    for task, solvers in groups.items():
        lines = [_line(task, label, found) for label, found in solvers.items()]
        out += sorted(lines, key=lambda line: (not line.cells, -line.metrics.get("psnr", -math.inf)))
    return out


def _line(task: str, label: str, rows: Sequence[Row]) -> Line:
    scored = [r for r in rows if r.status in SCORED]
    names = [n for n in METRICS if any(n in r.metrics for r in scored)]
    reasons = [r.reason for status in ("failed", "not applicable") for r in rows if r.status == status]
    return Line(
        task=task,
        label=label,
        cells=len(scored),
        failed=sum(r.status == "failed" for r in rows),
        diverged=sum(r.status == "diverged" for r in rows),
        misfit=sum(r.status == "misfit" for r in rows),
        reason=reasons[0] if reasons else "",
        metrics={n: statistics.fmean(r.metrics[n] for r in scored if n in r.metrics) for n in names},
        nfe=statistics.fmean(r.nfe for r in scored) if scored else math.nan,
        seconds=statistics.median(r.seconds for r in scored) if scored else math.nan,
    )


def figures(line: Line, names: Sequence[str]) -> list[str]:
    """Return metrics, evaluations and seconds of a line as text, with a dash for a missing one."""
    texts = [f"{line.metrics[n]:.{METRICS[n].digits}f}" if n in line.metrics else "-" for n in names]
    return [*texts, f"{line.nfe:.0f}" if line.cells else "-", f"{line.seconds:.2f}" if line.cells else "-"]
