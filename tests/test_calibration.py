"""Intervals that hold the truth as often as they say, whatever the solver believes."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from invdiff import Calibration, Reconstruction
from invdiff.calibration import Setting, half_width, images_needed, upper_bound
from invdiff.calibration.entrywise import fit_widening

SETTING = Setting("blur:sigma=2", "gaussian:std=0.02", "photo 956b1d5b6fea", "daps:steps=25", 4, (3, 64, 64))


def drawn(count: int, narrow: float, seed: int) -> tuple[list[Reconstruction], list[torch.Tensor]]:
    """Return reconstructions of `count` images whose samples are `narrow` times as wide as the truth's law."""
    g = torch.Generator().manual_seed(seed)
    results, truths = [], []
    for _ in range(count):
        centre, scale = torch.randn(1, 1, 12, 12, generator=g), torch.rand(1, 1, 12, 12, generator=g) + 0.1
        own = 0.7 + 0.6 * torch.rand((), generator=g)  # images differ in how wrong they are
        samples = centre[:, None] + narrow * scale * torch.randn(1, 8, 1, 12, 12, generator=g)
        results.append(Reconstruction(samples))
        truths.append(centre + own * scale * torch.randn(1, 1, 12, 12, generator=g))
    return results, truths


def outside(c: Calibration, results: list[Reconstruction], truths: list[torch.Tensor]) -> float:
    lost = []
    for r, x in zip(results, truths, strict=True):
        lower, upper = c.interval(r)
        lost.append(float(((x < lower) | (x > upper)).double().mean()))
    return float(np.mean(lost))


def test_the_guarantee_holds_on_new_images_as_often_as_it_says() -> None:
    new = drawn(400, 0.5, seed=1)
    runs = [Calibration.fit(*drawn(80, 0.5, seed=100 + k), level=0.9, confidence=0.9) for k in range(40)]
    missed = np.array([outside(c, *new) for c in runs])
    # At most 10 % of the calibrations may miss: 9 of 40 or more has probability 0.5 % for a rule that just holds.
    assert (missed > 0.1).sum() <= 8
    assert 1.6 < np.median([c.factor for c in runs]) < 4.0  # samples are half as wide as they should be
    assert np.mean(missed) > 0.03  # not by making the intervals endless


def test_control_on_average_holds_on_average_and_is_narrower() -> None:
    new = drawn(400, 0.5, seed=2)
    calibrations = [Calibration.fit(*drawn(20, 0.5, seed=300 + k), level=0.9, confidence=None) for k in range(30)]
    missed = np.array([outside(c, *new) for c in calibrations])
    assert missed.mean() <= 0.1 + 3 * missed.std() / math.sqrt(30)
    assert missed.mean() > 0.05
    sure = Calibration.fit(*drawn(30, 0.5, seed=5), level=0.9, confidence=0.9)
    assert Calibration.fit(*drawn(30, 0.5, seed=5), level=0.9, confidence=None).factor < sure.factor


@pytest.mark.parametrize(("a", "b"), [(1.0, 9.0), (0.3, 3.0), (20.0, 180.0)])
def test_the_bound_is_above_the_mean_with_its_confidence(a: float, b: float) -> None:
    rng = np.random.default_rng(0)
    bounds = np.array([upper_bound(rng.beta(a, b, 60), 0.1) for _ in range(300)])
    failures = (bounds < a / (a + b)).sum()
    assert failures <= 300 * 0.1 + 3 * math.sqrt(300 * 0.1 * 0.9)
    assert np.median(bounds) < a / (a + b) + 0.1


def test_too_few_images_say_how_many_are_needed() -> None:
    needed = images_needed(0.9, 0.9)
    with pytest.raises(ValueError, match=f"at least {needed} images for level 0.9 with confidence 0.9, got 3"):
        Calibration.fit(*drawn(3, 1.0, seed=0))
    with pytest.raises(ValueError, match=r"at least 9 images for level 0\.9 on average, got 8"):
        Calibration.fit(*drawn(8, 1.0, seed=0), confidence=None)
    c = Calibration.fit(*drawn(needed, 1.0, seed=0))
    assert c.images == needed and c.covered > 0.9
    assert upper_bound(np.zeros(needed), 0.1) <= 0.1 < upper_bound(np.zeros(needed - 1), 0.1)


@pytest.mark.parametrize(("level", "confidence"), [(0.0, 0.9), (1.0, 0.9), (0.9, 1.0), (math.nan, 0.9), (90, None)])
def test_probabilities_are_checked(level: float, confidence: float | None) -> None:
    with pytest.raises(ValueError, match=r"expected a probability in \(0, 1\)"):
        Calibration.fit(*drawn(2, 1.0, seed=0), level=level, confidence=confidence)


def test_a_calibration_is_kept_and_refuses_another_setting(tmp_path: Path) -> None:
    results, truths = drawn(30, 0.8, seed=0)
    c = Calibration.fit(results, truths, setting=SETTING)
    c.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == c
    c.check(dataclasses.replace(SETTING))
    for name, value in {"operator": "identity", "prior": "photo 1", "samples": 8, "shape": (3, 16, 16)}.items():
        with pytest.raises(ValueError, match=name):
            c.check(dataclasses.replace(SETTING, **{name: value}))  # type: ignore[arg-type]
    widths = [float(c.factor * half_width(r, 0.9).double().mean()) for r in results]
    assert c.width == pytest.approx(float(np.mean(widths)), rel=1e-6)
    assert "with confidence 0.9, at least 90 % of the pixels" in c.statement


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="invdiff calibrate"):
        Calibration.load(tmp_path / "no.json")
    file = tmp_path / "c.json"
    for text in ("{", "[]", json.dumps({"format": "other"}), json.dumps({"format": "invdiff.calibration/1"})):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"c\.json: expected what invdiff calibrate writes"):
            Calibration.load(file)


def test_an_estimate_of_the_solver_is_the_centre() -> None:
    samples = torch.randn(1, 5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    plain, better = Reconstruction(samples), Reconstruction(samples, estimate=torch.zeros(1, 1, 4, 4))
    assert torch.equal(better.mean, torch.zeros(1, 1, 4, 4))
    lower, upper = better.interval(0.9)
    assert torch.allclose(lower, -upper)
    a, b = ((r.interval(0.9)[1] - r.interval(0.9)[0]) for r in (plain, better))
    assert torch.allclose(a, b)  # it is taken to have the error of a mean over the samples


def test_intervals_of_honest_samples_cover_their_level() -> None:
    g = torch.Generator().manual_seed(0)
    draws = torch.randn(1, 5, 1, 100, 100, generator=g)
    for level in (0.5, 0.9):
        lower, upper = Reconstruction(draws[:, :4]).interval(level)
        inside = float(((draws[:, 4] >= lower) & (draws[:, 4] <= upper)).double().mean())
        assert abs(inside - level) < 4 * math.sqrt(level * (1 - level) / 1e4)
    with pytest.raises(ValueError, match="at least 2 samples"):
        Reconstruction(draws[:, :1]).interval()
    with pytest.raises(ValueError, match="level"):
        Reconstruction(draws).interval(1.5)


def uneven(count: int, seed: int) -> tuple[list[Reconstruction], list[torch.Tensor]]:
    """Return reconstructions whose small half-widths are far too small, and whose large ones are right."""
    g = torch.Generator().manual_seed(seed)
    results, truths = [], []
    for _ in range(count):
        small = torch.rand(1, 1, 16, 16, generator=g) < 0.5
        samples = torch.where(small, 0.02, 0.5)[:, None] * torch.randn(1, 8, 1, 16, 16, generator=g)
        results.append(Reconstruction(samples, estimate=torch.zeros(1, 1, 16, 16)))
        truths.append(torch.where(small, 0.06, 0.5) * torch.randn(1, 1, 16, 16, generator=g))
    return results, truths


def test_factors_of_groups_keep_the_guarantee_with_narrower_intervals(tmp_path: Path) -> None:
    new = uneven(300, seed=1)
    one = [Calibration.fit(*uneven(120, seed=10 + k)) for k in range(20)]
    two = [Calibration.fit(*uneven(120, seed=10 + k), groups=2) for k in range(20)]
    missed = np.array([outside(c, *new) for c in two])
    assert (missed > 0.1).sum() <= 6  # at most 10 % may miss: 7 or more of 20 has probability 0.2 %
    assert missed.mean() > 0.05

    def width(calibrations: list[Calibration]) -> float:
        return float(np.mean([c.width for c in calibrations]))

    assert width(two) < 0.8 * width(one)
    assert two[0].images == 90 and two[0].widening is not None
    assert two[0].widening.factors[0] > 1.5 * two[0].widening.factors[1]
    two[0].save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == two[0]


def test_groups_need_images_of_their_own() -> None:
    with pytest.raises(
        ValueError, match=r"at least 34 images for level 0\.9 with confidence 0\.9 and 3 groups, got 25"
    ):
        Calibration.fit(*uneven(25, seed=0), groups=3)
    with pytest.raises(ValueError, match="groups: expected a number of at least 1, got 0"):
        Calibration.fit(*uneven(40, seed=0), groups=0)


def test_the_factors_of_groups_are_the_best_ones() -> None:
    """Two groups with errors of known laws: no pair of factors on a grid is narrower on average."""
    g = np.random.default_rng(0)
    half = np.repeat([0.1, 1.0], 20000)
    error = np.abs(g.standard_normal(40000)) * np.repeat([0.3, 0.8], 20000)
    found = fit_widening(np.stack([half, error]).astype(np.float32), 0.9, 2)
    a, b = np.meshgrid(np.linspace(0, 12, 241), np.linspace(0, 3, 241))
    missed = [np.searchsorted(np.sort(e / h), f, side="right") / 20000 for e, h, f in
              ((error[:20000], 0.1, a), (error[20000:], 1.0, b))]  # fmt: skip
    enough = (missed[0] + missed[1]) / 2 >= 0.9
    least = float(np.where(enough, 0.1 * a + b, np.inf).min())
    assert found.factors[0] * 0.1 + found.factors[1] < 1.01 * least
