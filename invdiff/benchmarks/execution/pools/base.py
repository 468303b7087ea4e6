"""Who does the work: this process, some processes of this machine, or an existing Dask cluster.

A pool is given jobs while it has room, and asked what has become of them. It runs the same function on the same job
wherever that is, and a worker that dies costs the job that it was at and no other:

    with open_pool(workers=2, device="cpu") as pool:
        while jobs or pool.busy:
            while jobs and pool.room:
                pool.submit(jobs.pop())
            for job, result in pool.finished(timeout=1.0):
                ...                                     # a Result, or a Lost that says how the worker died
"""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ..job import Job, Result


@dataclass(frozen=True)
class Lost:
    """What is left of a job whose worker died."""

    reason: str


Finished = tuple[Job, Result | Lost]


class Pool(abc.ABC):
    """See the module.

    Attributes:
        size: how many jobs run at once.
        threads: of torch that each of them has.
        device: "cpu" or "cuda".
    """

    size: int = 1
    threads: int = 1
    device: str = "cpu"

    @property
    @abc.abstractmethod
    def busy(self) -> int:
        """How many jobs were submitted and have not been returned."""

    @property
    def room(self) -> bool:
        """Whether another job may be submitted."""
        return self.busy < self.size

    @abc.abstractmethod
    def submit(self, job: Job) -> None:
        """Take a job."""

    @abc.abstractmethod
    def finished(self, timeout: float) -> Iterable[Finished]:
        """Return what has been done, after waiting for some of it for at most `timeout` seconds."""

    def close(self) -> None:  # noqa: B027
        """Stop what is running."""

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    def _placed(self, job: Job, worker: int = 0) -> Job:
        return dataclasses.replace(job, threads=self.threads, device=self.device, worker=worker, workers=self.size)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
