"""Several processes that train one network: each draws its share of a batch, gradients are averaged.

On a CPU, two processes of one thread each beat one process of two threads wherever the machine does other work too: a
step waits for the slower process once, not for the slower thread after every layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn


@dataclasses.dataclass(frozen=True)
class Team:
    """A process's place among those that train together.

    Attributes:
        rank: number of this process; 0 saves, measures and exports.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process saves, measures and exports."""
        return self.rank == 0

    def join(self, meeting_point: str) -> None:
        """Wait for the others at a file that all of them name, which must not exist before."""
        if self.size > 1:
            dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=self.rank, world_size=self.size)

    def leave(self) -> None:
        """Leave the group that `join` made."""
        if self.size > 1:
            dist.destroy_process_group()

    def share(self, batch: int) -> slice:
        """Return this process's part of a batch of `batch` images.

        Raises:
            ValueError: if the batch cannot be divided evenly.
        """
        if batch % self.size:
            raise ValueError(f"data.batch: expected a multiple of the {self.size} workers, got {batch}; change either")
        part = batch // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their mean over the team."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients]) / self.size
        dist.all_reduce(flat)
        torch._foreach_copy_(
            gradients,
            [f.view_as(g) for f, g in zip(torch.split(flat, [g.numel() for g in gradients]), gradients, strict=True)],
        )
