"""Intervals that cover as often as they promise, tests that find what is there and no more."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from invdiff.benchmarks.results.intervals import Estimate, compare, holm, mean_interval, ranks


@pytest.mark.parametrize(("images", "seeds"), [(5, 1), (8, 3), (20, 2)])
def test_intervals_cover_the_mean_as_often_as_they_promise(images: int, seeds: int) -> None:
    rng, tries, covered, plain = np.random.default_rng(images), 600, 0, 0
    names = np.repeat(np.arange(images), seeds).tolist()
    for i in range(tries):
        values = 3.0 + np.repeat(rng.normal(size=images), seeds) + 0.3 * rng.normal(size=images * seeds)
        got = mean_interval(values.tolist(), names, level=0.9, resamples=500, seed=i)
        covered += got.low <= 3.0 <= got.high
        alone = mean_interval(values.tolist(), list(range(len(values))), level=0.9, resamples=500, seed=i)
        plain += alone.low <= 3.0 <= alone.high
    # Binomial error, and 2 % for what the bootstrap's quantiles leave.
    assert abs(covered / tries - 0.9) < 4 * math.sqrt(0.9 * 0.1 / tries) + 0.02
    if seeds > 1:  # seeds taken for images give intervals that are far too narrow
        assert plain / tries < 0.8


def test_an_image_with_more_seeds_counts_by_its_values() -> None:
    assert mean_interval([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"]).mean == 2.0


def test_one_image_tells_nothing_of_others() -> None:
    got = mean_interval([1.0, 2.0], ["a", "a"])
    assert (got.mean, got.count, got.images) == (1.5, 2, 1) and math.isnan(got.low) and math.isnan(got.high)


def test_intervals_are_reproducible() -> None:
    values, images = [1.0, 4.0, 2.0, 8.0], ["a", "b", "c", "d"]
    assert mean_interval(values, images) == mean_interval(values, images)
    assert isinstance(mean_interval(values, images), Estimate)


def test_paired_tests_find_a_small_difference_between_large_ones() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(25, 5, size=20)  # images differ by far more than solvers
    a = {(str(i), s): float(hard[i] + 0.5 + 0.2 * rng.normal()) for i in range(20) for s in range(2)}
    b = {(str(i), s): float(hard[i] + 0.2 * rng.normal()) for i in range(20) for s in range(2)}
    got = compare(a, b)
    assert got.difference.low > 0 and abs(got.difference.mean - 0.5) < 4.5 * 0.2 * math.sqrt(2 / 40)
    assert max(got.wilcoxon, got.sign, got.bootstrap) < 1e-3
    back = compare(b, a)
    assert back.difference.mean == pytest.approx(-got.difference.mean) and back.wilcoxon == got.wilcoxon


def test_paired_tests_do_not_find_what_is_not_there() -> None:
    rng, tries = np.random.default_rng(1), 400
    found = np.zeros(3)
    for _ in range(tries):
        a, b = ({(str(i), 0): float(v) for i, v in enumerate(rng.normal(size=12))} for _ in range(2))
        got = compare(a, b, resamples=400)
        found += [got.wilcoxon < 0.05, got.sign < 0.05, not got.difference.low <= 0 <= got.difference.high]
    assert (found / tries <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / tries) + np.array([0, 0, 0.02])).all()


def test_tests_are_those_of_scipy_on_the_means_of_the_images() -> None:
    rng = np.random.default_rng(2)
    a = {(str(i), s): float(rng.normal()) for i in range(7) for s in range(3)}
    b = {(str(i), s): float(rng.normal()) for i in range(8) for s in range(2)}  # one image and a seed that a has not
    means = [np.mean([a[str(i), s] - b[str(i), s] for s in range(2)]) for i in range(7)]
    got = compare(a, b)
    assert (got.difference.count, got.difference.images) == (14, 7)
    assert got.wilcoxon == pytest.approx(stats.wilcoxon(means).pvalue)
    assert got.sign == pytest.approx(stats.binomtest(sum(m > 0 for m in means), 7).pvalue)


def test_few_images_prove_nothing() -> None:
    assert compare({("a", 0): 2.0}, {("a", 0): 1.0}).wilcoxon == 1.0
    two = compare({("a", 0): 2.0, ("b", 0): 3.0}, {("a", 0): 1.0, ("b", 0): 1.0})
    assert two.wilcoxon == 0.5 and two.sign == 0.5
    same = compare({("a", 0): 2.0}, {("a", 0): 2.0})
    assert (same.wilcoxon, same.sign, same.bootstrap) == (1.0, 1.0, 1.0)


def test_holm() -> None:
    assert holm([]) == []
    assert holm([0.5, 0.001]) == [0.5, 0.002]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_ranks() -> None:
    got = ranks({"t": {"a": 1.0, "b": 2.0, "c": 2.0}, "u": {"a": 1.0, "b": 0.0}}, higher_is_better=False)
    assert got == {"a": {"t": 1.0, "u": 2.0}, "b": {"t": 2.5, "u": 1.0}, "c": {"t": 2.5}}


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"values: expected numbers, one for each of 2 measurements, got 1"):
        mean_interval([1.0], ["a", "b"])
    with pytest.raises(ValueError, match="got 2, 1 of them NaN"):
        mean_interval([1.0, math.nan], ["a", "b"])
    with pytest.raises(ValueError, match="level"):
        mean_interval([1.0], ["a"], level=1.0)
    with pytest.raises(ValueError, match="none in common"):
        compare({("a", 0): 1.0}, {("a", 1): 1.0})
