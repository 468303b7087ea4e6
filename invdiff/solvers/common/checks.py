"""Checks of hyper-parameters that solvers share."""

from __future__ import annotations

import math
from typing import Any


def check_number(solver: Any, name: str, low: float, high: float = math.inf, *, positive: bool = False) -> None:
    """Raise unless a parameter is a finite number in `[low, high]`.

    Args:
        solver: the solver.
        name: the parameter's name.
        low: smallest value allowed.
        high: largest value allowed.
        positive: whether zero is excluded as well.

    Raises:
        ValueError: it is not; the message names class, parameter, what was expected and what came.
    """
    value = getattr(solver, name)
    ok = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    if ok and low <= value <= high and not (positive and value <= 0):
        return
    expected = f"a number in [{low:g}, {high:g}]" if high < math.inf else f"a finite number >= {low:g}"
    if positive:
        expected = "a positive number" + (f" up to {high:g}" if high < math.inf else "")
    raise ValueError(f"{type(solver).__name__}: {name}: expected {expected}, got {value!r}")


def check_count(solver: Any, name: str, low: int = 1) -> None:
    """Raise unless a parameter is an integer of at least `low`; see `check_number`."""
    value = getattr(solver, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{type(solver).__name__}: {name}: expected an integer >= {low}, got {value!r}")
