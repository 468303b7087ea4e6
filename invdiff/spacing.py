"""Some of many, evenly spaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def evenly_spaced(items: Sequence[T], count: int | None) -> list[T]:
    """Return `count` items at equal distances, the first and the last among them; all for `None` or too large a count.

    Example:
        >>> evenly_spaced("abcdefg", 4), evenly_spaced("abc", None)
        (['a', 'c', 'e', 'g'], ['a', 'b', 'c'])
    """
    if count is None or count >= len(items):
        return list(items)
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, count).round()]
