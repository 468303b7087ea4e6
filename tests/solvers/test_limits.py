"""Solvers that claim to be exact in a limit: at any noise and gain, with a wrong `std`, and at the declared rate."""

import math

import pytest
import torch

from invdiff import registry
from invdiff.noise import Gaussian
from invdiff.operators import Identity, Inpainting, LinearOperator
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, Prior
from invdiff.problem import Problem, simulate
from invdiff.solvers import Solver
from invdiff.streams import generator

NEAR: dict[str, tuple[dict[str, object], float]] = {
    "mcgdiff": ({"particles": 4096}, 0.05),
    "tds": ({"particles": 4096}, 0.12),
    "twisted": ({"particles": 4096, "steps": 50}, 0.04),
    "langevin": ({"inner": 20}, 0.05),
    "pnpdm": ({"steps": 80, "inner": 10}, 0.1),
}
"""Options near the limit, and what they may leave of the variance: the transitions of TDS are DDPM's, of 100 levels,
and those of ten denoisings are what `pnpdm` has for a prior whose `std` is too large."""

RATES: dict[str, tuple[dict[str, object], dict[str, object], float, float, float]] = {
    "mcgdiff": ({"particles": 32768, "steps": 20}, {"particles": 32768, "steps": 80}, 1.0, 0.25, 1 / 4),
    "tds": ({"particles": 16384, "steps": 20}, {"particles": 16384, "steps": 80}, 5.0, 1.0, 1 / 4),
    "twisted": ({"particles": 16384, "steps": 3}, {"particles": 16384, "steps": 12}, 1.0, 0.25, 1 / 16),
    "pnpdm": ({"steps": 8, "inner": 10}, {"steps": 32, "inner": 10}, 0.1, 1.0, 1 / 16),
}
"""Options, finer ones, noise, `prior.std`, and the factor by which the error of the variance falls between them."""


def test_every_claimed_limit_is_here() -> None:
    assert set(NEAR) == set(RATES) | {"langevin"} == {name for name, cls in registry.solvers.items() if cls.limit}


def pixels(noise: float, gain: float, std: float, side: int) -> tuple[Problem, Prior]:
    """Independent pixels, N(0, 1) under the prior, seen through a gain; `prior.std` says `std` instead of 1."""
    shape = (1, side, side)
    prior = GaussianPrior(torch.zeros(shape), torch.eye(side**2))
    prior.std = std
    operator: LinearOperator = Identity(shape)
    y = torch.full((1, *shape), 0.8 * gain, dtype=torch.float64)
    return Problem(operator if gain == 1 else gain * operator, Gaussian(noise * gain), y), prior


def moments(solver: Solver, noise: float, gain: float, std: float) -> tuple[float, float, float]:
    """Return bias in posterior deviations and variance over exact, and how many independent pixels they are of.

    A particle filter has one pixel, since weights fall with the number of pixels, and its particles are worth at least
    a quarter of as many independent samples; the others have 8 images of 16 x 16.
    """
    alone = solver.samples_per_row > 1
    problem, prior = pixels(noise, gain, std, 1 if alone else 16)
    x = solver(problem, prior, samples=solver.samples_per_row if alone else 8).samples.flatten()
    variance = noise**2 / (1 + noise**2)
    bias = (float(x.mean()) - 0.8 / (1 + noise**2)) / math.sqrt(variance)
    return bias, float(x.var()) / variance, len(x) / 4 if alone else len(x)


@pytest.mark.parametrize(("gain", "std"), [(1.0, 1.0), (100.0, 4.0), (0.01, 0.25)])
@pytest.mark.parametrize("noise", [5.0, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("name", NEAR)
def test_a_pixel_has_the_posteriors_mean_and_variance(name: str, noise: float, gain: float, std: float) -> None:
    options, left = NEAR[name]
    bias, ratio, n = moments(registry.solvers[name](**options), noise, gain, std)
    assert abs(bias) < 4.5 / math.sqrt(n) + left
    assert abs(ratio - 1) < 4.5 * math.sqrt(2 / n) + left


@pytest.mark.parametrize("name", RATES)
def test_the_error_of_the_variance_falls_as_declared(name: str) -> None:
    coarse, fine, noise, std, factor = RATES[name]
    _, first, n = moments(registry.solvers[name](**coarse), noise, 1.0, std)
    _, second, _ = moments(registry.solvers[name](**fine), noise, 1.0, std)
    chance = 4.5 * math.sqrt(2 / n)
    assert abs(first - 1) > 2 * chance, "nothing to see"
    assert abs(second - 1) < 1.5 * factor * abs(first - 1) + chance


def test_langevin_follows_its_levels_the_closer_the_more_steps_it_takes() -> None:
    """Correlated pixels of which half are seen: the chain lags behind in what the data do not tell."""
    p = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
    prior = GaussianPrior(torch.full((1, 4, 4), 0.5), 0.09 * torch.exp(-torch.cdist(p, p) / 1.5))
    x = prior.sample(1, generator(3), torch.float64)
    problem = simulate(Inpainting(torch.rand(4, 4, generator=generator(3)) < 0.5), x, 0.02, seed=1)
    exact = ExactPosterior(problem, prior)
    ratios = {}
    for inner in (1, 16):
        result = registry.solvers["langevin"](inner=inner)(problem, prior, samples=200)
        ratios[inner] = float(((result.std / exact.std) ** 2).mean())
    chance = 4.5 * math.sqrt(2 / 200 / 8)  # of some eight independent directions
    assert ratios[1] - 1 > 2 * chance
    assert abs(ratios[16] - 1) < (ratios[1] - 1) / 4 + chance  # O(inner^(-1/2))
