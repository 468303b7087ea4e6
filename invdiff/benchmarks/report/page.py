"""One HTML page with all results of a benchmark; it needs no other file and no network.

The page contains the tables as HTML, figures and images as JSON, and plotly's bundle, compressed. `page/` holds the
template, the style and the script.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ... import __version__
from ..execution.gallery import LEVELS
from ..execution.rows import STATUSES
from .calibration import Curves, curves
from .pictures import Scene, gallery, is_kept, scenes
from .reproduce import Reproduction
from .summary import Summary, known_metric
from .tables import counted, matrix, settings, task_table, task_title, too_few

PLOTTED = (
    "psnr",
    "ssim",
    "psnr_sample",
    "lpips",
    "crps",
    "sliced_wasserstein",
    "spread_skill",
    "coverage_90",
    "residual",
)
"""Metrics of quality in the plot; if the store has none of them, all of its metrics."""


def render(summary: Summary, folder: Path, reproduction: Reproduction) -> str:
    """Return the page.

    Args:
        summary: of the rows.
        folder: that of the store, for the images.
        reproduction: how the results were made.
    """
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    found = scenes(summary, folder)
    calibrated = curves(summary, folder)
    page = files(__package__) / "page"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((page / "page.html.j2").read_text(encoding="utf-8"))
    packed = base64.b64encode(gzip.compress(get_plotlyjs().encode(), 6, mtime=0)).decode("ascii")
    return template.render(
        suite=summary.rows[0].suite,
        lead=_lead(summary),
        tiles=_tiles(summary),
        tasks=[task_table(t, summary) for t in summary.tasks],
        matrix=matrix(summary),
        metric_title=known_metric(summary.metric).title,
        needed=too_few(max(len(t.ranked) for t in summary.tasks)),
        few_images=any(t.images <= too_few(len(t.ranked)) for t in summary.tasks if len(t.ranked) > 1),
        figures=bool(summary.metrics),
        scenes=bool(found),
        gone=sum(r.pictures is not None and not is_kept(r, folder) for r in summary.rows),
        curves=bool(calibrated),
        incidents=[{**dataclasses.asdict(i), "kind": i.status.split()[0]} for i in summary.incidents],
        reproduction=reproduction,
        settings=settings(summary),
        footer=f"Written by invdiff {__version__}. Works offline: everything is in this file.",
        data=Markup(_json(_data(summary, found, calibrated))),
        plotly=packed,
        style=Markup((page / "style.css").read_text(encoding="utf-8")),
        script=Markup((page / "page.js").read_text(encoding="utf-8")),
    )


def _lead(summary: Summary) -> str:
    rows = summary.rows
    parts = {
        "solver": summary.labels,
        "task": summary.tasks,
        "image": {r.image for r in rows},
        "seed": {r.seed for r in rows},
    }
    what = ", ".join(counted(len(found), word) for word, found in parts.items())
    return f"{what}; prior {', '.join(sorted({r.prior for r in rows}))}. Every solver saw the same measurements."


def _tiles(summary: Summary) -> dict[str, str]:
    rows = summary.rows
    count = {s: sum(r.status == s for r in rows) for s in STATUSES}
    bad = {name: str(n) for name, n in count.items() if n and name != "ok"}
    last = max(r.finished for r in rows)[:10]
    solving = _duration(sum(r.seconds for r in rows))
    return {"cells": str(len(rows)), "ok": str(count["ok"]), **bad, "solving": solving, "measured until": last}


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _data(summary: Summary, found: Sequence[Scene], calibrated: Sequence[Curves]) -> dict[str, Any]:
    """Return the data of the script."""
    names = [n for n in summary.metrics if n in PLOTTED or n == summary.metric] or list(summary.metrics)
    names.sort(key=lambda n: n != summary.metric)
    tasks = [
        {"name": task.name, "title": task_title(task.name), "entries": [
            {"label": e.label, "nfe": e.nfe, "seconds": e.seconds,
             "figures": {n: [f.mean, f.low, f.high] for n, f in e.figures.items() if n in names}}
            for e in task.entries if e.scored
        ]} for task in summary.tasks
    ]  # fmt: skip
    known = {n: known_metric(n) for n in names}
    return {
        "metric": summary.metric,
        "metrics": {n: {"title": m.title, "best": m.best, "digits": m.digits} for n, m in known.items()},
        "labels": list(summary.labels),
        "solvers": {e.label: e.rows[0].solver for task in summary.tasks for e in task.entries},
        "tasks": tasks,
        "levels": LEVELS,
        "curves": [dataclasses.asdict(c) for c in calibrated],
        "scenes": gallery(found),
    }


def _json(value: object) -> str:
    """Return JSON for a script element: no NaN, and nothing that would end the element."""

    def clean(v: Any) -> Any:
        if isinstance(v, float):
            return v if math.isfinite(v) else None
        if isinstance(v, Mapping):
            return {k: clean(x) for k, x in v.items()}
        return [clean(x) for x in v] if isinstance(v, list | tuple) else v

    return json.dumps(clean(value), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
