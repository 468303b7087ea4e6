"""The rule behind the table of `auto`, on errors whose best weights are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from invdiff.benchmarks.tuning.choosing import Cell, best_sampler, choose, combine, coverage, psnr, weigh
from invdiff.solvers.choice.kinds import Kind
from invdiff.solvers.choice.table import EFFORTS, SAMPLES

Array = NDArray[np.float64]


def cell(errors: Array, cost: float = 10.0, *, point: bool = False, width: float = 0.2, crps: float = 0.1) -> Cell:
    e, nothing = errors.astype(np.float32), np.zeros((0, 0), np.float32)
    if point:
        return Cell(e, cost, cost, False, nothing, math.nan)
    return Cell(e, cost, cost, True, np.full_like(e, width), crps)


def independent(*scales: float) -> list[Array]:
    """Return orthogonal errors of 3 images, with these standard deviations."""
    base = np.linalg.qr(np.random.default_rng(0).standard_normal((60, len(scales))))[0].T * math.sqrt(60)
    return [np.stack([s * b] * 3) for s, b in zip(scales, base, strict=True)]


def test_weights_are_inverse_to_the_variances_of_independent_errors() -> None:
    a, b = independent(0.1, 0.2)
    value, weights = weigh([{"a": cell(a), "b": cell(b)}], ["a", "b"])
    assert weights == (0.8, 0.2)  # 1 / 0.01 to 1 / 0.04
    assert value == pytest.approx(-10 * math.log10(0.01 * 0.8), abs=1e-6)
    assert psnr(a.astype(np.float32)) == pytest.approx(20.0, abs=1e-4)


def test_a_solver_that_costs_too_much_or_gains_nothing_is_left_out() -> None:
    a, b, c = independent(0.1, 0.1, 0.1)
    problem = {"a": cell(a), "b": cell(b, 100.0), "c": cell(a + 1e-6 * c, 5.0)}
    assert combine([problem], 60.0, "a")[0] == {"a": 1.0}
    weights, _ = combine([problem], 200.0, "a")
    assert weights["b"] == pytest.approx(0.5) and "c" not in weights
    assert combine([problem], 60.0, None)[0] == {"c": 1.0}  # as good as the other one, and cheaper
    with pytest.raises(ValueError, match="no candidate within 1 evaluations"):
        combine([problem], 1.0, None)


def test_the_sampler_is_honest_first_and_sharp_second() -> None:
    (e,) = independent(0.1)  # normal errors: 1.64 standard deviations hold 90 %
    problem = {
        "sure": cell(e, width=0.05, crps=0.01),
        "sharp": cell(e, width=0.15, crps=0.05),
        "wide": cell(e, width=0.18, crps=0.08),
        "estimate": cell(0.5 * e, point=True),
    }
    assert best_sampler([{k: v for k, v in problem.items() if k != "estimate"}], 60.0).sampler == "sharp"
    assert best_sampler([problem], 60.0).weights == {"estimate": 1.0}
    assert best_sampler([{"a": cell(e, width=0.02), "b": cell(e, width=0.04)}], 60.0).sampler == "b"
    with pytest.raises(ValueError, match="no sampler within 5 evaluations"):
        best_sampler([problem], 5.0)


def test_a_sharp_sampler_may_cost_a_tenth_of_a_decibel() -> None:
    a, b, c = (k * x for k, x in zip((1.0, 1.005, 1.05), independent(0.1, 0.1, 0.1), strict=True))
    near = {"better": cell(a, 40.0, width=0.16, crps=0.06), "sharp": cell(b, 40.0, width=0.16, crps=0.05)}
    far = near | {"sharp": cell(c, 40.0, width=0.16, crps=0.05)}
    assert best_sampler([near], 60.0).sampler == "sharp"
    assert best_sampler([far], 60.0).sampler == "better"


def test_a_sampler_must_be_honest_around_its_own_mean_too() -> None:
    """The first one's samples lie far from the truth; around the good estimate its intervals hold it all the same."""
    a, b = independent(0.1, 0.1)
    estimate = cell(0.1 * a, point=True)
    problem = {
        "astray": cell(3 * a, width=0.017, crps=0.01),
        "honest": cell(b, width=0.165, crps=0.05),
        "estimate": estimate,
    }
    found = best_sampler([problem], 60.0)
    assert found.sampler == "honest" and found.weights == {"estimate": 1.0}
    assert coverage(problem, "astray", {"estimate": 1.0}) > 0.8


def test_coverage_is_that_of_the_weighted_mean() -> None:
    a, b = independent(0.1, 0.1)
    problem = {"a": cell(a, width=0.1), "b": cell(b, point=True)}
    both = float(np.mean(np.abs(0.5 * a + 0.5 * b) <= 0.1))
    assert coverage(problem, "a", {"a": 0.5, "b": 0.5}) == pytest.approx(both)
    alone = coverage(problem, "a", {"a": 1.0})
    assert alone == pytest.approx(float(np.mean(np.abs(a) <= 0.1))) and alone < both


def test_rows_name_the_samplers_own_mean() -> None:
    a, b = independent(0.1, 0.1)
    rows = choose({(Kind.LINEAR, None): [{"daps": cell(a), "pnp": cell(b, 2.0, point=True)}]})
    assert [r["effort"] for r in rows] == list(EFFORTS)
    assert rows[0]["sampler"] == "daps" and rows[0]["mean"] == {SAMPLES: 0.5, "pnp": 0.5}
    assert rows[0]["estimate"] == {"pnp": 0.5, "daps": 0.5}
    assert rows[0]["measured"]["psnr"] == pytest.approx(23.01, abs=0.01)
