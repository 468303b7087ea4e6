"""A pool on an existing Dask cluster.

    pip install 'invdiff[cluster]'                                   # everywhere
    dask scheduler                                                   # on one machine
    dask worker tcp://host:8786 --nthreads 1 --nworkers 4            # on each worker machine

Workers have one thread, so each job has its own process. A worker with CUDA takes the GPU of its index, or the one
that CUDA_VISIBLE_DEVICES selects. Workers need this package and, if the prior is a file, that file at the same path;
images and results are sent with the jobs.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..errors import UserError
from .base import Finished, Job, Kept, Pool, WorkerDied, cores

PATIENCE = 30.0
"""Timeout in seconds for the scheduler, and for its first worker."""


class Cluster(Pool):
    """The workers of a Dask scheduler.

    Args:
        address: of the scheduler, `tcp://host:8786`.
        device: "cpu" or "cuda".
        threads: of torch for each worker; by default the cores of its machine, divided evenly.
    """

    def __init__(self, address: str, device: str, threads: int | None) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ImportError("--scheduler: needs dask.distributed; pip install 'invdiff[cluster]'") from error
        if "://" not in address:
            raise UserError(f"--scheduler: expected an address such as tcp://host:8786, got {address!r}")
        try:
            self._client = Client(address, timeout=PATIENCE)
        except OSError as error:
            raise OSError(f"--scheduler: {address} does not answer: {error}; is `dask scheduler` running?") from error
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
            self.device, self.threads = device, threads or self._share()
        except BaseException as error:
            self._client.close()
            if isinstance(error, TimeoutError):
                raise OSError(f"--scheduler: {address} has no workers; start some with `dask worker`") from error
            raise
        self._jobs: dict[Any, Job] = {}

    @property
    def busy(self) -> int:
        """Number of jobs at the scheduler."""
        return len(self._jobs)

    @property
    def size(self) -> int:  # type: ignore[override]
        """Present number of workers."""
        return max(1, len(self._workers()))

    @property
    def room(self) -> bool:
        """Whether another job may be submitted: one job waits for each busy worker, so no worker is idle."""
        return self.busy < 2 * self.size

    def submit(self, job: Job) -> None:
        """Send the job to the scheduler, which assigns it to a worker, or to another one if that dies."""
        placed = self._placed(job)
        key = f"invdiff-{job.label}-{uuid.uuid4().hex}"
        self._jobs[self._client.submit(_run, placed, key=key, pure=False)] = job

    def finished(self, timeout: float) -> Iterable[Finished]:
        """Return the results of the workers."""
        from distributed import CancelledError, wait
        from distributed.scheduler import KilledWorker

        if not self._jobs:
            return []
        try:
            done = wait(list(self._jobs), timeout=timeout, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return []
        except CancelledError as error:
            raise self._gone() from error
        out: list[Finished] = []
        for future in done:
            job = self._jobs.pop(future)
            try:
                outcome: Any = future.result(timeout=PATIENCE)
            except CancelledError as error:
                raise self._gone() from error
            except KilledWorker as error:
                outcome = WorkerDied(f"{1 + error.allowed_failures} workers died at it; was there too little memory?")
            except Exception as error:  # an error of the cluster; those of the job are in its result
                outcome = WorkerDied(f"the cluster failed: {type(error).__name__}: {error}")
            out.append((job, outcome))
        return out

    def close(self) -> None:
        """Cancel the waiting jobs, and leave the cluster running."""
        self._client.cancel(list(self._jobs), force=True)
        self._client.close()

    def _workers(self) -> dict[str, Any]:
        workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _share(self) -> int:
        workers = self._workers()
        several = [w["name"] for w in workers.values() if w["nthreads"] > 1]
        if several:
            raise UserError(
                f"--scheduler: expected workers of one thread, got {several[0]} with more; "
                "start them with --nthreads 1, so that no two jobs share a process"
            )
        at = Counter(w["host"] for w in workers.values())
        have: dict[str, int] = self._client.run(cores)
        return max(1, min(count // at[workers[a]["host"]] for a, count in have.items() if a in workers))

    def _gone(self) -> OSError:
        return OSError("--scheduler: the connection is lost; run the same command again: what is done is kept")


def _run(job: Job) -> Any:
    """Run a job on the GPU of the worker's index; the worker keeps the shared objects of its jobs."""
    from distributed import get_worker

    worker: Any = get_worker()
    if not hasattr(worker, "invdiff_kept"):
        worker.invdiff_kept = Kept()
    digits = "".join(c if c.isdigit() else " " for c in str(worker.name)).split()
    placed = dataclasses.replace(job, worker=int(digits[-1]) if digits else 0)
    return placed.run(worker.invdiff_kept)
