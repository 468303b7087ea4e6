"""The data residual: 1 for the truth and for exact posterior samples, in every noise."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from invdiff import Problem, simulate
from invdiff.metrics import data_residual
from invdiff.noise import Gaussian, Noise, Poisson
from invdiff.operators import Identity, Inpainting
from invdiff.posterior import ExactPosterior
from invdiff.priors import photograph_gaussian
from invdiff.streams import generator


def mask() -> Tensor:
    return torch.rand(8, 8, generator=generator(3)) < 0.5


@pytest.mark.parametrize("noise", [Gaussian(0.07), Poisson(50.0)])
def test_truth(noise: Noise) -> None:
    x = torch.rand(2, 1, 100, 100, generator=generator(0)) * 0.8 + 0.2
    got = data_residual(simulate(Identity((1, 100, 100)), x, noise, seed=1), x)
    # Mean of 10000 squares of variance about 2 (Poisson's excess is 1 / mean count): 4.5 standard errors of its root.
    assert torch.allclose(got, torch.ones(2, dtype=torch.float64), atol=4.5 * 0.5 * (2.1 / 10_000) ** 0.5)


def test_only_observed_entries_count() -> None:
    x = torch.zeros(1, 1, 8, 8)
    problem = Problem(Inpainting(mask()), Gaussian(0.5), torch.ones(1, 1, 8, 8))
    assert data_residual(problem, x).item() == pytest.approx(2.0)


def test_exact_samples_lie_at_one_and_the_mean_below() -> None:
    prior = photograph_gaussian()
    x = prior.sample(200, (1, 8, 8), generator(1), torch.float64)
    problem = simulate(Inpainting(mask()), x, 0.1, seed=0)
    exact = ExactPosterior(problem, prior)
    squares = data_residual(problem, exact.sample(4, seed=2)).square()
    assert abs(squares.mean() - 1) < 4.5 * squares.std() / 200**0.5
    assert data_residual(problem, exact.mean).max() < 1.2 and data_residual(problem, exact.mean).mean() < 0.95


def test_bad_input() -> None:
    x = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match="expected noise, got Gaussian"):
        data_residual(simulate(Identity((1, 4, 4)), x, 0.0), x)
    with pytest.raises(ValueError, match=r"with B = 1, as many images as measurements, got \(2, 1, 4, 4\)"):
        data_residual(simulate(Identity((1, 4, 4)), x, 0.1), torch.zeros(2, 1, 4, 4))

    @dataclass(frozen=True)
    class Odd(Noise):
        def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
            return clean

        def log_likelihood(self, y: Tensor, clean: Tensor) -> Tensor:
            return clean.sum()

    with pytest.raises(ValueError, match=r"noise that tells its variance, got Odd; derive"):
        data_residual(simulate(Identity((1, 4, 4)), x, Odd()), x)
