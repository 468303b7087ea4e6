"""A check, before any work, that a requested array fits in this machine's memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

from .errors import UserError

BYTES = 4
"""Bytes of one value in float32."""


def check_fits(what: str, sizes: Iterable[int], advice: str) -> None:
    """Raise unless an array of float32 fits in the memory of this machine.

    Args:
        what: the argument or option that requests it, for the message.
        sizes: of the array.
        advice: the remedy, for the message.

    Raises:
        ValueError: it does not fit.

    Example:
        >>> check_fits("n", (10**9, 512, 512), "ask for fewer")
        Traceback (most recent call last):
        ...
        invdiff.errors.UserError: n: expected what fits in the memory, got 1000000000 x 512 x 512 values; ask for fewer
    """
    known = tuple(sizes)
    if BYTES * math.prod(known) > _memory():
        shape = " x ".join(map(str, known))
        raise UserError(f"{what}: expected what fits in the memory, got {shape} values; {advice}")


def _memory() -> float:
    """Return the bytes of this machine's memory; infinity if the system does not report them."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return math.inf
