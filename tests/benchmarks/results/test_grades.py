"""Grades as a screen and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from invdiff.benchmarks.results.grades import COLUMNS, EXACT, Column, Graded, as_json, reasons, screen, short
from invdiff.benchmarks.results.grades_page import chance, grades_page
from invdiff.testing.hard import HARD
from invdiff.testing.solver import Grade

GOOD = Grade(
    bias=0.04, variance_ratio=1.0, coverage_50=0.5, coverage_90=0.9, distance=0.1, floor=0.1, worst_ratio=1.23,
    chance=(0.69, 1.38), chi_square=1.0, modes=None, samples=200, nfe=100, seconds=1.0, status="ok",
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, ".00"), (0.004, ".00"), (0.994, ".99"), (0.996, "1.0"), (9.94, "9.9"), (9.96, " 10"), (999.4, "999"),
        (999.6, "1e3"), (253.0, "253"), (4.6e9, "5e9"), (9.9e9, "e10"), (math.inf, "inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_numbers_have_three_characters(value: float, text: str) -> None:
    assert short(value) == text


def test_every_hard_problem_has_a_column() -> None:
    placed = [p for columns in COLUMNS.values() for c in columns for p in c.problems]
    assert sorted(placed) == sorted(HARD)
    assert all(len(c.head) <= 11 for columns in COLUMNS.values() for c in columns)


def test_a_cell_shows_the_worst_direction_the_bias_and_the_coverage() -> None:
    (head, row) = screen([Graded("dps", "plain", GOOD)], COLUMNS["more"])
    assert head == ["solver", "plain"]  # columns without grades are left out
    assert row == ["dps", "1.2 .04 90 "]


def test_marks_and_groups_and_modes() -> None:
    columns = (Column("gains", ("a", "b")), Column("c", ("c",)), Column("modes", ("d",), modes=True))
    low, high = replace(GOOD, worst_ratio=0.2, bias=1.6), replace(GOOD, worst_ratio=4.0, bias=7.0)
    graded = [
        Graded("one", "a", high), Graded("one", "b", low), Graded("one", "c", replace(GOOD, status="misfit")),
        Graded("one", "d", replace(GOOD, modes=0.45)),
        Graded("two", "a", replace(high, status="diverged")), Graded("two", "b", low),
        Graded("two", "c", None, "needs more"), Graded("two", "d", replace(GOOD, modes=1.0, status="misfit")),
        Graded("three", "a", replace(low, status="unheard of")), Graded("three", "b", None, "needs more"),
        Graded("three", "c", replace(GOOD, worst_ratio=0.0, coverage_90=1.0)), Graded("three", "d", None, "too large"),
    ]  # fmt: skip
    assert screen(graded, columns)[1:] == [
        ["one", ".20 1.6 90 ", "1.2 .04 90!", "0.45 "],
        ["two", ".20 1.6 90x", "-", "1.00!"],
        ["three", ".20 1.6 90?", ".00 .04 99 ", "-"],
    ]
    assert reasons(graded) == ["two: needs more (c)", "three: needs more (b)", "three: too large (d)"]


def test_a_screen_of_all_columns_has_at_most_a_hundred_characters() -> None:
    for columns in COLUMNS.values():
        worst = replace(GOOD, worst_ratio=3e5, bias=123.0, coverage_90=1.0, modes=1.0, status="misfit")
        graded = [Graded("score_sde", p, worst) for c in columns for p in c.problems]
        rows = screen(graded, columns)
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        assert sum(widths) + len(widths) - 1 <= 100


def test_json_has_every_figure_and_no_number_that_json_has_not() -> None:
    broken = replace(GOOD, bias=math.nan, worst_ratio=math.inf)
    rows = as_json([Graded("a", "plain", GOOD), Graded("b", "plain", broken), Graded("c", "plain", None, "why")])
    assert rows[0]["worst_ratio"] == 1.23 and rows[0]["chance"] == [0.69, 1.38] and rows[0]["status"] == "ok"
    assert rows[1]["bias"] is None and rows[1]["worst_ratio"] is None
    assert rows[2] == {"solver": "c", "problem": "plain", "reason": "why"}
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_page_explains_its_problems_and_who_is_missing() -> None:
    hard = [Graded(EXACT, "one-pixel", replace(GOOD, chance=(0.76, 1.28))), Graded(EXACT, "ct-5-views", GOOD)]
    hard += [Graded("ddrm", "one-pixel", GOOD), Graded("ddrm", "ct-5-views", None, "needs a closed form")]
    text = grades_page({"ordinary": [Graded("dps", "modes", GOOD)], "hard": hard}, 200)
    assert "| dps | modes | 0.04 | 1.00 |" in text
    assert f"- `one-pixel`: {HARD['one-pixel']}." in text and "- `tiny-noise`" not in text
    assert "| solver | one pixel | CT 5 views |" in text
    assert "| ddrm | 1.2 .04 90 | - |" in text
    assert "- ddrm: needs a closed form (ct-5-views)" in text
    assert "from 0.76 to 1.28, or from 0.69 to 1.38" in chance(hard)
