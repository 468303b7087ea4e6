"""The pool that the options of a command ask for."""

from __future__ import annotations

import torch

from .base import Pool
from .local import Processes, Serial


def open_pool(
    *, workers: int = 1, scheduler: str | None = None, device: str = "cpu", threads: int | None = None
) -> Pool:
    """Return a pool.

    Args:
        workers: how many processes of this machine; 1 is this process itself.
        scheduler: address of a Dask scheduler, `tcp://host:8786`, instead.
        device: "cpu" or "cuda".
        threads: for each worker; torch's own number shared evenly unless given.

    Raises:
        ValueError: an address that is none.
        ImportError: no `dask.distributed`.
        OSError: no scheduler, or no worker, answers.
    """
    if scheduler is not None:
        from .dask import Cluster

        return Cluster(scheduler, device, threads)
    share = threads or max(1, torch.get_num_threads() // workers)
    return Serial(device, share) if workers == 1 else Processes(workers, device, share)
