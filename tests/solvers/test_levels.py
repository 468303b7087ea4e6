"""Published noise levels, and how they go on down to the noise of precise data."""

import itertools
from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
from torch import Tensor

from invdiff.noise import Gaussian
from invdiff.operators import LinearOperator
from invdiff.priors import GaussianPrior
from invdiff.problem import Problem
from invdiff.schedules import geometric_levels, vp_levels
from invdiff.solvers.common.levels import RATIO, annealed_levels, data_level, ddpm_levels

PRIOR = GaussianPrior(torch.full((1, 2, 2), 0.5), torch.eye(4).double() * 0.0625)  # of standard deviation 1/4
R = 0.5
Levels: TypeAlias = Callable[..., Tensor]
PUBLISHED: dict[Levels, Callable[[int], Tensor]] = {
    ddpm_levels: lambda n: R * vp_levels(n, 0.01, 157.0),
    annealed_levels: lambda n: geometric_levels(n, R * 0.01, R * 157.0),
}


def problem(noise: float, gain: float = 1.0) -> Problem:
    operator = LinearOperator.from_matrix(gain * torch.eye(4).double(), (1, 2, 2))
    return Problem(operator, Gaussian(noise * gain), torch.zeros(1, 4).double())


@pytest.mark.parametrize("levels", PUBLISHED)
@pytest.mark.parametrize("noise", [0.0, 0.0051, 0.025, 0.1, 5.0])
@pytest.mark.parametrize("steps", [1, 2, 20, 100])
def test_ordinary_noise_has_the_published_levels(levels: Levels, noise: float, steps: int) -> None:
    torch.testing.assert_close(levels(steps, PRIOR, problem(noise)), PUBLISHED[levels](steps), rtol=1e-12, atol=0)
    torch.testing.assert_close(levels(steps, PRIOR), PUBLISHED[levels](steps), rtol=1e-12, atol=0)


@pytest.mark.parametrize("gain", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("noise", [0.0049, 1e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("levels", PUBLISHED)
def test_the_last_level_is_that_of_precise_data(levels: Levels, noise: float, gain: float) -> None:
    given = problem(noise, gain)
    assert data_level(given) == pytest.approx(noise, rel=1e-6)
    for steps in (3, 4, 7, 20, 100):
        found = levels(steps, PRIOR, given)
        assert len(found) == steps + 1 and float(found[-1]) == 0 and found.dtype == torch.float64
        assert bool((found.diff() < 0).all())
        assert float(found[0]) == pytest.approx(R * 157)
        assert float(found[-2]) == pytest.approx(max(noise, PRIOR.sigma_min), rel=1e-6)


def test_lower_levels_have_a_bounded_ratio_where_there_are_enough() -> None:
    found = ddpm_levels(100, PRIOR, problem(1e-4)).tolist()
    low = [(a, b) for a, b in itertools.pairwise(found[:-1]) if b < 0.01 * R]
    assert low and all(a / b <= RATIO * (1 + 1e-9) for a, b in low)
    kept = ddpm_levels(8, PRIOR, problem(1e-6)).tolist()
    assert sum(level < 0.01 * R for level in kept[:-1]) <= 4  # half of the levels


def test_no_level_is_below_those_of_the_prior() -> None:
    prior = GaussianPrior(torch.full((1, 2, 2), 0.5), torch.eye(4).double() * 0.0625)
    object.__setattr__(prior, "sigma_min", 0.002)
    for levels in PUBLISHED:
        assert float(levels(20, prior, problem(1e-4))[-2]) == pytest.approx(0.002)
