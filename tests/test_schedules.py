"""Schedules: closed forms against the equations that define them and against simulation of the forward process."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from invdiff.schedules import (
    EDM,
    VE,
    VP,
    Chain,
    Diffusion,
    Spacing,
    SubVP,
    cosine_betas,
    geometric_levels,
    karras_levels,
    linear_betas,
    scaled_levels,
    vp_levels,
)
from invdiff.streams import generator

DIFFUSIONS = [VP(), VP(0.5, 0.5), SubVP(), VE(0.05, 20.0), EDM(3.0)]
SPACINGS = [vp_levels, geometric_levels, karras_levels]


def log(x: Tensor) -> Tensor:
    return x.log()


def name(diffusion: Diffusion) -> str:
    return repr(diffusion)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 17])
def test_levels_fall_between_their_ends(spacing: Spacing, steps: int) -> None:
    levels = spacing(steps, 0.02, 30.0)
    assert levels.dtype == torch.float64
    assert levels.shape == (steps + 1,)
    assert float(levels[0]) == pytest.approx(30.0, rel=1e-12)
    assert float(levels[-1]) == 0
    assert bool((levels.diff() < 0).all())
    if steps > 1:
        assert float(levels[-2]) == pytest.approx(0.02, rel=1e-10)


def test_spacings_are_uniform_in_their_own_clock() -> None:
    clocks: dict[Spacing, Callable[[Tensor], Tensor]] = {
        geometric_levels: log,
        karras_levels: lambda s: s ** (1 / 7),
        vp_levels: VP().time,
        VE(0.01, 50.0).levels: log,
        SubVP().levels: SubVP().time,
    }
    for spacing, clock in clocks.items():
        gaps = clock(spacing(12, 0.02, 30.0)[:-1]).diff()
        torch.testing.assert_close(gaps, gaps.mean().expand_as(gaps), rtol=1e-9, atol=0)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("steps", "low", "high"), [(0, 0.1, 1.0), (3, 0.0, 1.0), (3, 2.0, 1.0), (3, 0.1, math.inf)])
def test_impossible_levels_raise(spacing: Spacing, steps: int, low: float, high: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        spacing(steps, low, high)


def test_scaled_levels_change_units() -> None:
    for spacing in (geometric_levels, karras_levels):
        torch.testing.assert_close(scaled_levels(spacing, 9, 0.1, 4.0, 0.3), spacing(9, 0.1, 4.0), rtol=1e-12, atol=0)
    # The VP clock knows a unit: data half as large want levels half as large.
    torch.testing.assert_close(scaled_levels(vp_levels, 9, 0.1, 4.0, 0.5), 0.5 * vp_levels(9, 0.2, 8.0))
    with pytest.raises(ValueError, match="unit"):
        scaled_levels(vp_levels, 9, 0.1, 4.0, 0.0)


@pytest.mark.parametrize("diffusion", DIFFUSIONS, ids=name)
def test_noise_level_grows_at_the_rate_of_the_diffusion(diffusion: Diffusion) -> None:
    """d sigma^2 / dt = g^2 / alpha^2 and d log alpha / dt = f, by automatic differentiation."""
    t = torch.linspace(0.01, 1, 50, dtype=torch.float64, requires_grad=True)
    (rate,) = torch.autograd.grad((diffusion.sigma(t) ** 2).sum(), t)
    torch.testing.assert_close(rate, diffusion.squared_diffusion(t) / diffusion.alpha(t) ** 2, rtol=1e-9, atol=0)
    log_alpha = diffusion.alpha(t).log() + 0 * t
    (drift,) = torch.autograd.grad(log_alpha.sum(), t)
    torch.testing.assert_close(drift, diffusion.drift(t), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("diffusion", DIFFUSIONS, ids=name)
def test_marginals_solve_the_moment_equations(diffusion: Diffusion) -> None:
    """Mean and variance integrated from time 0 by an adaptive method of order 8."""

    def rates(t: float, state: np.ndarray) -> list[float]:
        f, g2 = float(diffusion.drift(t)), float(diffusion.squared_diffusion(t))
        return [f * state[0], 2 * f * state[1] + g2]

    begin = [1.0, float(diffusion.std(0.0)) ** 2]
    times = [0.1, 0.5, 1.0]
    solution = solve_ivp(rates, (0, 1), begin, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(solution.y[0], diffusion.alpha(torch.tensor(times, dtype=torch.float64)), rtol=1e-8)
    np.testing.assert_allclose(solution.y[1], diffusion.std(torch.tensor(times, dtype=torch.float64)) ** 2, rtol=1e-8)


@pytest.mark.parametrize("diffusion", DIFFUSIONS, ids=name)
def test_marginals_against_simulation(diffusion: Diffusion) -> None:
    """20,000 particles from one clean value through 500 midpoint steps: 4 standard errors of mean and variance."""
    count, steps = 20_000, 500
    g = generator(1)
    x = 2.0 + float(diffusion.std(0.0)) * torch.randn(count, generator=g, dtype=torch.float64)
    for t in (torch.arange(steps, dtype=torch.float64) + 0.5) / steps:
        f, g2 = float(diffusion.drift(t)), float(diffusion.squared_diffusion(t))
        noise = torch.randn(count, generator=g, dtype=torch.float64)
        # The drift is linear: its exponential leaves the midpoint rule in time as the only error, of order 1 / steps^2.
        x = math.exp(f / steps) * x + math.exp(f / steps / 2) * math.sqrt(g2 / steps) * noise
    alpha, std = float(diffusion.alpha(1.0)), float(diffusion.std(1.0))
    assert float(x.mean()) == pytest.approx(2 * alpha, abs=4 * std / math.sqrt(count))
    assert float(x.var()) == pytest.approx(std**2, rel=4 * math.sqrt(2 / count))


@pytest.mark.parametrize("diffusion", DIFFUSIONS, ids=name)
def test_time_inverts_sigma(diffusion: Diffusion) -> None:
    t = torch.linspace(1e-4, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(diffusion.time(diffusion.sigma(t)), t, rtol=1e-10, atol=1e-13)


def test_conversions_go_round_and_carry_the_score() -> None:
    """Through every pair of diffusions and back; a Gaussian's score is the same function in all coordinates."""
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    for source in DIFFUSIONS:
        at, sigma = source.to_ve(x, 0.4)
        for target in DIFFUSIONS:
            there, t = target.from_ve(at, sigma)
            back, level = target.to_ve(there, t)
            torch.testing.assert_close(source.from_ve(back, level)[0], x, rtol=1e-10, atol=1e-12)
        # x_0 ~ N(0, 4): marginal variance 4 alpha^2 + std^2 in own coordinates, 4 + sigma^2 in VE's.
        alpha, std = float(source.alpha(0.4)), float(source.std(0.4))
        own = -x / (4 * alpha**2 + std**2)
        torch.testing.assert_close(own, -at / (4 + sigma**2) / alpha, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("betas", [linear_betas(200, 5e-4, 0.1), cosine_betas(200)], ids=["linear", "cosine"])
def test_chain_marginals_against_simulation(betas: Tensor) -> None:
    chain, count = Chain(betas), 20_000
    g = generator(2)
    x = torch.full((count,), 1.5, dtype=torch.float64)
    walk = x.clone()
    for k in range(1, len(chain) + 1):
        noise = torch.randn(count, generator=g, dtype=torch.float64)
        x = chain.step(x, k, noise)
        walk = walk + math.sqrt(float(chain.sigma[k] ** 2 - chain.sigma[k - 1] ** 2)) * noise
        if k in (1, 50, 120, 199):
            mean, var = 1.5 * math.sqrt(float(chain.abar[k])), 1 - float(chain.abar[k])
            assert float(x.mean()) == pytest.approx(mean, abs=4 * math.sqrt(var / count))
            assert float(x.var()) == pytest.approx(var, rel=4 * math.sqrt(2 / count))
            # In variance-exploding coordinates the chain is a random walk, path by path.
            moved, sigma = chain.to_ve(x, k)
            torch.testing.assert_close(moved, walk, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(chain.from_ve(moved, k), x, rtol=1e-12, atol=0)
            assert sigma == float(chain.sigma[k])


def test_smld_levels_against_simulation() -> None:
    levels = geometric_levels(30, 0.02, 4.0).flip(0)
    g = generator(3)
    x = torch.zeros(20_000, dtype=torch.float64)
    for low, high in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
        x = x + math.sqrt(high**2 - low**2) * torch.randn(20_000, generator=g, dtype=torch.float64)
    assert float(x.var()) == pytest.approx(16.0, rel=4 * math.sqrt(2 / 20_000))


def test_cosine_chain_has_its_closed_form() -> None:
    chain, s = Chain(cosine_betas(1000)), 0.008
    u = torch.arange(1001, dtype=torch.float64) / 1000
    closed = torch.cos(math.pi / 2 * (u + s) / (1 + s)) ** 2 / math.cos(math.pi / 2 * s / (1 + s)) ** 2
    torch.testing.assert_close(chain.abar[:999], closed[:999], rtol=1e-9, atol=1e-15)
    assert float(chain.betas[-1]) == 0.999


def test_ddpm_converges_to_vp() -> None:
    """With rates beta(t) / K the chain's log sigma^2 tends to the SDE's at order one."""

    def gap(steps: int) -> float:
        scale = 1000 / steps
        chain = Chain(linear_betas(steps, 1e-4 * scale, 2e-2 * scale))
        return abs(float(torch.log(chain.sigma[-1]) - torch.log(VP().sigma(1.0))))

    order = math.log2(gap(1000) / gap(2000))
    assert order == pytest.approx(1, abs=0.05)
    assert gap(1000) < 0.05


def test_chain_index_inverts_sigma_and_interpolates() -> None:
    chain = Chain(linear_betas(100))
    k = torch.arange(1, 101)
    torch.testing.assert_close(chain.index(chain.sigma[k]), k.double(), rtol=1e-10, atol=0)
    between = float(chain.index(float(chain.sigma[7] * chain.sigma[8]) ** 0.5))
    assert between == pytest.approx(7.5, abs=1e-9)
    assert float(chain.index(1e-9)) == 1
    assert float(chain.index(1e9)) == 100
    assert float(Chain(torch.tensor([0.5])).index(0.7)) == 1


def test_chain_levels_are_its_own() -> None:
    chain = Chain(linear_betas(1000))
    torch.testing.assert_close(chain.levels(1000), chain.sigma.flip(0))
    few = chain.levels(10)
    assert len(few) == 11
    assert float(few[0]) == float(chain.sigma[-1])
    assert float(few[-2]) == float(chain.sigma[1])
    with pytest.raises(ValueError, match="steps"):
        chain.levels(1001)


def test_impossible_diffusions_raise() -> None:
    with pytest.raises(ValueError, match="VP: beta_min"):
        VP(3.0, 1.0)
    with pytest.raises(ValueError, match="sigma_min"):
        VE(2.0, 1.0)
    with pytest.raises(ValueError, match="betas"):
        Chain(torch.tensor([0.1, 1.0]))
    with pytest.raises(ValueError, match="index"):
        Chain(linear_betas(5)).step(torch.zeros(1), 0, torch.zeros(1))
