"""The unit of a benchmark: a cell, and its row of results. See `store`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["ok", "misfit", "diverged", "failed", "not applicable"]
STATUSES = ("ok", "misfit", "diverged", "failed", "not applicable")
SCORED = ("ok", "misfit", "diverged")
"""Statuses of cells that have figures."""
Pictures = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measured combination of task, solver, image and seed.

    Attributes:
        suite: name of the suite.
        suite_hash: hash of the common properties of its cells: data, size, samples of an image. The lists of solvers,
            tasks, images and seeds are not part of it, so a longer run extends a shorter one.
        task: name of the task with its options, `super_resolution:factor=2`.
        solver: name of the solver.
        parameters: those that differ from the solver's defaults, as resolved for this task; plain values.
        label: the entry of the suite, `dps:steps=50`; the same in all tasks, for grouping.
        prior: name or path of the prior.
        prior_hash: hash of its weights.
        image: name of the image.
        seed: of the measurement and of the solver's samples.
    """

    suite: str
    suite_hash: str
    task: str
    solver: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    label: str
    prior: str
    prior_hash: str
    image: str
    seed: int

    @property
    def key(self) -> str:
        """The cell's key, 64 hexadecimal digits."""
        parts = [self.suite_hash, self.task, self.solver, self.label, plain_json(self.parameters), self.prior_hash]
        return hashlib.sha256(plain_json([*parts, self.image, self.seed]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Row(Cell):
    """A cell and its results.

    Attributes:
        status: "ok"; "misfit", if the samples do not explain the measurement, see `invdiff.fit`; "diverged", with the
            metrics of the last finite states; "failed", with the error as reason; "not
            applicable", if the solver cannot do the task.
        reason: one line for any status other than "ok".
        metrics: figures by name; see `invdiff.benchmarks.metrics`. Empty unless "ok", "misfit" or "diverged".
        seconds: wall time of the solve alone, after the warm-up.
        harness: seconds spent on the cell outside the solve: simulation, warm-up, scoring.
        nfe: evaluations of the prior's network for one sample.
        vjps: products with the transposed Jacobian of the network for one sample.
        peak_memory: bytes; of the process, or on CUDA of the tensors.
        threads: of torch on the CPU.
        workers: number of cells that ran at once, on all machines; times are most accurate for 1.
        device: "cpu", or the name of the GPU.
        versions: of invdiff, torch, python and others, by name.
        finished: UTC, ISO 8601.
        pictures: path of the `.npz` for the gallery, relative to the folder of the store; see `load_pictures`.
    """

    status: Status
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    harness: float = 0.0
    nfe: int = 0
    vjps: int | None = None
    peak_memory: int = 0
    threads: int = 0
    workers: int = 1
    device: str = "cpu"
    versions: Mapping[str, str] = field(default_factory=dict)
    finished: str = ""
    pictures: str | None = None

    @classmethod
    def of(cls, cell: Cell, **measured: Any) -> Row:
        """Return the row of a cell; by default `finished` is now."""
        base = {f.name: getattr(cell, f.name) for f in dataclasses.fields(Cell)}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return cls(**base, **({"finished": now} | measured))

    def load_pictures(self, folder: str | Path) -> Pictures | None:
        """Return the stored images, or `None` if there are none.

        Args:
            folder: that of the store.

        Returns:
            `truth`, `mean`, `samples` as 8 bits, `(C, H, W)` and `(S, C, H, W)`, white is 255; `std` as float16 in the
            images' units, `(C, H, W)`; `measurement` as 8 bits, scaled for display, `(1 or 3, h, w)`; for samples that
            differ the curves of `invdiff.benchmarks.reliability`.
        """
        if self.pictures is None:
            return None
        with np.load(Path(folder) / self.pictures, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}


def plain_json(value: object) -> str:
    """Return JSON in canonical form, independent of the order of keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=list)
