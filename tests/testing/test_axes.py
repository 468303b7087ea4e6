"""The worst direction, the range of chance and the modes of samples, and the solvers that they catch."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from invdiff import Reconstruction
from invdiff.posterior import ExactPosterior
from invdiff.priors import MixturePrior
from invdiff.solvers import Run, Solver
from invdiff.testing import exact_problems, grade_solver, hard_problems
from invdiff.testing.axes import axis_ratios, chance_range, mode_overlap, worst_ratio
from invdiff.testing.solver import grade_result

N = 200
GAUSSIAN = [
    name
    for name, (_, prior) in hard_problems().items()
    if not isinstance(prior, MixturePrior) and name != "low-rank-prior"  # with ten axes without variance
]
PROBLEMS = {**exact_problems(), **hard_problems()}


def _exact(name: str, seed: int, n: int = N) -> Tensor:
    return ExactPosterior(*PROBLEMS[name]).sample(n, seed=seed)


def test_worst_ratio_of_exact_samples_is_within_its_range() -> None:
    """Beyond the range of 99 % once in 100 draws, beyond that of 50 % in half of them."""
    beyond = {0.99: 0, 0.5: 0}
    draws = 20
    for i, name in enumerate(GAUSSIAN):
        covariance = ExactPosterior(*PROBLEMS[name]).covariance
        for seed in range(draws):
            ratios = axis_ratios(_exact(name, draws * i + seed), covariance)
            for p in beyond:
                low, high = chance_range(N, ratios.numel(), p)
                beyond[p] += bool(((ratios < low) | (ratios > high)).any())
    total = draws * len(GAUSSIAN)
    assert beyond[0.99] <= 0.01 * total + 4 * (0.01 * total) ** 0.5, f"{beyond} of {total}"
    assert abs(beyond[0.5] - 0.5 * total) < 4 * (0.25 * total) ** 0.5, f"{beyond} of {total}"


@dataclass(frozen=True, kw_only=True)
class OneAxis(Solver):
    """Exact samples whose variance along one principal axis of the posterior is multiplied."""

    axis: int
    factor: float

    def draw(self, run: Run) -> Tensor:
        exact = ExactPosterior(run.problem[[0]], run.prior)
        _, v = torch.linalg.eigh(exact.covariance[0])
        n = len(run.problem)
        x = exact.sample(n, seed=12)[0].flatten(1)
        mean = exact.mean.flatten()
        z = (x - mean) @ v
        z[:, self.axis] *= self.factor**0.5
        images: Tensor = (mean + z @ v.T).reshape(n, *exact.shape)
        return images


@pytest.mark.parametrize("name", ["plain", "tiny-noise", "heavy-noise", "ct-5-views", "inpainting"])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_variance_in_one_direction_is_caught(name: str, factor: float) -> None:
    """The mean over pixels does not show it; the worst axis does, whichever it is."""
    problem, prior = PROBLEMS[name]
    problem = problem[:1]
    d = ExactPosterior(problem, prior).covariance.shape[1]
    for axis in (0, d // 2, d - 1):
        right = grade_solver(OneAxis(axis=axis, factor=1.0), problem, prior, samples=N)
        wrong = grade_solver(OneAxis(axis=axis, factor=factor), problem, prior, samples=N)
        assert right.chance[0] < right.worst_ratio < right.chance[1]
        assert not wrong.chance[0] < wrong.worst_ratio < wrong.chance[1], f"{name}, axis {axis}: {wrong}"
        assert abs(wrong.worst_ratio / factor - 1) < 0.3
    small = grade_solver(OneAxis(axis=0, factor=factor), problem, prior, samples=N)  # the axis of least variance
    assert abs(small.variance_ratio - 1) < 0.1


def test_spread_where_the_posterior_has_none() -> None:
    """A prior of rank 6: samples that leave its support by more than 1e-4 of the largest deviation are caught."""
    exact = ExactPosterior(*PROBLEMS["low-rank-prior"])
    x = exact.sample(N, seed=3)
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(4))
    top = float(torch.linalg.eigvalsh(exact.covariance[0])[-1]) ** 0.5
    low, high = chance_range(N, exact.covariance.shape[1])
    assert low < worst_ratio(axis_ratios(x, exact.covariance)) < high
    assert low < worst_ratio(axis_ratios(x + 1e-5 * top * noise, exact.covariance)) < high
    assert worst_ratio(axis_ratios(x + 1e-3 * top * noise, exact.covariance)) > 50


def test_half_counts_as_much_as_twice_and_nan_is_the_worst() -> None:
    assert worst_ratio(torch.tensor([1.0, 1.9, 0.5])) == 0.5
    assert worst_ratio(torch.tensor([1.0, 2.1, 0.5])) == pytest.approx(2.1)
    assert worst_ratio(torch.tensor([1.0, 1e9, 0.0])) == 0
    assert worst_ratio(torch.tensor([1.0, float("nan"), 0.0])) != worst_ratio(torch.tensor([1.0]))


def test_modes_in_the_right_numbers() -> None:
    problem, prior = PROBLEMS["three-modes"]
    assert isinstance(prior, MixturePrior)
    weights = ExactPosterior(problem, prior).weights
    k = torch.tensor([0] * 90 + [1] * 90 + [2] * 20)
    g = torch.Generator().manual_seed(1)
    assert mode_overlap(prior.sample_components(k, g)[None], prior, weights) == pytest.approx(1)
    only = prior.sample_components(torch.zeros(200, dtype=torch.long), g)[None]
    assert mode_overlap(only, prior, weights) == pytest.approx(0.45)
    excluded = ExactPosterior(*PROBLEMS["one-mode"]).weights
    assert mode_overlap(only, prior, excluded) < 1e-3
    assert mode_overlap(prior.sample(4000, g, torch.float64)[None], prior, excluded) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("name", list(hard_problems()))
def test_exact_samples_have_the_grade_of_a_perfect_solver(name: str) -> None:
    """Bias, coverage and variance within the error of 1000 samples, and a residual of its own size."""
    problem, prior = PROBLEMS[name]
    g = grade_result(Reconstruction(_exact(name, 5, 1000)), problem, prior)
    assert g.bias < 0.15
    assert abs(g.variance_ratio - 1) < 0.2
    assert abs(g.coverage_90 - 0.9) < 0.03
    m = problem.observations
    assert 1 - 4 * (2 / m) ** 0.5 < g.chi_square < 1 + 4 * (2 / m) ** 0.5  # over the measurement: one draw of the noise
    assert (g.modes is None) == (name not in ("one-mode", "three-modes"))
    assert g.modes is None or g.modes > 0.95
