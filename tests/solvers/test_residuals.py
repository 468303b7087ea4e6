"""No solver returns "ok" with samples further from the measurement than its noise explains.

All registered solvers run at their default parameters on the hard problems. The residual is computed here, apart from
`invdiff.fit`.
"""

import pytest
import scipy.stats
from torch import Tensor

from invdiff import registry
from invdiff.noise import Gaussian
from invdiff.operators import LinearOperator
from invdiff.problem import Problem
from invdiff.testing import hard_problems
from invdiff.testing.hard import HARD

QUICK = ("low-rank-prior", "tiny-noise", "heavy-noise", "one-mode", "ct-5-views")
LONG = ("dip",)  # thousands of steps of a network

PRECISE = {
    *("convolved", "daps", "ddnm", "ddrm", "diffpir", "fps", "map", "mcg", "mcgdiff", "mmps", "pigdm", "pnpdm", "rmps"),
    *("score_sde", "snips", "twisted"),
}
"""Solvers whose default levels reach the noise of `tiny-noise`; the others say that they do not fit."""

PROBLEMS = hard_problems()


def chi_square(problem: Problem, samples: Tensor) -> tuple[Tensor, int]:
    """Return `||y - A x||^2 / s^2` of each sample of the first image, and the number of entries."""
    operator, noise = problem.operator, problem.noise
    assert isinstance(operator, LinearOperator) and isinstance(noise, Gaussian)
    residual = problem.measurement - operator(samples[0].to(problem.measurement))
    if operator.observed is not None:
        residual = residual[:, operator.observed.expand(operator.out_shape)]
    residual = residual.flatten(1)
    return (residual / noise.std).square().sum(1), residual.shape[1]


def check(name: str, key: str) -> None:
    problem, prior = PROBLEMS[key]
    solver = registry.solvers[name]()
    if solver.unmet(problem):
        return
    result = solver(problem, prior, samples=1 if solver.point else max(10, solver.samples_per_row), seed=1)
    figure, entries = chi_square(problem, result.samples)
    likely = scipy.stats.chi2.ppf(0.999, entries)
    fits = float(figure.mean()) <= likely and float((figure > likely).double().mean()) < 0.1
    assert result.status in ("ok", "misfit", "diverged")
    assert fits or result.status != "ok", f"{name} on {key}: {float(figure.mean()) / entries:.3g} for each entry"
    assert not fits or result.status == "ok", f"{name} on {key}: {result.message}"
    assert float(result.trace["chi_square"]) == pytest.approx(float(figure.mean()) / entries, rel=1e-2, abs=1e-6)
    if key == "tiny-noise" and name in PRECISE:
        assert result.status == "ok", result.message


@pytest.mark.parametrize("key", QUICK)
@pytest.mark.parametrize("name", [n for n in registry.solvers if n not in LONG])
def test_ok_means_that_the_samples_fit(name: str, key: str) -> None:
    check(name, key)


@pytest.mark.slow
@pytest.mark.parametrize("key", [k for k in HARD if k not in QUICK])
@pytest.mark.parametrize("name", [n for n in registry.solvers if n not in LONG])
def test_ok_means_that_the_samples_fit_on_every_hard_problem(name: str, key: str) -> None:
    check(name, key)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("key", HARD)
@pytest.mark.parametrize("name", LONG)
def test_ok_means_that_the_samples_fit_of_long_runs(name: str, key: str) -> None:
    check(name, key)


def test_precise_solvers_are_registered() -> None:
    assert set(registry.solvers) >= PRECISE
