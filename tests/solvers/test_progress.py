"""The time left is known from the first evaluation on, with tiles from the first tile on."""

from __future__ import annotations

import pytest

from invdiff.solvers.common.progress import Meter, clock


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_time_left_from_the_first_step_on() -> None:
    now = Clock()
    meter = Meter(400, now=now)
    assert meter.left is None
    now.time += 2
    meter.step()
    assert meter.left == pytest.approx(2 * 399)


def test_time_left_from_the_first_tile_on() -> None:
    now = Clock()
    meter = Meter(10, now=now)
    for k in range(1, 5):
        now.time += 3
        meter.tile(k, 4)
        assert meter.completed == pytest.approx(min(k / 4, 0.99))
        assert meter.left == pytest.approx(3 * k * (10 - meter.completed) / meter.completed)
    meter.tile(1, 4)  # a second pass: the step has more of them than was known
    assert meter.completed == pytest.approx(1.25 / 2)
    for k in (2, 3, 4):
        meter.tile(k, 4)
    meter.step()
    assert meter.completed == 1
    meter.tile(2, 4)
    assert meter.completed == pytest.approx(1 + 0.5 / 2)


def test_steps_of_an_earlier_run_are_no_measure_of_speed() -> None:
    now = Clock()
    meter = Meter(100, now=now)
    for _ in range(60):
        meter.step()
    assert meter.left is None
    now.time += 5
    meter.step()
    assert meter.left == pytest.approx(5 * 39)


def test_times_are_written_in_hours() -> None:
    assert [clock(t) for t in (None, 0.2, 59.6, 3725)] == ["-:--:--", "0:00:00", "0:01:00", "1:02:05"]
