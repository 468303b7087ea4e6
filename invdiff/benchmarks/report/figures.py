"""Figures for a paper, as PNG: quality with intervals, quality against cost, calibration, a gallery for each task."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...atomic import atomic_path
from ...figures import Panel, comparison
from ...images import write_picture
from ..execution.gallery import LEVELS
from .calibration import curves
from .pictures import Scene, error_map, scenes, spread_of, std_map
from .summary import Summary, known_metric
from .tables import task_title

DPI = 220
_COLORS = ("#2f6fb7", "#d1701f", "#2f8f62", "#b8406b", "#7459bd", "#178d91", "#a9830f", "#7b6358")
_MARKERS = "osD^vPX*"


def draw(summary: Summary, folder: Path, out: Path) -> list[Path]:
    """Write all figures.

    Args:
        summary: of the rows.
        folder: that of the store.
        out: folder of the figures; exists.

    Returns:
        The files; without stored images, only the plots.
    """
    found = scenes(summary, folder, images=1)
    made = [_save(_quality(summary), out / "quality.png"), _save(_cost(summary), out / "cost.png")]
    if calibrated := curves(summary, folder):
        made.append(_save(_calibration(summary, calibrated), out / "calibration.png"))
    for scene in found:
        name = "".join(c if c.isalnum() else "-" for c in scene.task)
        write_picture(_gallery(scene, summary), out / f"gallery-{name}.png")
        made.append(out / f"gallery-{name}.png")
    return made


def _panels(summary: Summary, height: float) -> tuple[Any, list[Any]]:
    """Return a figure with one pair of axes for each task, without pyplot and its global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(summary.tasks))
    rows = math.ceil(len(summary.tasks) / columns)
    figure = Figure(figsize=(0.6 + 3.4 * columns, 0.3 + height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(np.atleast_1d(figure.subplots(rows, columns)).flat)
    for spare in axes[len(summary.tasks) :]:
        spare.set_visible(False)
    for axis, task in zip(axes, summary.tasks, strict=False):
        axis.set_title(task_title(task.name), fontsize=10)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def _style(summary: Summary, label: str) -> dict[str, Any]:
    i = summary.labels.index(label)
    return {"color": _COLORS[i % len(_COLORS)], "marker": _MARKERS[i // len(_COLORS) % len(_MARKERS)]}


def _quality(summary: Summary) -> Any:
    longest = max(len(t.ranked) for t in summary.tasks)
    figure, axes = _panels(summary, 0.7 + 0.2 * longest)
    for axis, task in zip(axes, summary.tasks, strict=False):
        for place, entry in enumerate(task.ranked):
            f = entry.figures[summary.metric]
            if not math.isnan(f.low):
                axis.plot([f.low, f.high], [place, place], color="0.45", linewidth=1.2)
            axis.plot([f.mean], [place], "o", color=_COLORS[0], markersize=4)
        axis.set_yticks(range(len(task.ranked)), [e.label for e in task.ranked], fontsize=7)
        axis.invert_yaxis()
        axis.set_xlabel(known_metric(summary.metric).title, fontsize=8)
    return figure


def _cost(summary: Summary) -> Any:
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = _panels(summary, 2.7)
    for axis, task in zip(axes, summary.tasks, strict=False):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        for entry in task.ranked:
            f = entry.figures[summary.metric]
            if not entry.nfe:
                axis.axhline(f.mean, color="0.6", linewidth=0.8, linestyle="--")
                at = {"xycoords": ("axes fraction", "data"), "va": "bottom"}
                axis.annotate(entry.label, (0.01, f.mean), fontsize=6, color="0.4", **at)
                continue
            error = None if math.isnan(f.low) else [[f.mean - f.low], [f.high - f.mean]]
            axis.errorbar(
                [entry.nfe], [f.mean], yerr=error, linestyle="none", markersize=4.5, linewidth=0.9, label=entry.label,
                **_style(summary, entry.label),
            )  # fmt: skip
        axis.set_xlabel("network evaluations", fontsize=8)
        axis.set_ylabel(known_metric(summary.metric).title, fontsize=8)
    _legend(figure, axes)
    return figure


def _calibration(summary: Summary, calibrated: Sequence[Any]) -> Any:
    figure, axes = _panels(summary, 2.9)
    for axis, task in zip(axes, summary.tasks, strict=False):
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--")
        for c in calibrated:
            if c.task == task.name:
                axis.plot(LEVELS, c.covered, markersize=3, linewidth=1, label=c.label, **_style(summary, c.label))
        axis.set(xlim=(0, 1), ylim=(0, 1))
        axis.set_xlabel("level of the interval", fontsize=8)
        axis.set_ylabel("fraction of pixels inside", fontsize=8)
    _legend(figure, axes)
    return figure


def _legend(figure: Any, axes: Sequence[Any]) -> None:
    entries = {label: handle for a in axes for handle, label in zip(*a.get_legend_handles_labels(), strict=True)}
    if entries:
        columns = max(2, int(figure.get_figwidth() / 1.7))
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=columns, fontsize=7, frameon=False)


def _gallery(scene: Scene, summary: Summary) -> Image.Image:
    """Return rows of mean, error, standard deviation and a sample, under the truth and the measurement."""
    first = scene.first
    rows = [[Panel(name, _unit(first[name])) for name in ("truth", "measurement") if name in first]]
    for label, (row, p) in scene.solvers.items():
        value = row.metrics.get(summary.metric)
        caption = row.status if value is None else f"{known_metric(summary.metric).title} {value:.2f}"
        panels = [Panel(label, _unit(p["mean"]), caption)]
        panels.append(Panel("error", torch.from_numpy(error_map(p)), white=scene.white))
        if spread_of(p):
            panels.append(Panel("standard deviation", torch.from_numpy(std_map(p)), white=scene.white))
            panels.append(Panel("sample", _unit(p["samples"][0])))
        rows.append(panels)
    return comparison(rows, title=task_title(scene.task), subtitle=scene.image)


def _unit(levels: np.ndarray[Any, np.dtype[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(levels.astype(np.float32) / 255)


def _save(figure: Any, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png", facecolor="white")
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return path
