"""Two priors over two pixels whose laws are known, and the test that a sample has a law."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from invdiff.priors import GaussianPrior, MixturePrior

D = torch.float64
Law = tuple[Tensor, Tensor]
CheckLaw = Callable[[Tensor, Law], None]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def gaussian() -> GaussianPrior:
    mean = torch.tensor([0.3, 0.6], dtype=D).reshape(1, 1, 2)
    return GaussianPrior(mean, torch.tensor([[0.04, 0.02], [0.02, 0.03]], dtype=D))


@pytest.fixture
def mixture() -> MixturePrior:
    """Two modes, 0.68 apart and about 0.06 wide: 11 widths, so that no local move crosses."""
    means = torch.tensor([[0.25, 0.3], [0.8, 0.7]], dtype=D).reshape(2, 1, 1, 2)
    covariances = torch.tensor([[[0.004, 0.002], [0.002, 0.003]], [[0.003, -0.001], [-0.001, 0.002]]], dtype=D)
    return MixturePrior(torch.tensor([0.7, 0.3], dtype=D), means, covariances)


def law_of(prior: GaussianPrior | MixturePrior) -> Law:
    """Return mean and covariance, exactly."""
    if isinstance(prior, GaussianPrior):
        return prior.mean.flatten(), prior.covariance
    means = prior.means.flatten(1)
    mean = prior.weights @ means
    offset = means - mean
    spread = prior.covariances + offset[:, :, None] * offset[:, None, :]
    return mean, (prior.weights[:, None, None] * spread).sum(0)


def check_law(samples: Tensor, law: Law) -> None:
    """Hold mean and covariance against exact ones, to 4 standard errors of their estimates."""
    x = samples.double().flatten(1)
    n = len(x)
    mean, covariance = law
    error = (covariance.diagonal() / n).sqrt()
    assert bool(((x.mean(0) - mean).abs() < 4 * error).all()), f"mean {x.mean(0)}, expected {mean} within {4 * error}"
    squares = (x - mean)[:, :, None] * (x - mean)[:, None, :]
    error = squares.std(0) / math.sqrt(n)
    found = squares.mean(0)
    assert bool(((found - covariance).abs() < 4 * error).all()), f"{found}, expected {covariance} within {4 * error}"


def check_weights(samples: Tensor, prior: MixturePrior) -> None:
    """Hold the share of each mode, counted by the nearest mean, against its weight, to 4 standard errors."""
    x = samples.double().flatten(1)
    nearest = torch.cdist(x, prior.means.flatten(1)).argmin(1)
    for k, w in enumerate(prior.weights.tolist()):
        share = float((nearest == k).double().mean())
        assert abs(share - w) < 4 * math.sqrt(w * (1 - w) / len(x)), f"mode {k}: share {share}, weight {w}"


@pytest.fixture
def check() -> Callable[[Tensor, GaussianPrior | MixturePrior], None]:
    """Return the check of samples against a prior: moments, and weights of the modes."""

    def run(samples: Tensor, prior: GaussianPrior | MixturePrior) -> None:
        check_law(samples, law_of(prior))
        if isinstance(prior, MixturePrior):
            check_weights(samples, prior)

    return run


@pytest.fixture
def check_moments() -> CheckLaw:
    """Return the check of samples against a mean and a covariance."""
    return check_law
