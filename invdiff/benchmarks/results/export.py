"""The rows of a store for other programs: CSV, Parquet, and the leaderboard as a table in LaTeX.

CSV and Parquet have one line for each row, with a column `metric.NAME` for each metric and parameters as JSON.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...atomic import atomic_path
from ...errors import UserError
from ...registry import unknown
from ..execution.rows import Row, plain_json
from ..metrics import METRICS
from .leaderboard import Line, figures, leaderboard

FILES = {"csv": "results.csv", "parquet": "results.parquet", "latex": "results.tex"}
"""Names of the files, by kind of export."""
_FLAT = ("suite", "suite_hash", "task", "label", "solver", "prior", "prior_hash", "image", "seed", "status", "reason",
         "seconds", "harness", "nfe", "vjps", "peak_memory", "threads", "workers", "device", "finished",
         "pictures")  # fmt: skip


def check_kind(kind: str) -> None:
    """Raise unless a kind of export is known and its library is installed.

    Raises:
        ValueError: an unknown kind, with the nearest known one.
        ImportError: Parquet without pyarrow.
    """
    if kind not in FILES:
        raise UserError(f"--export: {unknown('kind', kind, FILES)}")
    if kind == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ImportError("--export parquet: needs pyarrow; pip install 'invdiff[parquet]'") from error


def export(rows: Sequence[Row], kind: str, folder: str | Path) -> Path:
    """Write rows to a file in a folder, in place of an earlier one.

    Args:
        rows: the rows.
        kind: "csv", "parquet" or "latex".
        folder: an existing folder.

    Returns:
        The file.

    Raises:
        ValueError: an unknown kind.
        ImportError: Parquet without pyarrow.
    """
    check_kind(kind)
    file = Path(folder) / FILES[kind]
    with atomic_path(file) as path:
        {"csv": _csv, "parquet": _parquet, "latex": _latex}[kind](rows, path)
    return file


def records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as flat dictionaries with the same keys; missing metrics are `None`."""
    names = sorted({n for row in rows for n in row.metrics}, key=lambda n: (n not in METRICS, [*METRICS, n].index(n)))
    packages = sorted({n for row in rows for n in row.versions})
    return [
        {name: getattr(row, name) for name in _FLAT}
        | {"parameters": plain_json(dict(row.parameters))}
        | {f"metric.{n}": row.metrics.get(n) for n in names}
        | {f"version.{n}": row.versions.get(n) for n in packages}
        for row in rows
    ]


def _csv(rows: Sequence[Row], path: Path) -> None:
    flat = records(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(flat[0]) if flat else list(_FLAT))
        writer.writeheader()
        writer.writerows(flat)


def _parquet(rows: Sequence[Row], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(records(rows)), path)


def _latex(rows: Sequence[Row], path: Path) -> None:
    path.write_text(latex(leaderboard(rows)), encoding="utf-8")


def latex(lines: Sequence[Line], names: Sequence[str] = ("psnr", "ssim")) -> str:
    r"""Return a leaderboard as a `tabular` for the package booktabs, the best figure of each task in bold.

    Args:
        lines: from `leaderboard`.
        names: of metrics.
    """
    head = ["task", "solver", *(METRICS[n].title for n in names), "evaluations", "seconds"]
    body = []
    before = None
    for line in lines:
        if line.task != before and before is not None:
            body.append(r"\midrule")
        texts = figures(line, names)
        peers = [other for other in lines if other.task == line.task]
        for i, name in enumerate(names):
            if name in line.metrics and _distance(line, name) == min(_distance(p, name) for p in peers):
                texts[i] = rf"\textbf{{{texts[i]}}}"
        cells = [_escaped(line.task if line.task != before else ""), _escaped(line.label), *texts]
        body.append(" & ".join(cells) + r" \\")
        before = line.task
    columns = "ll" + "r" * (len(head) - 2)
    top = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", " & ".join(map(_escaped, head)) + r" \\", r"\midrule"]
    return "\n".join([*top, *body, r"\bottomrule", r"\end{tabular}", ""])


def _distance(line: Line, name: str) -> float:
    """Return the distance of a figure from its best possible value."""
    if name not in line.metrics:
        return float("inf")
    best, value = METRICS[name].best, line.metrics[name]
    return -value if best == "high" else value if best == "low" else abs(value - best)


def _escaped(text: str) -> str:
    for special in ("\\", "_", "%", "&", "#", "$", "{", "}"):
        text = text.replace(special, r"\textbackslash " if special == "\\" else "\\" + special)
    return text
