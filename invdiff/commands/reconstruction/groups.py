"""Which of several pictures are solved together.

It is decided within windows of the list of all pictures, whether they are done or not, so a run that goes on makes the
same batches, and the same bits, as one that was never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from ...batches import room
from ...fingerprint import fingerprint
from ...solvers.base import BATCH_VALUES
from .prepare import Prepared
from .request import Request

WINDOW = 64
"""Pictures among which those that go together are sought."""


def batches(
    requests: Sequence[Request],
    done: set[str],
    prepared: Callable[[Request], Prepared | None],
    device: torch.device,
) -> Iterator[list[Prepared]]:
    """Yield the pictures that are solved together; batches of which all are done are left out.

    Args:
        requests: of all pictures.
        done: names of those that are done.
        prepared: returns a picture ready to be solved, or `None` if that failed.
        device: of the computation.
    """
    for start in range(0, len(requests), WINDOW):
        window = requests[start : start + WINDOW]
        if all(r.out.name in done for r in window):
            continue
        found = _grouped(filter(None, map(prepared, window)), device)
        yield from (batch for batch in found if not all(p.request.out.name in done for p in batch))


def _grouped(pictures: Iterable[Prepared], device: torch.device) -> Iterator[list[Prepared]]:
    """Yield groups of pictures that can be solved together, as soon as one is full or the pictures held are many."""
    groups: dict[str, list[Prepared]] = {}
    held = 0
    for p in pictures:
        key = fingerprint([p.operator_key, p.problem.noise, tuple(p.problem.measurement.shape), p.request.prior])
        group = groups.setdefault(key, [])
        group.append(p)
        held += math.prod(p.problem.operator.in_shape)
        if len(group) >= room(p.problem, p.request.samples, p.request.batch_size, device):
            held -= len(group) * math.prod(p.problem.operator.in_shape)
            yield groups.pop(key)
        elif held > 2 * BATCH_VALUES:
            yield from groups.values()
            groups, held = {}, 0
    yield from groups.values()
