"""Curves of calibration that a cell keeps: those of the metrics, of all samples, whatever range they have."""

from __future__ import annotations

import numpy as np
import torch

from invdiff import Reconstruction, simulate
from invdiff.benchmarks.execution.gallery import BINS, LEVELS, pictures, reliability
from invdiff.benchmarks.metrics import Outcome
from invdiff.metrics import coverage, rank_histogram
from invdiff.operators import Identity
from invdiff.priors import photograph_gaussian


def draws(count: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x = 3 + torch.randn(1, count + 1, 1, 40, 40, generator=g, dtype=torch.float64)  # far outside [0, 1]
    return 3 + scale * (x[:, :count] - 3), x[:, count]


def test_honest_draws() -> None:
    samples, truth = draws(6)
    got = reliability(samples, truth)
    assert np.allclose(got["covered"], LEVELS, atol=4.5 * np.sqrt(0.25 / 1600))
    assert np.allclose(got["ranks"], 1 / 7, atol=4.5 * np.sqrt(1 / 7 / 1600))
    assert got["spread"].shape == got["skill"].shape == (BINS,)
    narrow = reliability(*draws(6, 0.5))
    assert (narrow["covered"][2:] < got["covered"][2:] - 0.1).all()


def test_they_are_the_metrics() -> None:
    samples, truth = draws(3)
    got = reliability(samples, truth)
    assert np.isclose(got["covered"][LEVELS.index(0.9)], coverage(samples, truth, level=0.9).item())
    assert np.allclose(got["ranks"], rank_histogram(samples, truth)[0])


def test_a_cell_keeps_them_where_its_samples_differ() -> None:
    samples, truth = draws(6)
    problem = simulate(Identity((1, 40, 40)), truth, 0.1, seed=0)
    outcome = Outcome(truth, problem, photograph_gaussian(), Reconstruction(samples))
    kept = pictures(outcome)
    assert len(kept["samples"]) == 4 and len(kept["ranks"]) == 7  # pictures of some samples, curves of all
    point = Outcome(truth, problem, photograph_gaussian(), Reconstruction(samples), point=True)
    assert "ranks" not in pictures(point)
