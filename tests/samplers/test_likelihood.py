"""Likelihoods along the probability flow against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from invdiff.priors import GaussianPrior, MixturePrior
from invdiff.samplers.likelihood import ExactTrace, Hutchinson, bits_per_dim, exact_trace, log_prob

D = torch.float64
LOW, HIGH = 0.002, 80.0


@pytest.fixture(params=["gaussian", "mixture"])
def prior(request: pytest.FixtureRequest) -> GaussianPrior | MixturePrior:
    found: GaussianPrior | MixturePrior = request.getfixturevalue(request.param)
    return found


def draw(prior: GaussianPrior | MixturePrior, n: int) -> torch.Tensor:
    return prior.sample(n, torch.Generator().manual_seed(0), D)


def test_exact_trace_gives_the_closed_form(prior: GaussianPrior | MixturePrior) -> None:
    """To 2e-4 nats at 150 steps; images far out in the tails as well."""
    x = torch.cat([draw(prior, 30), draw(prior, 5) + 0.5])
    found = log_prob(prior, x, steps=150, sigma_min=LOW, sigma_max=HIGH)
    torch.testing.assert_close(found.nats, prior.log_prob(x, LOW), rtol=1e-5, atol=2e-4)
    assert bool((found.standard_error == 0).all())
    assert found.nfe == 601


def test_integrator_is_of_order_four(prior: GaussianPrior | MixturePrior) -> None:
    """Measured against a fine run, so that the error of the last density drops out."""
    x = draw(prior, 5)
    fine = log_prob(prior, x, steps=400, sigma_min=LOW, sigma_max=10.0).nats
    errors = [(log_prob(prior, x, steps=k, sigma_min=LOW, sigma_max=10.0).nats - fine).norm() for k in (60, 120)]
    assert math.log2(float(errors[0] / errors[1])) == pytest.approx(4, abs=0.5)


def test_error_of_the_last_density_falls_with_the_highest_level(prior: GaussianPrior | MixturePrior) -> None:
    x = draw(prior, 10)
    errors = [
        (log_prob(prior, x, steps=300, sigma_min=LOW, sigma_max=h).nats - prior.log_prob(x, LOW)).norm()
        for h in (2.5, 10)
    ]
    assert math.log(float(errors[0] / errors[1]), 4) == pytest.approx(2, abs=0.4)


def test_hutchinson_agrees_within_its_error() -> None:
    """Standardised errors of 200 images of 6 pixels: no bias, and a mean square of 15 / 13, as Student's law has."""
    root = torch.randn((2, 6, 6), generator=torch.Generator().manual_seed(1), dtype=D)
    means = torch.stack([torch.zeros(1, 2, 3), torch.full((1, 2, 3), 0.8)]).double()
    prior = MixturePrior(torch.tensor([0.6, 0.4]), means, 0.005 * root @ root.mT + 0.002 * torch.eye(6, dtype=D))
    x = draw(prior, 200)
    found = log_prob(prior, x, steps=60, trace=Hutchinson(probes=16), sigma_min=LOW, sigma_max=HIGH)
    z = (found.nats - prior.log_prob(x, LOW)) / found.standard_error
    assert float(found.standard_error.median()) > 0.05
    assert abs(float(z.mean())) < 4 * math.sqrt(15 / 13 / 200)
    # The square of Student's variable with 15 degrees of freedom has variance 3.39.
    assert float(z.square().mean()) == pytest.approx(15 / 13, abs=4 * math.sqrt(3.39 / 200))
    single = log_prob(prior, x[:3], steps=5, trace=Hutchinson(probes=1), sigma_min=LOW, sigma_max=HIGH)
    assert bool(single.standard_error.isnan().all())


def test_hutchinson_is_exact_for_a_diagonal_jacobian() -> None:
    prior = GaussianPrior(torch.zeros((1, 2, 2), dtype=D), 0.1 * torch.eye(4, dtype=D))
    x = prior.sample(3, torch.Generator().manual_seed(0), D)
    exact = log_prob(prior, x, trace=ExactTrace()).nats
    torch.testing.assert_close(log_prob(prior, x, trace=Hutchinson(2, seed=5)).nats, exact, rtol=1e-10, atol=0)


def test_traces_of_a_nonlinear_map() -> None:
    x = torch.tensor([[0.3, -0.4], [1.0, 2.0]], dtype=D)
    value, trace = exact_trace(lambda z: torch.stack([z[:, 0] ** 2 * z[:, 1], z.prod(1)], 1), x)
    torch.testing.assert_close(trace[:, 0], 2 * x[:, 0] * x[:, 1] + x[:, 0])
    assert not value.requires_grad


def test_bits_of_a_uniform_image() -> None:
    """The density 1 on [0, 1]^d costs log2 K bits a pixel; half as wide, one bit less."""
    assert float(bits_per_dim(torch.tensor(0.0), 12)) == 8
    assert float(bits_per_dim(torch.tensor(12 * math.log(2)), 12)) == pytest.approx(7)
    prior = GaussianPrior(torch.full((1, 1, 2), 0.5, dtype=D), 0.01 * torch.eye(2, dtype=D))
    found = log_prob(prior, torch.full((1, 1, 1, 2), 0.5, dtype=D), bins=1)
    torch.testing.assert_close(found.bits_per_dim, -found.nats / (2 * math.log(2)))


def test_impossible_requests_raise(gaussian: GaussianPrior) -> None:
    x = torch.zeros(1, 1, 1, 2)
    with pytest.raises(ValueError, match="steps >= 1"):
        log_prob(gaussian, x, steps=0)
    with pytest.raises(ValueError, match="sigma_min < sigma_max"):
        log_prob(gaussian, x, sigma_min=2.0, sigma_max=1.0)
    with pytest.raises(ValueError, match="probes"):
        Hutchinson(probes=0)
