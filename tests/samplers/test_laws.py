"""Every sampler draws from the right law, and Langevin's errors are those of theory."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from invdiff.priors import GaussianPrior, MixturePrior
from invdiff.priors.composition import Guided
from invdiff.samplers import (
    DDIM,
    SAMPLERS,
    ULA,
    AdaptiveODE,
    Ancestral,
    AnnealedLangevin,
    AnnealedMALA,
    Euler,
    Heun,
    PredictorCorrector,
    ReverseSDE,
    Sampler,
)
from invdiff.schedules import VE, SubVP
from invdiff.transitions import consistent_step

D = torch.float64
Analytic = GaussianPrior | MixturePrior
Check = Callable[[Tensor, Analytic], None]
N = 4000
FINE: dict[str, Sampler] = {
    "ancestral": Ancestral(steps=500, sigma_min=0.002, sigma_max=10),
    "ddim": DDIM(steps=200, sigma_min=0.002, sigma_max=10),
    "ddim half": DDIM(steps=300, eta=0.5, sigma_min=0.002, sigma_max=10),
    "annealed": AnnealedLangevin(steps=60, inner=20, rate=0.1, sigma_min=0.002, sigma_max=2),
    "annealed, Langevin's noise": AnnealedLangevin(
        steps=60, inner=20, rate=0.3, consistent=False, sigma_min=0.002, sigma_max=2
    ),
    "mala": AnnealedMALA(steps=30, inner=20, rate=1.0, sigma_min=0.005, sigma_max=2),
    "sde vp": ReverseSDE(steps=1000, sigma_min=0.002, sigma_max=10),
    "sde sub-vp": ReverseSDE(steps=1000, diffusion=SubVP(), sigma_min=0.002, sigma_max=10),
    "sde ve": ReverseSDE(steps=500, diffusion=VE(), sigma_min=0.002, sigma_max=10),
    "pc vp": PredictorCorrector(steps=200, sigma_min=0.002, sigma_max=10),
    "pc ve": PredictorCorrector(steps=200, diffusion=VE(), sigma_min=0.002, sigma_max=10),
    "euler": Euler(steps=200, sigma_min=0.002, sigma_max=10),
    "heun": Heun(steps=30, sigma_min=0.002, sigma_max=10),
    "heun churn": Heun(steps=80, churn=20, sigma_min=0.002, sigma_max=10),
    "ode": AdaptiveODE(together=N, sigma_min=0.002, sigma_max=10),
}


def test_every_sampler_is_tested() -> None:
    tested = {type(s) for s in FINE.values()} | {ULA}  # ULA, which cannot cross, has its own tests
    assert tested == set(SAMPLERS.values())


@pytest.mark.parametrize("name", FINE)
def test_law_of_a_gaussian(name: str, gaussian: GaussianPrior, check: Check) -> None:
    result = FINE[name](gaussian, N, dtype=D)
    assert result.status == "ok"
    check(result.samples, gaussian)


@pytest.mark.parametrize("name", FINE)
def test_law_of_two_modes(name: str, mixture: MixturePrior, check: Check) -> None:
    check(FINE[name](mixture, N, dtype=D, seed=1).samples, mixture)


@pytest.mark.parametrize("name", ["ancestral", "ddim half", "annealed", "mala", "sde ve", "pc vp", "heun churn", "ode"])
def test_a_likelihood_score_makes_the_posterior(
    name: str, gaussian: GaussianPrior, check_moments: Callable[[Tensor, tuple[Tensor, Tensor]], None]
) -> None:
    """One pixel seen with noise 0.1: `p(y | x_sigma)` is Gaussian in closed form, and so is the posterior."""
    mean, c = gaussian.mean.flatten(), gaussian.covariance
    y, s2, eye = 0.5, 0.1**2, torch.eye(2, dtype=D)
    a = eye[:1]

    def likelihood_score(x: Tensor, sigma: Tensor | float) -> Tensor:
        gain = torch.linalg.solve(c + float(sigma) ** 2 * eye, c)  # dD/dx, transposed
        given = c - c @ gain  # covariance of x_0 given x_sigma
        variance = a @ given @ a.T + s2
        residual = y - (gaussian.denoise(x, sigma).flatten(1) @ a.T)
        score: Tensor = residual / variance @ a @ gain.T
        return score.reshape(x.shape)

    k = c @ a.T / (a @ c @ a.T + s2)
    posterior = mean + k.flatten() * (y - mean[0]), c - k @ a @ c
    samples = FINE[name](Guided(gaussian, likelihood_score), N, dtype=D, seed=2).samples
    check_moments(samples, posterior)


@pytest.mark.parametrize("gamma", [0.5, 0.25, 0.125])
def test_bias_of_ula_is_that_of_theory(gamma: float) -> None:
    """On `N(m, c)` the chain's variance is `c / (1 - gamma / (2 c))`, to 4 standard errors; the bias is 5 to 23."""
    prior = GaussianPrior(torch.full((1, 1, 1), 0.2, dtype=D), torch.full((1, 1), 0.09, dtype=D))
    x = ULA(steps=round(30 / gamma), gamma=gamma, sigma=1e-4)(prior, 10_000, dtype=D).samples
    variance, error = float((x - 0.2).square().mean()), math.sqrt(2 / 10_000)
    assert variance / 0.09 == pytest.approx(1 / (1 - gamma / 2), rel=4 * error)
    assert abs(float(x.mean()) - 0.2) < 4 * math.sqrt(variance / 10_000)


def test_ula_at_a_noise_level_targets_the_noisy_law() -> None:
    prior = GaussianPrior(torch.zeros((1, 1, 1), dtype=D), torch.full((1, 1), 0.09, dtype=D))
    x = ULA(steps=300, gamma=0.05, sigma=0.4)(prior, 10_000, dtype=D).samples
    c = 0.09 + 0.4**2
    assert float(x.square().mean()) == pytest.approx(c / (1 - 0.05 * 0.09 / (2 * c)), rel=4 * math.sqrt(2 / 10_000))


def test_annealing_crosses_where_plain_langevin_does_not(mixture: MixturePrior, check: Check) -> None:
    """From the light mode, ULA never sees the heavy one; annealed Langevin finds both, with their weights."""
    begin = mixture.sample_components(torch.ones(1000, dtype=torch.long), torch.Generator().manual_seed(0))
    stuck = ULA(steps=1200, gamma=0.005, sigma=0.01)(mixture, 1000, dtype=D, start=begin).samples
    nearest = torch.cdist(stuck.flatten(1), mixture.means.flatten(1)).argmin(1)
    assert bool((nearest == 1).all())
    annealed = AnnealedLangevin(steps=60, inner=20, rate=0.3, consistent=False, sigma_min=0.002, sigma_max=2)
    check(annealed(mixture, N, dtype=D, start=begin.repeat(4, 1, 1, 1), seed=3).samples, mixture)


def test_plain_langevin_from_its_own_start_has_wrong_weights(mixture: MixturePrior) -> None:
    """Its weights are those of the basins that the start fell into: many standard errors off."""
    x = ULA(steps=1000, gamma=0.005, sigma=0.01, warm=0)(mixture, 2000, dtype=D).samples
    nearest = torch.cdist(x.flatten(1), mixture.means.flatten(1)).argmin(1)
    share = float((nearest == 0).double().mean())
    assert abs(share - 0.7) > 4 * math.sqrt(0.21 / 2000)
    warm = ULA(steps=100, gamma=0.005, sigma=0.01)(mixture, 2000, dtype=D).samples
    share = float((torch.cdist(warm.flatten(1), mixture.means.flatten(1)).argmin(1) == 0).double().mean())
    assert share == pytest.approx(0.7, abs=4 * math.sqrt(0.21 / 2000)), "those of the flow that it starts from"


def test_what_annealing_leaves_of_the_noise_is_that_of_theory() -> None:
    """`d var / d tau = -2 (var - c - v^2) / c` for slow levels leaves `c log(v_1 / v_T) / (rate inner steps)`."""
    prior = GaussianPrior(torch.zeros((1, 1, 1), dtype=D), torch.full((1, 1), 0.09, dtype=D))
    sampler = AnnealedLangevin(steps=100, inner=5, rate=0.1, consistent=False, sigma_min=0.003, sigma_max=0.6)
    x = sampler(prior, 10_000, dtype=D).samples
    left = math.log(0.6 / 0.003) / (0.1 * 5 * 100)
    assert float(x.square().mean()) / 0.09 == pytest.approx(1 + left, abs=4 * math.sqrt(2 / 10_000))
    assert left > 6 * math.sqrt(2 / 10_000)


@pytest.mark.parametrize(("rate", "sigma_next"), [(0.15, 0.5), (0.15, 0.45), (0.01, 0.2), (1.0, 0.3), (0.5, 0.0)])
def test_a_consistent_step_leaves_the_noise_of_its_level(rate: float, sigma_next: float) -> None:
    n = torch.randn((2, 40_000, 1, 1, 1), dtype=D, generator=torch.Generator().manual_seed(1))
    x0 = torch.full((40_000, 1, 1, 1), 0.3, dtype=D)
    x = consistent_step(x0 + 0.5 * n[0], x0, 0.5, sigma_next, rate, n[1])
    assert float((x - x0).square().mean()) == pytest.approx(sigma_next**2, rel=4 * math.sqrt(2 / 40_000), abs=1e-20)


def test_metropolis_takes_the_bias_away() -> None:
    """At a step where ULA's variance is a third too large, MALA's is right, by density or by line integral."""
    prior = GaussianPrior(torch.full((1, 1, 1), 0.2, dtype=D), torch.full((1, 1), 0.09, dtype=D))
    sigma = 0.6  # the target's variance 0.45; rate 0.625 makes the step half of it
    options = {"steps": 1, "inner": 150, "rate": 0.625, "clean": False, "sigma_min": sigma, "sigma_max": sigma}
    biased = AnnealedLangevin(**options, consistent=False)(prior, 10_000, dtype=D).samples  # type: ignore[arg-type]
    error = math.sqrt(2 / 10_000)
    assert float((biased - 0.2).square().mean()) / 0.45 == pytest.approx(4 / 3, rel=4 * error)
    narrow = AnnealedLangevin(**options)(prior, 10_000, dtype=D).samples  # type: ignore[arg-type]
    law = (2 * 0.625 - 0.625**2) * 0.36 / (1 - (1 - 0.625 * 0.36 / 0.45) ** 2)  # x' = x + r (x_0 - x) + noise, at rest
    assert law < 0.93 * 0.45
    assert float((narrow - 0.2).square().mean()) == pytest.approx(law, rel=4 * error)
    flat = Guided(prior, lambda x, sigma: torch.zeros_like(x))  # the same score, without a density
    for target in (prior, flat):
        right = AnnealedMALA(**options)(target, 10_000, dtype=D).samples  # type: ignore[arg-type]
        assert float((right - 0.2).square().mean()) / 0.45 == pytest.approx(1, rel=4 * error)
