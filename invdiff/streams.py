"""Random streams, one for each (image, sample): a sample is the same alone, in a batch, or in another batch.

Random numbers are drawn on the CPU for every device, so a seed gives the same numbers everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from .errors import UserError


def generator(*key: int) -> torch.Generator:
    """Return a CPU generator seeded by a tuple of non-negative integers.

    Keys of different length or content give independent streams; `(0,)` is a valid key.

    Example:
        >>> bool((torch.randn(3, generator=generator(0, 1)) == torch.randn(3, generator=generator(0, 1))).all())
        True
    """
    if any(k < 0 for k in key):
        raise UserError(f"seed: expected non-negative integers, got {key}")
    state = np.random.SeedSequence([len(key), *key]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


class Streams:
    """A batch of generators; row `i` of every draw comes from generator `i` alone."""

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        self.generators: Sequence[torch.Generator] = tuple(generators)

    def randn(self, like: Tensor) -> Tensor:
        """Return standard normal noise in the shape, type and device of `like`, `(B, ...)`."""
        return self._draw(torch.randn, like)

    def rand(self, like: Tensor) -> Tensor:
        """Return uniform numbers in [0, 1) in the shape, type and device of `like`, `(B, ...)`."""
        return self._draw(torch.rand, like)

    def _draw(self, function: object, like: Tensor) -> Tensor:
        assert callable(function)
        if like.shape[0] != len(self.generators):
            raise ValueError(f"Streams: expected {len(self.generators)} rows, got {like.shape[0]}")
        out = torch.empty(like.shape, dtype=like.dtype)
        for row, g in zip(out, self.generators, strict=True):
            function(row.shape, generator=g, dtype=like.dtype, out=row)
        return out.to(like.device)


class BlockStreams(Streams):
    """Streams that draw in blocks, for rows of a few numbers: one call of a generator serves many draws.

    Row `i` still comes from generator `i` alone, but the numbers differ from those of `Streams`.
    """

    BLOCK = 256

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        super().__init__(generators)
        self._ahead: dict[tuple[object, torch.dtype], Tensor] = {}

    def _draw(self, function: object, like: Tensor) -> Tensor:
        count = like[:1].numel()
        if count > self.BLOCK // 2:
            return super()._draw(function, like)
        key = (function, like.dtype)
        ahead = self._ahead.get(key)
        if ahead is None or ahead.shape[1] < count:
            ahead = super()._draw(function, torch.empty((like.shape[0], self.BLOCK), dtype=like.dtype))
        self._ahead[key] = ahead[:, count:]
        return ahead[:, :count].reshape(like.shape).to(like.device)
