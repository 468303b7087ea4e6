"""Checks of numbers from a caller, one function for each kind, with one form of message.

CLASS: NAME: expected WHAT, got VALUE; HINT
"""

from __future__ import annotations

import math
from typing import Any

from .errors import UserError


def is_number(value: object) -> bool:
    """Return whether a value is an integer or a float; a boolean is neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(
    where: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    positive: bool = False,
    expected: str = "",
    hint: str = "",
) -> float:
    """Return a finite number in `[low, high]`.

    Args:
        where: prefix of the message, such as `DPS: scale`.
        value: the given value.
        low: smallest allowed value.
        high: largest allowed value.
        positive: whether zero and negative numbers are excluded.
        expected: description of valid values; by default from the bounds.
        hint: the remedy; by default none.

    Raises:
        ValueError: another value.

    Example:
        >>> number("DPS: scale", 2, 0)
        2.0
        >>> number("DPS: eta", 2.0, 0, 1)
        Traceback (most recent call last):
        invdiff.errors.UserError: DPS: eta: expected a number in [0, 1], got 2.0
    """
    if is_number(value) and math.isfinite(value) and low <= value <= high and not (positive and value <= 0):
        return float(value)
    if not expected:
        if high < math.inf:
            expected = f"a number in {'(' if positive else '['}{low:g}, {high:g}]"
        else:
            bound = " > 0" if positive else f" >= {low:g}" if low > -math.inf else ""
            expected = f"a finite number{bound}"
    raise UserError(f"{where}: expected {expected}, got {value!r}" + (f"; {hint}" if hint else ""))


def integer(
    where: str, value: Any, low: int | None = None, high: int | None = None, *, expected: str = "", hint: str = ""
) -> int:
    """Return an integer in `[low, high]`; the arguments and errors are those of `number`.

    Example:
        >>> integer("DPS: seed", -1, 0)
        Traceback (most recent call last):
        invdiff.errors.UserError: DPS: seed: expected an integer >= 0, got -1
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and (low is None or value >= low) and (high is None or value <= high):
        return int(value)
    if not expected:
        bound = "" if low is None else f" >= {low}" if high is None else f" from {low} to {high}"
        expected = f"an integer{bound}"
    raise UserError(f"{where}: expected {expected}, got {value!r}" + (f"; {hint}" if hint else ""))


def check_number(owner: Any, name: str, low: float, high: float = math.inf, *, positive: bool = False) -> None:
    """Raise a ValueError unless an attribute is a finite number in `[low, high]`.

    Args:
        owner: the object.
        name: the attribute.
        low: smallest allowed value.
        high: largest allowed value.
        positive: whether zero is excluded.
    """
    words = "a positive number" + (f" up to {high:g}" if high < math.inf else "") if positive else ""
    number(f"{type(owner).__name__}: {name}", getattr(owner, name), low, high, positive=positive, expected=words)


def check_count(owner: Any, name: str, low: int = 1) -> None:
    """Raise a ValueError unless an attribute is an integer of at least `low`."""
    integer(f"{type(owner).__name__}: {name}", getattr(owner, name), low)
