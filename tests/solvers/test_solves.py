"""How iterative linear solves ended stands in the trace, and in the message where it matters."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from invdiff import Problem, load_prior, registry, simulate
from invdiff.noise import Gaussian
from invdiff.operators import Identity, LinearOperator
from invdiff.priors import Prior
from invdiff.solvers import IterativeSolver, Run, make_solver
from invdiff.solvers.common.data_step import data_step


class Spread(LinearOperator):
    """Factors from 1 down to `least`, without a closed form."""

    in_shape = out_shape = (1, 8, 40)

    def __init__(self, least: float) -> None:
        self.factors_ = torch.logspace(0, torch.tensor(least).log10().item(), 320).reshape(1, 8, 40)

    def forward(self, x: Tensor) -> Tensor:
        return self.factors_.to(x) * x


def problem(least: float, noise: float = 0.0) -> Problem:
    x = torch.rand(2, 1, 8, 40, generator=torch.Generator().manual_seed(0))
    return simulate(Spread(least), x, noise)


@pytest.mark.parametrize("name", ["ilvr", "mcg", "convolved", "pigdm", "diffpir", "daps", "pnpdm", "mmps"])
def test_the_trace_has_iterations_and_residuals(name: str) -> None:
    solver = make_solver(registry.solvers[name], {"steps": 4})
    result = solver(problem(0.1, 0.05), load_prior("gaussian"), samples=2)
    iterations, residual = result.trace["solve_iterations"], result.trace["solve_residual"]
    assert 3 <= len(iterations) == len(residual) <= 4
    assert bool((iterations > 0).all())
    assert bool((residual > 0).all())
    assert result.status in ("ok", "misfit")
    if name != "mmps":  # whose few iterations are a parameter
        assert float(residual.max()) < 0.1
    assert "a linear solve" not in result.message
    closed = solver(simulate(Identity((1, 8, 40)), torch.full((1, 1, 8, 40), 0.5), 0.1), load_prior("gaussian"))
    assert name == "mmps" or "solve_residual" not in closed.trace


def test_a_residual_that_matters_is_reported_and_the_status_stays() -> None:
    result = make_solver(registry.solvers["mcg"], {"steps": 3})(problem(1e-3), load_prior("gaussian"))
    assert result.status == "ok"
    largest = float(result.trace["solve_residual"].max())
    assert largest > 0.1
    start = f"MCG: a linear solve at step {int(result.trace['solve_residual'].argmax()) + 1} of 3 stopped at its limit "
    assert result.message.startswith(start + "of 20 iterations with a relative residual of ")
    assert result.message.endswith("; check how well the samples fit the measurement")


def test_the_pseudo_inverse_tells_how_it_ended() -> None:
    result = registry.solvers["pinv"]()(problem(0.1), load_prior("gaussian"))
    assert float(result.trace["solve_residual"]) <= 1e-6
    assert 10 < float(result.trace["solve_iterations"]) < 1000
    assert result.message == ""


@dataclass(frozen=True, kw_only=True)
class Hasty(IterativeSolver):
    """Steps towards the data, one of them with a single iteration."""

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        return torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        return x + data_step(run.problem, None, x, 0.0, iterations=(1, 100)[i])


def test_the_worst_solve_of_all_batches_is_reported() -> None:
    wide = problem(0.01)
    alone = [Hasty()(wide[b], load_prior("gaussian")) for b in range(2)]
    both = Hasty()(wide, load_prior("gaussian"), batch_size=1)
    worst = max(alone, key=lambda r: float(r.trace["solve_residual"][0]))
    assert "at step 1 of 2 stopped at its limit of 1 iterations" in worst.message
    assert both.message == worst.message
    mean = torch.stack([r.trace["solve_residual"] for r in alone]).mean(0)
    torch.testing.assert_close(both.trace["solve_residual"], mean)


def test_a_solve_that_leaves_the_range_of_numbers_is_divergence() -> None:
    broken = Problem(Spread(1e-3), Gaussian(0.1), torch.full((1, 1, 8, 40), 1e30))
    result = make_solver(registry.solvers["mcg"], {"steps": 3})(broken, load_prior("gaussian"))
    assert result.status == "diverged"
    assert result.message.startswith(
        "MCG: a linear solve at step 1 of 3 left the range of numbers; check the values of"
    )
    assert bool(torch.isfinite(result.samples).all())
