"""Making the pool of a command's options."""

from __future__ import annotations

import torch

from .base import Pool
from .local import Processes, Serial


def open_pool(
    *, workers: int = 1, scheduler: str | None = None, device: str = "cpu", threads: int | None = None
) -> Pool:
    """Return a pool.

    Args:
        workers: number of processes on this machine; 1 is this process itself.
        scheduler: address of a Dask scheduler, `tcp://host:8786`, instead.
        device: "cpu" or "cuda".
        threads: for each worker; by default torch's own number, divided evenly.

    Raises:
        ValueError: an invalid address.
        ImportError: no `dask.distributed`.
        OSError: no scheduler or no worker responds.
    """
    if scheduler is not None:
        from .dask import Cluster

        return Cluster(scheduler, device, threads)
    share = threads or max(1, torch.get_num_threads() // workers)
    return Serial(device, share) if workers == 1 else Processes(workers, device, share)
