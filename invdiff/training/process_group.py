"""A group of processes that train one network: each draws its part of a batch, and gradients are averaged.

On a CPU that is shared with other programs, two processes of one thread each are faster than one process of two
threads: a step waits for the slower process once, not for the slower thread after every layer.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

from ..errors import UserError


@dataclasses.dataclass(frozen=True)
class ProcessGroup:
    """A process's rank in its group.

    Attributes:
        rank: index of this process; the main process, 0, saves, evaluates and exports.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process saves, evaluates and exports."""
        return self.rank == 0

    def join(self, rendezvous_file: str) -> None:
        """Wait for the other processes, by a file that all of them name; it must not exist before."""
        if self.size > 1:
            dist.init_process_group(
                "gloo", init_method=f"file://{rendezvous_file}", rank=self.rank, world_size=self.size
            )

    def leave(self) -> None:
        """Leave the group."""
        if self.size > 1:
            dist.destroy_process_group()

    def share(self, batch: int) -> slice:
        """Return this process's part of a batch of `batch` images.

        Raises:
            ValueError: if the batch cannot be divided evenly.
        """
        if batch % self.size:
            raise UserError(f"data.batch: expected a multiple of the {self.size} workers, got {batch}; change either")
        part = batch // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their mean over the group."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients]) / self.size
        dist.all_reduce(flat)
        torch._foreach_copy_(
            gradients,
            [f.view_as(g) for f, g in zip(torch.split(flat, [g.numel() for g in gradients]), gradients, strict=True)],
        )


def leave_with_parent() -> None:
    """End this process once the one that started it is gone, so that a killed run leaves nothing that trains on."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
