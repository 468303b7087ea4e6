"""Pools on this machine: this process, or several processes that it starts."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ..job import Job, run
from ..prepared import Prepared
from .base import Finished, Lost, Pool


class Serial(Pool):
    """This process, one job at a time."""

    def __init__(self, device: str, threads: int) -> None:
        self.device, self.threads = device, threads
        self._job: Job | None = None
        self._prepared = Prepared()

    @property
    def busy(self) -> int:
        """0 or 1."""
        return int(self._job is not None)

    def submit(self, job: Job) -> None:
        """Keep the job until `finished` does it."""
        self._job = self._placed(job)

    def finished(self, timeout: float) -> Iterable[Finished]:
        """Do it."""
        job, self._job = self._job, None
        return [(job, run(job, self._prepared))] if job is not None else []


@dataclass
class _Worker:
    """A process and our end of its pipe."""

    process: BaseProcess
    pipe: Connection
    job: Job | None = None


class Processes(Pool):
    """Processes of this machine, started when they are first needed and again when one has died."""

    def __init__(self, count: int, device: str, threads: int) -> None:
        self.size, self.device, self.threads = count, device, threads
        self._workers: list[_Worker | None] = [None] * count

    @property
    def busy(self) -> int:
        """How many of them have a job."""
        return sum(w is not None and w.job is not None for w in self._workers)

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that have a job."""
        return [w.process.pid or 0 for w in self._workers if w is not None and w.job is not None]

    def submit(self, job: Job) -> None:
        """Send the job to an idle process."""
        i = next(i for i, w in enumerate(self._workers) if w is None or w.job is None)
        worker = self._workers[i] or self._start()
        self._workers[i] = worker
        worker.job = self._placed(job, i)
        with contextlib.suppress(OSError):  # it died meanwhile, which `finished` finds
            worker.pipe.send(worker.job)

    def finished(self, timeout: float) -> Iterable[Finished]:
        """Return what the processes sent back."""
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
                out.append((job, Lost(_epitaph(worker.process.exitcode))))
                worker.pipe.close()
                self._workers[i] = None
        return out

    def close(self) -> None:
        """End the processes, whatever they are at."""
        alive = [w for w in self._workers if w is not None]
        for worker in alive:
            worker.process.kill()
        for worker in alive:
            worker.process.join()
            worker.pipe.close()
        self._workers = [None] * self.size

    def _start(self) -> _Worker:
        context = get_context("spawn")  # a fork would inherit torch's threads and CUDA, which survive none
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()  # so that its death closes the pipe
        return _Worker(process, ours)


def _serve(pipe: Connection) -> None:
    """Do jobs until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    prepared = Prepared()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        result = run(job, prepared)
        try:
            pipe.send(result)
        except OSError:
            return  # the parent is gone


def _epitaph(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; was there too little memory?" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with code {code}"
