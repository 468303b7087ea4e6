"""Memory: whether a requested array fits in this machine, and the bound that a reconstruction keeps.

A solve of a picture of `n` values, with `s` samples, holds

    BASE + (SOLVING + s) 4 n + one evaluation of the network

bytes at most while it runs, and `BASE + (WRITING + s) 4 n` while its files are written, with `SPREAD` arrays more for
several samples. The terms without the network are measured; what remains of the bound is for an evaluation, which the
prior keeps by tiles. Nothing here depends on what else runs on the machine, so the same command gives the same bits.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from typing import Protocol, Self, TypeVar

from .errors import UserError

BYTES = 4
"""Bytes of one value in float32."""
BASE = 0.95e9
"""Bytes of the process with its libraries, the weights of a network and what its allocator keeps."""
SOLVING = 11
"""Arrays of the size of the picture, in float32, that a solver holds beside the samples."""
WRITING = 14
"""Arrays of that size that are held while the files of a result are written, beside the samples."""
SPREAD = 4
"""Arrays more for the intervals of several samples."""
SHARE = 0.25
"""Part of the machine's memory that is the bound where none is stated."""
UNITS = {"": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


class Bounded(Protocol):
    """What evaluates a network in bounded memory: a prior."""

    @property
    def least_memory(self) -> float:
        """Bytes of the smallest evaluation."""

    def within(self, memory: float) -> Self:
        """Return the same with evaluations of at most as many bytes."""


P = TypeVar("P", bound=Bounded)


def bounded(prior: P, memory: str | float | None, shape: Iterable[int], samples: int) -> P:
    """Return a prior whose evaluations keep the peak memory of a reconstruction below a bound.

    Args:
        prior: the prior.
        memory: the bound: bytes, or text such as "4GB"; by default a quarter of the machine's memory.
        shape: of the picture, `(C, H, W)`.
        samples: number of samples that are held.

    Raises:
        ValueError: a bound that is too small for the picture and one tile of it; the message has the least one.

    Example:
        >>> parse_memory("4GB")
        4000000000.0
    """
    array = BYTES * math.prod(shape)
    held = BASE + (SOLVING + samples) * array
    written = BASE + (WRITING + samples + (SPREAD if samples > 1 else 0)) * array
    least = max(held + prior.least_memory, written)
    stated = _memory() * SHARE if memory is None else parse_memory(memory)
    if memory is not None and stated < least and prior.least_memory > 0:
        size = " x ".join(map(str, shape))
        raise UserError(
            f"memory: expected at least {math.ceil(least / 1e8) / 10:g}GB for {samples} samples of a picture of {size} "
            f"values and one tile of it, got {memory}; state as much, or ask for fewer samples"
        )
    left = max(stated - held, prior.least_memory)
    return prior.within(left) if math.isfinite(left) else prior


def parse_memory(memory: str | float) -> float:
    """Return a number of bytes from a number or from text such as "4GB" or "512 MiB".

    Raises:
        ValueError: no positive amount.
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([A-Za-z]*)\s*", str(memory))
    try:
        amount = float(found[1]) * UNITS[found[2].upper()] if found else 0.0
    except (KeyError, ValueError):
        amount = 0.0
    if not amount > 0 or not math.isfinite(amount):
        raise UserError(f"memory: expected an amount such as 4GB or 512MB, got {memory!r}")
    return amount


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
