"""Checks of values of options."""

from __future__ import annotations

from typing import Any

from ...checks import is_number
from ...errors import UserError


def pair(owner: str, name: str, value: Any, kind: type = int) -> tuple[Any, Any]:
    """Return two numbers from one or two, or raise a ValueError."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(is_number(v) and (kind is float or isinstance(v, int)) for v in values):
        raise UserError(f"{owner}: {name}: expected one number or [height, width], got {value!r}")
    return kind(values[0]), kind(values[1])
