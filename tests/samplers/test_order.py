"""Deterministic maps: measured orders of convergence, and steps that must coincide."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invdiff.priors import GaussianPrior, MixturePrior
from invdiff.samplers import (
    DDIM,
    AdaptiveODE,
    Ancestral,
    AnnealedLangevin,
    Euler,
    Heun,
    PredictorCorrector,
    ReverseSDE,
    Sampler,
)
from invdiff.samplers.base import Walk
from invdiff.schedules import VE, Spacing, geometric_levels, karras_levels, vp_levels
from invdiff.streams import BlockStreams, generator
from invdiff.transitions import (
    ddim_coefficients,
    ddim_step,
    heun_step,
    langevin_log_acceptance,
    langevin_step,
    raise_noise,
    reverse_sde_step,
)

D = torch.float64
LOW, HIGH = 0.01, 10.0


def exact_flow(prior: GaussianPrior, x: Tensor) -> Tensor:
    """The flow of a Gaussian scales eigenvectors by `sqrt((v + sigma_min^2) / (v + sigma_max^2))`, then denoises."""
    v, q = torch.linalg.eigh(prior.covariance)
    c = (x - prior.mean).flatten(1) @ q
    c = c * ((v + LOW**2) / (v + HIGH**2)).sqrt() * (v / (v + LOW**2))
    out: Tensor = prior.mean + (c @ q.T).reshape(x.shape)
    return out


def begin(n: int) -> Tensor:
    return 10.0 * torch.randn((n, 1, 1, 2), generator=torch.Generator().manual_seed(5), dtype=D)


def measured_order(make: dict[int, Sampler], prior: GaussianPrior | MixturePrior, exact: Tensor, x: Tensor) -> float:
    """Return the slope of log error against log step, from the two finest runs."""
    errors = [float((s(prior, len(x), start=x, dtype=D).samples - exact).norm()) for s in make.values()]
    (coarse, fine) = list(make)[-2:]
    return math.log(errors[-2] / errors[-1]) / math.log(fine / coarse)


@pytest.mark.parametrize("spacing", [karras_levels, vp_levels, geometric_levels])
@pytest.mark.parametrize(("cls", "order"), [(Euler, 1), (Heun, 2)])
def test_order_on_a_gaussian(cls: type[Euler | Heun], order: int, spacing: Spacing, gaussian: GaussianPrior) -> None:
    x = begin(20)
    make: dict[int, Sampler] = {k: cls(steps=k + 1, spacing=spacing, sigma_min=LOW, sigma_max=HIGH) for k in (160, 320)}
    assert measured_order(make, gaussian, exact_flow(gaussian, x), x) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(("cls", "order"), [(Euler, 1), (Heun, 2)])
def test_order_on_two_modes(cls: type[Euler | Heun], order: int, mixture: MixturePrior) -> None:
    """Against the adaptive solver at a tolerance far below the errors measured."""
    x = begin(20)
    exact = AdaptiveODE(rtol=1e-10, atol=1e-11, together=20, sigma_min=LOW, sigma_max=HIGH)(
        mixture, 20, start=x, dtype=D
    ).samples
    make: dict[int, Sampler] = {k: cls(steps=k + 1, sigma_min=LOW, sigma_max=HIGH) for k in (320, 640)}
    assert measured_order(make, mixture, exact, x) == pytest.approx(order, abs=0.15)


def test_adaptive_solver_keeps_its_tolerance(gaussian: GaussianPrior) -> None:
    x = begin(20)
    exact = exact_flow(gaussian, x)
    errors = []
    for tolerance in (1e-3, 1e-6, 1e-9):
        result = AdaptiveODE(rtol=tolerance, atol=tolerance, together=20, sigma_min=LOW, sigma_max=HIGH)(
            gaussian, 20, start=x, dtype=D
        )
        errors.append(float((result.samples - exact).abs().max()))
        assert errors[-1] < 20 * tolerance  # local errors of about a hundred steps, which the flow contracts
    assert errors[0] > errors[1] > errors[2]


def test_euler_is_ddim_without_noise(mixture: MixturePrior) -> None:
    euler = Euler(steps=9, spacing=vp_levels)(mixture, 3, dtype=D).samples
    torch.testing.assert_close(DDIM(steps=9)(mixture, 3, dtype=D).samples, euler, rtol=0, atol=0)


def test_ddim_with_all_its_noise_is_ancestral(mixture: MixturePrior) -> None:
    ancestral = Ancestral(steps=9)(mixture, 3, dtype=D).samples
    torch.testing.assert_close(DDIM(steps=9, eta=1.0)(mixture, 3, dtype=D).samples, ancestral, rtol=0, atol=0)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_keeps_the_marginal_of_a_point(eta: float) -> None:
    """With the true `x_0`, a state of level 0.7 becomes one of level 0.2: variances of old and new noise add up."""
    c, s = ddim_coefficients(0.7, 0.2, eta)
    assert c**2 * 0.7**2 + s**2 == pytest.approx(0.2**2, rel=1e-12)
    assert ddim_coefficients(0.7, 0.0, eta) == (0.0, 0.0)
    x, x0, n = (torch.randn(2, 1, 1, 2, generator=generator(k), dtype=D) for k in range(3))
    torch.testing.assert_close(ddim_step(x, x0, 0.7, 0.2, eta, n), x0 + c * (x - x0) + s * n)


def test_ancestral_variance_is_that_of_the_forward_chain() -> None:
    """Bayes' rule for `x_{t-1} = x_0 + 0.2 n`, `x_t = x_{t-1} + sqrt(0.7^2 - 0.2^2) n'`."""
    precision = 1 / 0.2**2 + 1 / (0.7**2 - 0.2**2)
    c, s = ddim_coefficients(0.7, 0.2, 1.0)
    assert s**2 == pytest.approx(1 / precision, rel=1e-12)
    assert c == pytest.approx(1 / (0.7**2 - 0.2**2) / precision, rel=1e-12)


def test_reverse_sde_in_the_clock_of_the_variance() -> None:
    """`transitions.reverse_sde_step` is Euler-Maruyama of the VE diffusion as its step goes to 0."""
    prior = GaussianPrior(torch.zeros((1, 1, 1), dtype=D), torch.eye(1, dtype=D))
    x, n = torch.full((1, 1, 1, 1), 0.8, dtype=D), torch.full((1, 1, 1, 1), -0.3, dtype=D)
    sigma, gaps = 0.5, []
    ve = VE(0.01, 50.0)
    for h in (1e-2, 1e-3):
        low = float(ve.sigma(ve.time(sigma) - h))
        step = reverse_sde_step(x, prior.score(x, sigma), sigma, low, n)
        g2 = float(ve.squared_diffusion(ve.time(sigma)))
        gaps.append(float((step - (x + h * g2 * prior.score(x, sigma) + math.sqrt(g2 * h) * n)).abs()))
    assert math.log10(gaps[0] / gaps[1]) == pytest.approx(1.5, abs=0.15)  # noise of size sqrt(h), off by a share h


def test_steps_at_hand_computed_values() -> None:
    x, n = torch.full((1, 1, 1, 1), 2.0, dtype=D), torch.full((1, 1, 1, 1), 0.5, dtype=D)
    assert float(langevin_step(x, -x, 0.08, n)) == pytest.approx(2 - 0.16 + 0.4 * 0.5)
    assert float(raise_noise(x, 3.0, 5.0, n)) == pytest.approx(4.0)
    # Target N(0, 1), gamma 0.5: log p(1) - log p(2) = 1.5; |1 - 2 + 1|^2 = 0, |2 - 1 + 0.5|^2 = 2.25.
    log = langevin_log_acceptance(x, -x, x - 1, 1 - x, torch.tensor([1.5]), 0.5)
    assert float(log) == pytest.approx(1.5 + (0 - 2.25) / 2)
    assert float(heun_step(lambda z, sigma: 0 * z, x, 2.0, 1.0)) == pytest.approx(1.0)  # straight lines to 0 are exact
    with pytest.raises(ValueError, match="noise"):
        ddim_step(x, x, 2.0, 1.0, 1.0, None)


@pytest.mark.parametrize(
    "sampler", [DDIM(steps=5, eta=0.7), Heun(steps=5, churn=3), ReverseSDE(steps=5), AdaptiveODE()]
)
def test_a_sample_is_the_same_in_any_batch(sampler: Sampler, mixture: MixturePrior) -> None:
    together = sampler(mixture, 5, seed=3, dtype=D).samples
    apart = sampler(mixture, 5, seed=3, dtype=D, batch_size=2).samples
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)
    assert not torch.equal(together, sampler(mixture, 5, seed=4, dtype=D).samples)


def test_annealed_langevin_is_the_same_in_any_batch(mixture: MixturePrior) -> None:
    sampler = AnnealedLangevin(steps=3, inner=90)  # more draws than one block holds
    apart = sampler(mixture, 5, seed=3, dtype=D, batch_size=1).samples
    torch.testing.assert_close(sampler(mixture, 5, seed=3, dtype=D).samples, apart, rtol=1e-12, atol=1e-12)


def test_a_correction_is_one_langevin_step_at_the_level_reached(gaussian: GaussianPrior) -> None:
    levels, x = (0.5, 0.4, 0.0), begin(3) / 20

    def walk() -> Walk:
        return Walk(gaussian, levels, BlockStreams(generator(0, k) for k in range(3)), torch.empty_like(x))

    corrected = PredictorCorrector(snr=0.3, corrections=1).step(walk(), x, 0)
    by_hand = walk()
    predicted = ReverseSDE().step(by_hand, x, 0)
    expected = langevin_step(predicted, gaussian.score(predicted, 0.4), (0.3 * 0.4) ** 2, by_hand.randn())
    torch.testing.assert_close(corrected, expected)
