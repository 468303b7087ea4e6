"""Grades of solvers on exact problems as tables: a row for each problem, or one screen; and as JSON.

The screen has a row for each solver and a column for each problem. A cell holds

    worst ratio   bias   coverage of the 90 % intervals in per cent   mark

in ten characters, or, for the problem with modes, the share of the samples in the right ones. The first row holds exact
samples, as many as those of the solvers: what chance alone does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...testing.solver import Grade
from .markdown import Table

EXACT = "exact"
"""Name of exact samples in place of a solver."""
HEAD = ["solver", "problem", "bias", "variance", "50 %", "90 %", "distance", "floor", "nfe", "seconds", "status"]
MARKS = {"ok": " ", "misfit": "!", "diverged": "x"}
NONE = "-"


@dataclass(frozen=True)
class Graded:
    """A solver on a problem.

    Attributes:
        solver: name.
        problem: name.
        grade: its errors; `None` where the solver does not apply.
        reason: why it does not apply.
    """

    solver: str
    problem: str
    grade: Grade | None
    reason: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the screen.

    Attributes:
        head: its name, of at most eleven characters.
        problems: names; of several the one whose worst ratio is farthest from 1.
        modes: whether it shows the share of the samples in the right modes, and nothing else.
    """

    head: str
    problems: tuple[str, ...]
    modes: bool = False


COLUMNS = {
    "hard": (
        Column("low rank", ("low-rank",)),
        Column("prior rank", ("low-rank-prior",)),
        Column("noise 1e-4", ("tiny-noise",)),
        Column("noise 5", ("heavy-noise",)),
        Column("gains", ("gain-0.01", "gain-100")),
        Column("one pixel", ("one-pixel",)),
        Column("CT 5 views", ("ct-5-views",)),
        Column("modes", ("one-mode",), modes=True),
    ),
    "more": (
        Column("plain", ("plain",)),
        Column("scale 10", ("scale-10",)),
        Column("row mask", ("row-mask",)),
        Column("column blur", ("column-blur",)),
        Column("complex MRI", ("complex-mri",)),
        Column("downsample", ("downsampling",)),
        Column("modes", ("three-modes",), modes=True),
    ),
}
"""The screens of `invdiff.testing.hard_problems`, by the name of the set of problems."""


def long_table(graded: Iterable[Graded]) -> Table:
    """Return a row for each solver and each problem that it can do; the first row is the head."""
    return [HEAD, *(long_row(g) for g in graded if g.grade is not None)]


def long_row(graded: Graded) -> list[str]:
    """Return the row of one grade."""
    g = graded.grade
    assert g is not None
    figures = (g.bias, g.variance_ratio, g.coverage_50, g.coverage_90, g.distance, g.floor)
    texts = [f"{v:.2f}" if v < 1000 else f"{v:.0e}" for v in figures]
    return [graded.solver, graded.problem, *texts, str(g.nfe), f"{g.seconds:.2f}", g.status]


def screen(graded: Sequence[Graded], columns: Sequence[Column]) -> Table:
    """Return a row for each solver, and a column for each problem or group of problems; the first row is the head.

    Args:
        graded: all grades.
        columns: in their order; those of which no problem was graded are left out.
    """
    found = {(g.solver, g.problem): g for g in graded}
    known = {g.problem for g in graded}
    columns = [c for c in columns if known & set(c.problems)]
    solvers = list(dict.fromkeys(g.solver for g in graded))
    rows: Table = [["solver", *(c.head for c in columns)]]
    for name in solvers:
        cells = [[found[name, p] for p in c.problems if (name, p) in found] for c in columns]
        rows.append([name, *(_cell(parts, c.modes) for parts, c in zip(cells, columns, strict=True))])
    return rows


def _cell(parts: Sequence[Graded], modes: bool) -> str:
    """Return the text of a cell: of several grades that with the worst direction."""
    grades = [g.grade for g in parts if g.grade is not None]
    if not grades:
        return NONE
    worst = max(grades, key=lambda g: _distance(g.worst_ratio))
    mark = next((MARKS.get(g.status, "?") for g in grades if g.status != "ok"), MARKS["ok"])
    if modes:
        return (NONE if worst.modes is None else f"{worst.modes:.2f}") + mark
    coverage = "nan" if math.isnan(worst.coverage_90) else f"{min(round(100 * worst.coverage_90), 99):2d}"
    return f"{short(worst.worst_ratio)} {short(worst.bias)} {coverage}{mark}"


def _distance(ratio: float) -> float:
    """Return `|log ratio|`, infinite for 0 and for what is no number."""
    return abs(math.log(ratio)) if ratio > 0 and math.isfinite(ratio) else math.inf


def short(value: float) -> str:
    """Return a number that is not negative in three characters.

    Example:
        >>> [short(v) for v in (0.0, 0.054, 0.999, 3.14, 31.4, 3.14e5, 3e12, float("nan"))]
        ['.00', '.05', '1.0', '3.1', ' 31', '3e5', 'e12', 'nan']
    """
    if not math.isfinite(value):
        return f"{value:3.0f}"
    if value < 0.995:
        return f"{value:.2f}"[1:]
    if value < 999.5:
        return f"{value:.1f}" if value < 9.95 else f"{value:3.0f}"
    digit, exponent = f"{value:.0e}".split("e")
    return f"{digit}e{int(exponent)}" if int(exponent) < 10 else f"e{int(exponent)}"


def reasons(graded: Sequence[Graded]) -> list[str]:
    """Return a line for each reason why solvers do not apply, with their names and problems."""
    found: dict[str, dict[str, list[str]]] = {}
    for g in graded:
        if g.grade is None:
            found.setdefault(g.reason, {}).setdefault(g.solver, []).append(g.problem)
    total = len({g.problem for g in graded})
    out = []
    for reason, solvers in found.items():
        alike: dict[tuple[str, ...], list[str]] = {}
        for solver, problems in solvers.items():
            alike.setdefault(tuple(problems), []).append(solver)
        for where, who in alike.items():
            names = "all problems" if len(where) == total else ", ".join(where)
            out.append(f"{', '.join(who)}: {reason} ({names})")
    return out


def as_json(graded: Iterable[Graded]) -> list[dict[str, Any]]:
    """Return each grade as an object of JSON, with `null` for what is no finite number."""
    return [_object(g) for g in graded]


def _object(g: Graded) -> dict[str, Any]:
    if g.grade is None:
        return {"solver": g.solver, "problem": g.problem, "reason": g.reason}
    return {"solver": g.solver, "problem": g.problem, **{k: _finite(v) for k, v in dataclasses.asdict(g.grade).items()}}


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
