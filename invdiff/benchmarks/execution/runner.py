"""From a suite to the rows of a store: which cells there are, who does them, and what is left to do.

Cells come image by image, and for each image all tasks and all solvers: a run that is stopped has whole comparisons.
The store is asked before each cell, so that several runs on one folder share the work, and told after each, so that a
run that was killed goes on where it was.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...atomic import atomic_path
from ...priors import Prior, load_prior
from ..images import Picture, load_pictures
from ..suite import Suite
from .fingerprint import fingerprint
from .job import Job
from .pools.base import Lost, Pool
from .pools.open import open_pool
from .store import Cell, Row, Store, StoreError

POLL = 1.0
"""Seconds between two looks at cells that another run is at."""


@dataclass(frozen=True)
class Progress:
    """How far a run is, after a row of it.

    Attributes:
        row: the row; `None` at the beginning.
        done: cells that are done, by this or by other runs.
        total: cells in all.
        seconds_left: estimate, from the cells with the same solver; `None` as long as there is nothing to go by.
    """

    row: Row | None
    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        rows: of all cells of the suite, done now or before.
        ran: how many cells this run did.
        seconds: wall time of the run, from the first cell to the last.
        solves: seconds of these cells' solves.
    """

    rows: list[Row]
    ran: int
    seconds: float
    solves: float


def plan(suite: Suite, prior: Prior | None = None) -> list[Job]:
    """Return all cells of a suite, with their images, in the order in which they are done.

    Args:
        suite: the suite.
        prior: the suite's prior, loaded unless given.

    Raises:
        ValueError: images that the prior or the source cannot have.
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
    """Raise a ValueError unless the prior takes images of that size."""
    shape = tuple(image.pixels.shape)
    if len(prior.shape) != len(shape) or any(p not in (None, s) for p, s in zip(prior.shape, shape, strict=True)):
        want = " x ".join("any" if p is None else str(p) for p in prior.shape)
        raise ValueError(
            f"prior {name!r}: takes images of {want}, got {image.name!r} of {' x '.join(map(str, shape))}; "
            "set size and channels in [data], or choose another prior"
        )


def run_suite(
    suite: Suite,
    folder: str | Path,
    *,
    pool: Pool | None = None,
    retry: bool = False,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Do the cells of a suite that are not done yet.

    Args:
        suite: the suite.
        folder: of the store; made if needed. The suite is written beside it.
        pool: who does the work; this process on the CPU unless given. It is not closed.
        retry: whether cells that failed are done again.
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
    with Store.open(folder) as store, store.beating():
        write_suite(suite, store.folder)
        state = _State(store, jobs, retry, watch)
        _drain(state, pool or open_pool())
        wanted = {job.cell.key for job in jobs}
        rows = [row for row in store.rows(suite_hash=suite.hash) if row.key in wanted]
    return Summary(rows, state.ran, time.perf_counter() - state.begin, state.solves)


def suite_file(suite: Suite) -> str:
    """Return the name of the file, beside the store, that the resolved suite is written to."""
    return f"suite-{suite.name}-{suite.hash}.toml"


def write_suite(suite: Suite, folder: Path) -> None:
    """Write the resolved suite beside the store: the last one that was asked for."""
    try:
        with atomic_path(folder / suite_file(suite)) as path:
            path.write_text(suite.to_toml(), encoding="utf-8")
    except OSError as error:
        raise StoreError(
            error.errno, f"{folder}: cannot be written: {error.strerror}; choose another folder"
        ) from error


class _State:
    """A run on its way: what is waiting, what others are at, and what things take."""

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
        """Return a job that this run has claimed, or `None` where none is free now."""
        while self.waiting:
            job = self.waiting.popleft()
            if self.store.claim(job.cell, retry=self.retry):
                return job
            self.elsewhere.append(job)
        return None

    def record(self, job: Job, result: object, busy: Iterable[Job] = ()) -> None:
        """Write what a job came to."""
        if isinstance(result, Lost):
            row, pictures = Row.of(job.cell, status="failed", reason=result.reason), None
        else:
            assert isinstance(result, tuple)
            row, pictures = result
        self.store.record(row, pictures)
        self.done, self.ran, self.solves = self.done + 1, self.ran + 1, self.solves + row.seconds
        self.times[row.label].append(row.seconds + row.harness)
        self.watch(Progress(row, self.done, self.total, self._left(busy)))

    def look_elsewhere(self) -> None:
        """Take back jobs that another run gave up, and count those that it has done."""
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
        """Estimate the seconds that the open cells take one after the other."""
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
            for job, result in pool.finished(POLL):
                state.record(job, result)
        elif state.elsewhere:
            time.sleep(POLL)
        if state.elsewhere and not state.waiting:
            state.look_elsewhere()
