"""Checks of numbers: what they take, and what they say."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import pytest

from invdiff.checks import check_count, check_number, integer, number


@dataclass
class Thing:
    share: Any = 0.5
    steps: Any = 3


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (math.nan, {}, "a: expected a finite number, got nan"),
        (-math.inf, {}, "a: expected a finite number, got -inf"),
        (True, {}, "a: expected a finite number, got True"),
        ("1", {}, "a: expected a finite number, got '1'"),
        (-1, {"low": 0}, "a: expected a finite number >= 0, got -1"),
        (0, {"low": 0, "positive": True}, "a: expected a finite number > 0, got 0"),
        (2.0, {"low": 0, "high": 1}, "a: expected a number in [0, 1], got 2.0"),
        (0.0, {"low": 0, "high": 1, "positive": True}, "a: expected a number in (0, 1], got 0.0"),
        (0, {"positive": True, "expected": "a length", "hint": "give one"}, "a: expected a length, got 0; give one"),
    ],
)
def test_numbers_that_are_refused(value: object, bounds: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        number("a", value, **bounds)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (1.0, {}, "a: expected an integer, got 1.0"),
        (False, {"low": 0}, "a: expected an integer >= 0, got False"),
        (0, {"low": 1}, "a: expected an integer >= 1, got 0"),
        (9, {"low": 1, "high": 8}, "a: expected an integer from 1 to 8, got 9"),
        (0, {"low": 1, "expected": "some", "hint": "give one"}, "a: expected some, got 0; give one"),
    ],
)
def test_integers_that_are_refused(value: object, bounds: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        integer("a", value, **bounds)


def test_numbers_that_are_taken() -> None:
    assert (number("a", 2, 0, 2), integer("a", 8, 1, 8)) == (2.0, 8)
    assert type(number("a", 2)) is float
    check_number(Thing(), "share", 0, 1, positive=True)
    check_count(Thing(), "steps", 3)


def test_attributes_are_named_with_their_class() -> None:
    for share, bounds, expected in (
        (0.0, {"positive": True}, "a positive number"),
        (2.0, {"high": 1.0, "positive": True}, "a positive number up to 1"),
        (-1.0, {"high": 1.0}, "a number in [0, 1]"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"Thing: share: expected {expected}, got {share}")):
            check_number(Thing(share), "share", 0, **bounds)
    with pytest.raises(ValueError, match="Thing: steps: expected an integer >= 1, got 0"):
        check_count(Thing(steps=0), "steps")
