"""The report of a benchmark: one HTML page that works offline, and figures for a paper.

    invdiff report DIR [--png]

It reads only the store in DIR, so it can be written at any time, also while a benchmark runs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ...atomic import atomic_path
from ...errors import UserError
from ..execution.rows import Row
from ..execution.store import Store
from .reproduce import reproduction
from .summary import Summary, summarise

PAGE = "report.html"
NEEDED = ("jinja2", "plotly")

__all__ = ["PAGE", "Summary", "read", "summarise", "write_figures", "write_report"]


def write_report(
    folder: str | Path, out: str | Path | None = None, *, metric: str = "psnr", suite: str | None = None
) -> Path:
    """Write the page of a folder with results.

    Args:
        folder: the folder of `invdiff bench --out`.
        out: the file; by default `report.html` in the folder.
        metric: the metric of the ranks.
        suite: name, or the beginning of the hash, if the folder has results of several suites.

    Returns:
        The file.

    Raises:
        FileNotFoundError: no results in the folder.
        ValueError: results of several suites and no name, or a metric without results.
        ImportError: the extra `report` is not installed.
    """
    require(*NEEDED)
    from .page import render

    base = _folder(folder)
    rows = read(base, suite)
    target = base / PAGE if out is None else Path(out)
    text = render(summarise(rows, metric=metric), base, reproduction(rows, base))
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")
    return target


def write_figures(
    folder: str | Path, out: str | Path | None = None, *, metric: str = "psnr", suite: str | None = None
) -> list[Path]:
    """Write figures for a paper: quality with intervals, quality against cost, calibration, and galleries, as PNG.

    Args:
        folder: as in `write_report`.
        out: folder of the figures, made if needed; by default `figures` in the folder.
        metric: the metric of the figures.
        suite: as in `write_report`.

    Returns:
        The files.
    """
    require("matplotlib")
    from .figures import draw

    base = _folder(folder)
    target = base / "figures" if out is None else Path(out)
    summary = summarise(read(base, suite), metric=metric)
    target.mkdir(parents=True, exist_ok=True)
    return draw(summary, base, target)


def read(folder: str | Path, suite: str | None = None) -> list[Row]:
    """Return the rows of one suite.

    Args:
        folder: of the store.
        suite: name, or the beginning of the hash, if there are several.

    Raises:
        FileNotFoundError: no results in the folder.
        ValueError: no rows, several suites and no name, or no suite of that name.
    """
    with Store.open(folder, create=False) as store:
        rows = store.rows()
    if not rows:
        raise UserError(f"{folder}: expected results, got none yet; let invdiff bench finish a cell first")
    return _one_suite(rows, suite)


def require(*modules: str) -> None:
    """Raise an ImportError, with the command that installs the missing modules."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    if absent:
        raise ImportError(f"report: needs {', '.join(absent)}; pip install 'invdiff[report]'")


def _one_suite(rows: Sequence[Row], suite: str | None) -> list[Row]:
    found = dict.fromkeys((r.suite, r.suite_hash) for r in rows)
    wanted = [k for k in found if suite is None or k[0] == suite or k[1].startswith(suite)]
    if len(wanted) == 1:
        return [r for r in rows if (r.suite, r.suite_hash) == wanted[0]]
    listed = ", ".join(f"{name} ({digest[:8]})" for name, digest in found)
    if not wanted:
        raise UserError(f"report: --suite: expected one of {listed}, got {suite!r}")
    raise UserError(f"report: the folder has results of several suites: {listed}; choose one with --suite HASH")


def _folder(folder: str | Path) -> Path:
    given = Path(folder)
    return given.parent if given.suffix == ".sqlite" else given
