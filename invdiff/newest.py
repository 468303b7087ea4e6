"""A cache of the newest objects, by key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """A cache of the newest objects, by key.

    Args:
        size: number of objects that are kept.

    Example:
        >>> newest = Newest[int](1)
        >>> [newest.get(k, lambda: made) for k, made in (("a", 1), ("a", 2), ("b", 3), ("a", 4))]
        [1, 1, 3, 4]
    """

    def __init__(self, size: int) -> None:
        self._size, self._made = size, OrderedDict[Hashable, T]()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the object of a key, or make it."""
        if key not in self._made:
            self._made[key] = make()
        self._made.move_to_end(key)
        while len(self._made) > self._size:
            self._made.popitem(last=False)
        return self._made[key]
