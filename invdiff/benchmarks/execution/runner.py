"""Running a suite: from its cells to the rows of a store.

The order is image by image, and for each image all tasks and all solvers, so a stopped run has complete comparisons.
The store is read before each cell, so several runs on one folder share the work, and written after each cell, so a
killed run continues where it stopped.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...atomic import atomic_path
from ...errors import UserError
from ...fingerprint import fingerprint
from ...pools.base import Pool, WorkerDied
from ...pools.open import open_pool
from ...priors import Prior, load_prior
from ..images import Picture, load_pictures
from ..suite import Suite
from .job import Job
from .store import Cell, Row, Store, StoreError

POLL = 1.0
"""Seconds between two checks of cells that another run has claimed."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run, after a row.

    Attributes:
        row: the row; `None` at the beginning.
        done: number of finished cells, by this or by other runs.
        total: number of all cells.
        seconds_left: estimate, from the cells with the same solver; `None` until there is one.
    """

    row: Row | None
    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Attributes:
        rows: of all cells of the suite, from this or earlier runs.
        ran: number of cells of this run.
        seconds: wall time of the run, from the first cell to the last.
        solves: seconds of these cells' solves.
    """

    rows: list[Row]
    ran: int
    seconds: float
    solves: float


def plan(suite: Suite, prior: Prior | None = None) -> list[Job]:
    """Return all cells of a suite, with their images, in the order of the run.

    Args:
        suite: the suite.
        prior: the suite's prior; by default it is loaded.

    Raises:
        ValueError: images that do not fit the prior or the source.
    """
    network = load_prior(suite.prior) if prior is None else prior
    data = suite.data
    images = load_pictures(data.source, data.images, size=data.size, channels=data.channels, prior=network)
    for image in images:
        check_fit(network, suite.prior, image)
    names = [suite.entries(task) for task in suite.tasks]
    key = fingerprint(network)
    return [
        Job(
            cell=Cell(
                suite=suite.name, suite_hash=suite.hash, task=task, solver=entry.name, parameters=entry.parameters,
                label=entry.label, prior=suite.prior, prior_hash=key, image=image.name, seed=seed,
            ),
            truth=image.pixels.contiguous().numpy(),
            number=image.number,
            samples=suite.samples,
            metrics=suite.metrics,
        )
        for image in images
        for seed in range(suite.seeds)
        for task, entries in zip(suite.tasks, names, strict=True)
        for entry in entries
    ]  # fmt: skip


def check_fit(prior: Prior, name: str, image: Picture) -> None:
    """Raise a ValueError unless the prior accepts images of that size."""
    shape = tuple(image.pixels.shape)
    if len(prior.shape) != len(shape) or any(p not in (None, s) for p, s in zip(prior.shape, shape, strict=True)):
        want = " x ".join("any" if p is None else str(p) for p in prior.shape)
        raise UserError(
            f"prior {name!r}: takes images of {want}, got {image.name!r} of {' x '.join(map(str, shape))}; "
            "set size and channels in [data] (--size, --gray), or choose another prior"
        )


def run_suite(
    suite: Suite,
    folder: str | Path,
    *,
    pool: Pool | None = None,
    retry: bool = False,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Run the cells of a suite that are not finished.

    Args:
        suite: the suite.
        folder: of the store; made if needed. The suite is written beside it.
        pool: runs the cells; by default this process on the CPU. It is not closed.
        retry: whether failed cells are run again.
        watch: called at the beginning and after each row.

    Returns:
        All rows of the suite, those of earlier runs included.

    Raises:
        ValueError: a suite that cannot be run, or a store of another version.
        StoreError: the disk is full or the folder cannot be written; earlier rows are kept.

    Example:
        >>> import tempfile
        >>> from invdiff.benchmarks.suite import Data
        >>> suite = Suite(name="tiny", prior="gaussian", tasks=("denoising",), solvers=("pinv",),
        ...               data=Data(images=1, size=16))
        >>> with tempfile.TemporaryDirectory() as out:
        ...     run_suite(suite, out).rows[0].status, run_suite(suite, out).ran
        ('ok', 0)
    """
    jobs = plan(suite)
    with Store.open(folder) as store, store.heartbeats():
        write_suite(suite, store.folder)
        state = _State(store, jobs, retry, watch)
        _drain(state, pool or open_pool())
        wanted = {job.cell.key for job in jobs}
        rows = [row for row in store.rows(suite_hash=suite.hash) if row.key in wanted]
    return Summary(rows, state.ran, time.perf_counter() - state.begin, state.solves)


def suite_file(suite: Suite) -> str:
    """Return the name of the file of the resolved suite, beside the store."""
    return f"suite-{suite.name}-{suite.hash}.toml"


def write_suite(suite: Suite, folder: Path) -> None:
    """Write the resolved suite beside the store, in place of an earlier one of that name."""
    try:
        with atomic_path(folder / suite_file(suite)) as path:
            path.write_text(suite.to_toml(), encoding="utf-8")
    except OSError as error:
        raise StoreError(
            error.errno, f"{folder}: cannot be written: {error.strerror}; choose another folder"
        ) from error


class _State:
    """The state of a run: waiting cells, cells that other runs have claimed, and durations."""

    def __init__(self, store: Store, jobs: list[Job], retry: bool, watch: Callable[[Progress], None]) -> None:
        self.store, self.retry, self.watch = store, retry, watch
        statuses = store.statuses()
        keys = {job.cell.key: statuses.get(job.cell.key) for job in jobs}
        open_ = [j for j in jobs if keys[j.cell.key] is None or (retry and keys[j.cell.key] == "failed")]
        self.waiting, self.elsewhere = deque(open_), list[Job]()
        self.total, self.done, self.ran, self.solves = len(jobs), len(jobs) - len(open_), 0, 0.0
        self.begin = time.perf_counter()
        self.times: dict[str, list[float]] = defaultdict(list)
        for row in store.rows():
            self.times[row.label].append(row.seconds + row.harness)
        watch(Progress(None, self.done, self.total, self._left([])))

    def next(self) -> Job | None:
        """Return a job that this run has claimed, or `None` if none is free."""
        while self.waiting:
            job = self.waiting.popleft()
            if self.store.claim(job.cell, retry=self.retry):
                return job
            self.elsewhere.append(job)
        return None

    def record(self, job: Job, result: object, busy: Iterable[Job] = ()) -> None:
        """Write the result of a job."""
        if isinstance(result, WorkerDied):
            row, pictures = Row.of(job.cell, status="failed", reason=result.reason), None
        else:
            assert isinstance(result, tuple)
            row, pictures = result
        self.store.record(row, pictures)
        self.done, self.ran, self.solves = self.done + 1, self.ran + 1, self.solves + row.seconds
        self.times[row.label].append(row.seconds + row.harness)
        self.watch(Progress(row, self.done, self.total, self._left(busy)))

    def look_elsewhere(self) -> None:
        """Take back jobs that another run has given up, and count those that it has finished."""
        statuses = self.store.statuses()
        for job in self.elsewhere:
            status = statuses.get(job.cell.key)
            if status is None or (self.retry and status == "failed"):
                self.waiting.append(job)
            else:
                self.done += 1
                self.watch(Progress(None, self.done, self.total, self._left([])))
        self.elsewhere = []

    def _left(self, busy: Iterable[Job]) -> float | None:
        """Estimate the seconds of the unfinished cells, one after the other."""
        known = [statistics.fmean(times) for times in self.times.values()]
        if not known:
            return None
        usual = statistics.fmean(known)
        mean = {label: statistics.fmean(times) for label, times in self.times.items()}
        return sum(mean.get(job.cell.label, usual) for job in (*self.waiting, *self.elsewhere, *busy))


def _drain(state: _State, pool: Pool) -> None:
    """Keep the pool busy until every cell has a row."""
    while state.waiting or state.elsewhere or pool.busy:
        while pool.room and (job := state.next()) is not None:
            pool.submit(job)
        if pool.busy:
            for done, result in pool.finished(POLL):
                assert isinstance(done, Job)
                state.record(done, result)
        elif state.elsewhere:
            time.sleep(POLL)
        if state.elsewhere and not state.waiting:
            state.look_elsewhere()
