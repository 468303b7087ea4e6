"""The table of metrics: each figure is there where it has a meaning, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from invdiff import Reconstruction, simulate
from invdiff.benchmarks.metrics import METRICS, Outcome, check_names, score
from invdiff.metrics import ssim_gaussian
from invdiff.operators import Inpainting
from invdiff.posterior import ExactPosterior
from invdiff.priors import photograph_gaussian
from invdiff.streams import generator

SPREAD = {"coverage_50", "coverage_90", "crps", "spread_skill"}


def outcome(samples: int = 64, *, size: int = 8, factor: float = 1.0, point: bool = False, seed: int = 0) -> Outcome:
    """Exact posterior samples, spread by a factor around the posterior mean."""
    prior = photograph_gaussian()
    x = prior.sample(1, (1, size, size), generator(seed), torch.float64)
    problem = simulate(Inpainting(torch.rand(size, size, generator=generator(1)) < 0.5), x, 0.05, seed=seed)
    exact = ExactPosterior(problem, prior)
    drawn = exact.mean[:, None] + factor * (exact.sample(samples, seed=seed) - exact.mean[:, None])
    return Outcome(x, problem, prior, Reconstruction(drawn), point=point)


def test_every_metric_of_exact_samples() -> None:
    honest, narrow = ([score(outcome(factor=f, seed=s)) for s in range(30)] for f in (1.0, 0.4))
    assert all(set(figures) == set(METRICS) - {"lpips", "ssim_gaussian"} for figures in honest)
    for name, target in (("coverage_50", 0.5), ("coverage_90", 0.9), ("residual", 1.0)):
        found, off = (torch.tensor([figures[name] for figures in rows]) for rows in (honest, narrow))
        assert abs(found.mean() - target) < 4.5 * found.std() / 30**0.5
        assert abs(off.mean() - target) > 4.5 * off.std() / 30**0.5
    for one, other in zip(honest, narrow, strict=True):
        assert other["spread_skill"] == pytest.approx(0.4 * one["spread_skill"], rel=0.1)
        assert other["sliced_wasserstein"] > 1.5 * one["sliced_wasserstein"]


def test_the_ssim_of_papers_is_computed_where_it_is_named() -> None:
    assert {name for name, metric in METRICS.items() if metric.by_name_only} == {"lpips", "ssim_gaussian"}
    large = outcome(2, size=16)
    assert score(large, ["ssim_gaussian"]) == {"ssim_gaussian": float(ssim_gaussian(large.mean, large.truth))}
    assert score(outcome(2, size=8), ["ssim_gaussian"]) == {}


def test_estimates_are_clipped_where_the_truth_lies_in_the_range() -> None:
    # The estimate is off by 0.1 upward, which clipping undoes for white pixels.
    for white, wanted in ((1.0, torch.inf), (1.5, 20.0)):
        x = torch.full((1, 1, 8, 8), white, dtype=torch.float64)
        problem = simulate(Inpainting(torch.ones(8, 8, dtype=torch.bool)), x, 0.1, seed=0)
        made = Outcome(x, problem, photograph_gaussian(), Reconstruction(x[:, None] + 0.1))
        figures = score(made, ["psnr", "psnr_sample"])
        assert figures == {"psnr": pytest.approx(wanted), "psnr_sample": pytest.approx(wanted)}


def test_a_point_estimate_has_no_spread_to_judge() -> None:
    for one in (outcome(point=True), outcome(1)):
        assert set(score(one)) & SPREAD == set()


def test_exact_distance_only_where_it_is_cheap() -> None:
    assert "sliced_wasserstein" not in score(outcome(2, size=33))


def test_named_metrics_only() -> None:
    assert list(score(outcome(2), ["ssim"])) == ["ssim"]
    with pytest.raises(ValueError, match=r"crsp.*crps"):
        check_names(["crsp"])


def test_lpips_without_weights_is_an_error_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    check_names(["psnr"])
    with pytest.raises(ValueError, match="nothing is downloaded"):
        check_names(["psnr", "lpips"])
