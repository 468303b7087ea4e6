"""Checks of values of options."""

from __future__ import annotations

from typing import Any


def pair(owner: str, name: str, value: Any, kind: type = int) -> tuple[Any, Any]:
    """Return two numbers from one or two, or raise a ValueError."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    numbers = (int,) if kind is int else (int, float)
    if len(values) != 2 or not all(isinstance(v, numbers) and not isinstance(v, bool) for v in values):
        raise ValueError(f"{owner}: {name}: expected one number or [height, width], got {value!r}")
    return kind(values[0]), kind(values[1])


def number(owner: str, name: str, value: Any) -> float:
    """Return a number, or raise a ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{owner}: {name}: expected a number, got {value!r}")
    return float(value)


def integer(owner: str, name: str, value: Any) -> int:
    """Return an integer, or raise a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{owner}: {name}: expected an integer, got {value!r}")
    return value
