"""Calibration of each solver on a task, from the pictures that the store kept: 8 bits, clipped to [0, 1].

The levels 50 % and 90 % in the tables are exact, from the samples themselves; the curves here are for the eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...metrics import coverage, rank_histogram, spread_skill_curve
from .pictures import Scene, spread_of

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
BINS = 10


@dataclass(frozen=True)
class Curves:
    """Calibration of one solver on one task, over its scenes.

    Attributes:
        label: the solver.
        task: the task.
        images: over how many images.
        covered: share of the pixels inside the central interval, for each of `LEVELS`.
        spread: predicted standard deviation of `BINS` groups of pixels.
        skill: root mean square error of the mean in each.
        ranks: share of the pixels for each rank of the truth among the samples.
    """

    label: str
    task: str
    images: int
    covered: tuple[float, ...]
    spread: tuple[float, ...]
    skill: tuple[float, ...]
    ranks: tuple[float, ...]


def curves(found: Sequence[Scene]) -> list[Curves]:
    """Return the curves of every solver with samples that differ, by task and label."""
    groups: dict[tuple[str, str], list[tuple[Tensor, Tensor]]] = {}
    for scene in found:
        for label, (_, p) in scene.solvers.items():
            if spread_of(p):
                groups.setdefault((scene.task, label), []).append((_unit(p["samples"]), _unit(p["truth"])))
    return [_curves(task, label, pairs) for (task, label), pairs in groups.items()]


def _unit(levels: np.ndarray) -> Tensor:
    return torch.from_numpy(levels.astype(np.float32) / 255)[None]


def _curves(task: str, label: str, pairs: Sequence[tuple[Tensor, Tensor]]) -> Curves:
    count = min(samples.shape[1] for samples, _ in pairs)
    rows = [(samples[:, :count], truth) for samples, truth in pairs]
    covered = [float(np.mean([float(coverage(s, x, level=level)) for s, x in rows])) for level in LEVELS]
    ranks = torch.cat([rank_histogram(s, x) for s, x in rows]).mean(0)
    # Images may differ in size: their pixels in one row.
    samples = torch.cat([s.reshape(1, count, 1, 1, -1) for s, _ in rows], -1)
    truth = torch.cat([x.reshape(1, 1, 1, -1) for _, x in rows], -1)
    spread, skill = spread_skill_curve(samples, truth, bins=min(BINS, truth.numel()))
    return Curves(label, task, len(rows), tuple(covered), *(tuple(v.tolist()) for v in (spread, skill, ranks)))
