"""Pools on this machine: this process, or several child processes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from .base import Finished, Job, Kept, Pool, WorkerDied


class Serial(Pool):
    """This process, one job at a time."""

    def __init__(self, device: str, threads: int) -> None:
        self.device, self.threads = device, threads
        self._job: Job | None = None
        self._kept = Kept()

    @property
    def busy(self) -> int:
        """0 or 1."""
        return int(self._job is not None)

    def submit(self, job: Job) -> None:
        """Keep the job until `finished` runs it."""
        self._job = self._placed(job)

    def finished(self, timeout: float) -> Iterable[Finished]:
        """Run the job."""
        job, self._job = self._job, None
        return [(job, job.run(self._kept))] if job is not None else []


@dataclass
class _Worker:
    """A process, and the parent's end of its pipe."""

    process: BaseProcess
    pipe: Connection
    job: Job | None = None


class Processes(Pool):
    """Processes of this machine, started on demand, and restarted when one has died."""

    def __init__(self, count: int, device: str, threads: int) -> None:
        self.size, self.device, self.threads = count, device, threads
        self._workers: list[_Worker | None] = [None] * count

    @property
    def busy(self) -> int:
        """Number of processes with a job."""
        return sum(w is not None and w.job is not None for w in self._workers)

    @property
    def pids(self) -> list[int]:
        """Process ids of the processes with a job."""
        return [w.process.pid or 0 for w in self._workers if w is not None and w.job is not None]

    def submit(self, job: Job) -> None:
        """Send the job to an idle process."""
        i = next(i for i, w in enumerate(self._workers) if w is None or w.job is None)
        worker = self._workers[i] or self._start()
        self._workers[i] = worker
        worker.job = self._placed(job, i)
        with contextlib.suppress(OSError):  # the process died; `finished` will report it
            worker.pipe.send(worker.job)

    def finished(self, timeout: float) -> Iterable[Finished]:
        """Return the results of the processes."""
        at_work = {w.pipe: i for i, w in enumerate(self._workers) if w is not None and w.job is not None}
        out: list[Finished] = []
        for pipe in wait(list(at_work), timeout):
            i = at_work[pipe]  # type: ignore[index]
            worker = self._workers[i]
            assert worker is not None and worker.job is not None
            job, worker.job = worker.job, None
            try:
                out.append((job, worker.pipe.recv()))
            except (EOFError, OSError):
                worker.process.join()
                out.append((job, WorkerDied(_exit_description(worker.process.exitcode))))
                worker.pipe.close()
                self._workers[i] = None
        return out

    def close(self) -> None:
        """Kill the processes, with or without a job."""
        alive = [w for w in self._workers if w is not None]
        for worker in alive:
            worker.process.kill()
        for worker in alive:
            worker.process.join()
            worker.pipe.close()
        self._workers = [None] * self.size

    def _start(self) -> _Worker:
        context = get_context("spawn")  # torch's threads and CUDA do not work after a fork
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()  # so that the pipe closes when the process dies
        return _Worker(process, ours)


def _serve(pipe: Connection) -> None:
    """Run jobs until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then kills this process
    kept = Kept()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        result = job.run(kept)
        try:
            pipe.send(result)
        except OSError:
            return  # the parent is gone


def _exit_description(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; was there too little memory?" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with code {code}"
