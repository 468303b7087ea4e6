"""The contract of a pool: this process, some processes of this machine, or an existing Dask cluster.

A pool gets jobs while it has room, and returns their results. Every pool calls the same method of a job. If a worker
dies, only its current job is lost:

    with open_pool(workers=2, device="cpu") as pool:
        while jobs or pool.busy:
            while jobs and pool.room:
                pool.submit(jobs.pop())
            for job, result in pool.finished(timeout=1.0):
                ...                                     # its result, or WorkerDied with the reason
"""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

Kept = dict[str, Any]
"""What a worker keeps from one job for the next ones, by name."""


@dataclass(frozen=True, kw_only=True)
class Job(abc.ABC):
    """A piece of work, with all data that it needs.

    Attributes:
        threads: of torch on the CPU.
        device: "cpu" or "cuda"; a worker with several GPUs takes the one of its own index.
        worker: that index.
        workers: number of jobs that run at once.
    """

    threads: int = 1
    device: str = "cpu"
    worker: int = 0
    workers: int = 1

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """A name for people who look at the cluster."""

    @abc.abstractmethod
    def run(self, kept: Kept) -> Any:
        """Do the work, in any process and on any machine; errors are part of the result."""


@dataclass(frozen=True)
class WorkerDied:
    """The result of a job whose worker died."""

    reason: str


Finished = tuple[Job, Any]
"""A job with its result, or with `WorkerDied`."""


class Pool(abc.ABC):
    """See the module.

    Attributes:
        size: number of jobs that run at once.
        threads: of torch for each job.
        device: "cpu" or "cuda".
    """

    size: int = 1
    threads: int = 1
    device: str = "cpu"

    @property
    @abc.abstractmethod
    def busy(self) -> int:
        """Number of submitted jobs without a returned result."""

    @property
    def room(self) -> bool:
        """Whether another job may be submitted."""
        return self.busy < self.size

    @abc.abstractmethod
    def submit(self, job: Job) -> None:
        """Submit a job."""

    @abc.abstractmethod
    def finished(self, timeout: float) -> Iterable[Finished]:
        """Return the finished jobs, after waiting for at most `timeout` seconds."""

    def close(self) -> None:  # noqa: B027
        """Stop all jobs."""

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the pool."""
        self.close()

    def _placed(self, job: Job, worker: int = 0) -> Job:
        return dataclasses.replace(job, threads=self.threads, device=self.device, worker=worker, workers=self.size)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
