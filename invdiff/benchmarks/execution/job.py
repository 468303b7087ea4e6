"""Running one cell: from a clean image to a row, in any process and on any machine.

Only the solve is timed, after a warm-up: before the clock starts, the network has been evaluated and differentiated
once at that size, and the operator and its adjoint have been applied, so their tables are computed. The clock stops
when the device has finished.

A solver that cannot do a task raises `NotApplicable`, and the cell is "not applicable"; so does a `ValueError` before
the first step of a solver from a user's file or package, which may not use this package's errors. Any other error makes
it "failed".
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import platform
import time
import traceback
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ... import __version__
from ...errors import NotApplicable, UserError
from ...pools import base as pools
from ...reconstruction import Reconstruction
from ...registry import is_foreign
from ...solvers.base import NEEDS
from ..metrics import Outcome, score
from ..suite import Entry
from .gallery import pictures
from .prepared import Prepared, wait
from .rows import SCORED
from .store import Cell, Pictures, Row

_REASON = 300  # characters


Result = tuple[Row, Pictures | None]


@dataclass(frozen=True, kw_only=True)
class Job(pools.Job):
    """A cell with all data that its run needs.

    Attributes:
        cell: the cell.
        truth: clean image, `(C, H, W)` in [0, 1], float32.
        number: index of the image, for its random streams.
        samples: number of samples.
        metrics: names; by default all.
    """

    cell: Cell
    truth: NDArray[np.float32]
    number: int
    samples: int
    metrics: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The task and the solver."""
        return f"{self.cell.task}-{self.cell.label}"

    def run(self, kept: pools.Kept) -> Result:
        """Return the row, with images if there are any."""
        return run(self, kept.setdefault("prepared", Prepared()))


def run(job: Job, prepared: Prepared | None = None) -> Result:
    """Run a cell and return its row, also after an error, with images if there are any.

    Args:
        job: the cell.
        prepared: what this process has made for cells before, and keeps for the next ones; by default nothing.
    """
    prepared = Prepared() if prepared is None else prepared
    begin = time.perf_counter()
    device = torch.device("cpu")
    if job.device == "cuda":
        device = torch.device("cuda", job.worker % torch.cuda.device_count())
    facts: dict[str, Any] = {
        "threads": job.threads,
        "workers": job.workers,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": _versions(job.cell.solver.startswith("deepinv.")),
    }
    if torch.get_num_threads() != job.threads:
        torch.set_num_threads(job.threads)
    progress = _Progress()
    seconds = 0.0
    try:
        cell = job.cell
        prior = prepared.prior(cell.prior, cell.prior_hash, device)
        solver = Entry(cell.label, cell.solver, cell.parameters).build()
        problem = prepared.problem(cell.task, job.truth, job.number, cell.seed, device)
        prepared.warm(cell.prior, cell.prior_hash, (job.samples, *job.truth.shape), job.threads, device)
        if missing := solver.unmet(problem):
            reason = f"needs {' and '.join(NEEDS[m] for m in missing)}"
            return Row.of(job.cell, status="not applicable", reason=reason, **facts), None
        _reset_peak(device)
        start = time.perf_counter()
        result = solver(problem, prior, samples=job.samples, seed=job.cell.seed, progress=progress)
        wait(device)
        seconds = time.perf_counter() - start
        facts |= {"peak_memory": _peak(device), "nfe": result.nfe, "vjps": result.vjps}
        truth = torch.from_numpy(job.truth)[None]
        outcome = Outcome(truth, problem.to("cpu"), prior, _on_cpu(result), solver.point, job.cell.seed)
        metrics = score(outcome, job.metrics)
        kept = pictures(outcome)
    except Exception as error:
        early = isinstance(error, ValueError) and not progress.done and not seconds
        refused = isinstance(error, NotApplicable) or (early and is_foreign(error))
        plain = refused or isinstance(error, UserError)
        facts["status"] = "not applicable" if refused else "failed"
        facts["reason"] = str(error) if plain else _describe(error)
        facts["reason"] = " ".join(facts["reason"].split())[:_REASON]
        return Row.of(job.cell, harness=time.perf_counter() - begin - seconds, **facts), None
    facts |= {"status": result.status if result.status in SCORED else "diverged", "reason": result.message}
    harness = time.perf_counter() - begin - seconds
    return Row.of(job.cell, metrics=metrics, seconds=seconds, harness=harness, **facts), kept


@dataclass
class _Progress:
    """Records whether a solver has taken a step."""

    done: int = 0

    def __call__(self, done: int, total: int) -> None:
        self.done = done


def _on_cpu(result: Reconstruction) -> Reconstruction:
    return dataclasses.replace(result, samples=result.samples.detach().float().cpu())


def _describe(error: Exception) -> str:
    """Return an error in one line, with the place in our code that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: reset the peak of resident memory


def _peak(device: torch.device) -> int:
    """Return the peak since the reset, in bytes; on systems other than Linux, that of the whole process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak) * (1 if platform.system() == "Darwin" else 1024)


@functools.cache
def _versions(peers: bool) -> dict[str, str]:
    out = {"invdiff": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for name in ("numpy", "scipy", "scikit-image", *(("deepinv",) if peers else ())):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out
