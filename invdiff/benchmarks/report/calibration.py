"""Calibration of each solver on a task: the means of the stored curves of its cells.

The curves come from `execution.gallery.reliability`. Spread and skill are root mean squares in each cell and over the
cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pictures import is_kept
from .summary import Summary

Kept = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Curves:
    """Calibration of one solver on one task.

    Attributes:
        label: the solver.
        task: the task.
        cells: number of cells.
        covered: fraction of the pixels inside the central interval, for each of `reliability.LEVELS`.
        spread: predicted standard deviation of groups of pixels.
        skill: root mean square error of the mean in each group.
        ranks: fraction of the pixels for each rank of the truth among the samples.
    """

    label: str
    task: str
    cells: int
    covered: tuple[float, ...]
    spread: tuple[float, ...]
    skill: tuple[float, ...]
    ranks: tuple[float, ...]


def curves(summary: Summary, folder: Path) -> list[Curves]:
    """Return the curves of every solver with stored ones, by task and label.

    Args:
        summary: of the rows.
        folder: that of the store.
    """
    out = []
    for task in summary.tasks:
        for entry in task.entries:
            found = [k for r in entry.rows if is_kept(r, folder) and (k := _kept(folder / str(r.pictures)))]
            if found:
                out.append(_mean(task.name, entry.label, found))
    return out


def _kept(file: Path) -> Kept:
    """Return the curves of a cell, without loading its pictures; empty if there are none."""
    names = ("covered", "spread", "skill", "ranks")
    with np.load(file, allow_pickle=False) as data:
        return {name: data[name].astype(np.float64) for name in names} if "covered" in data.files else {}


def _mean(task: str, label: str, found: Sequence[Kept]) -> Curves:
    shapes = {name: found[0][name].shape for name in found[0]}
    alike = [k for k in found if all(k[name].shape == shape for name, shape in shapes.items())]
    means = {name: np.mean([k[name] for k in alike], axis=0) for name in ("covered", "ranks")}
    squares = {name: np.sqrt(np.mean([k[name] ** 2 for k in alike], axis=0)) for name in ("spread", "skill")}
    return Curves(label, task, len(alike), **{name: tuple(v.tolist()) for name, v in (means | squares).items()})
