"""Products with the prior's transposed Jacobian are counted, and what has no gradient is refused before any work."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invdiff import Problem, load_prior, registry, simulate
from invdiff.noise import Gaussian, Poisson
from invdiff.operators import Identity, Inpainting, LinearOperator, Operator
from invdiff.priors import Prior
from invdiff.solvers import DPS, MMPS, SDA, PiGDM, Solver, make_solver

MASK = torch.tensor([[1, 0, 1, 1]] * 4)


@pytest.fixture
def problem() -> Problem:
    return simulate(Inpainting(MASK), torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)), 0.05)


@pytest.mark.parametrize(
    ("solver", "products"),
    [(DPS(steps=7), 7), (SDA(steps=5, corrections=2), 13), (registry.solvers["ddrm"](steps=5), 0)],
)
def test_products_are_counted_for_one_sample(solver: Solver, products: int, problem: Problem) -> None:
    result = solver(problem, load_prior("gaussian"), samples=4, batch_size=5)
    assert result.vjps == products


def test_products_of_conjugate_gradients_are_counted(problem: Problem) -> None:
    # Each of the first two iterations takes one product, and one more turns their answer into an image.
    result = MMPS(steps=4, iterations=2, tolerance=0.0, order=1)(problem, load_prior("gaussian"))
    assert result.nfe == 4
    assert result.vjps == 4 * 3


def test_products_are_counted_where_images_are_taken_one_by_one() -> None:
    problem = simulate(Identity((1, 4, 4)), torch.full((2, 1, 4, 4), 0.5), Poisson(50.0))
    assert DPS(steps=6)(problem, load_prior("gaussian"), samples=2).vjps == 6


class Table(Operator):
    """Looks its values up, which has no gradient."""

    in_shape = out_shape = (1, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.linspace(0, 1, 256, dtype=x.dtype)[(255 * x.detach().clamp(0, 1)).long()]


class ByNumpy(Operator):
    in_shape = out_shape = (1, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.numpy() ** 2)


class Counting(Prior):
    """The prior of uncorrelated pixels, with or without a gradient; it counts what it is asked."""

    shape, std, sigma_min, sigma_max = (1, None, None), 0.25, 0.01, 100.0

    def __init__(self, gradient: bool) -> None:
        self.gradient, self.calls = gradient, 0

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        self.calls += 1
        x = x if self.gradient else x.detach()
        return 0.5 + (x - 0.5) * 0.0625 / (0.0625 + float(sigma) ** 2)


@pytest.mark.parametrize("operator", [Table(), ByNumpy()], ids=["detached", "numpy"])
@pytest.mark.parametrize("name", [n for n, cls in registry.solvers.items() if "linear" not in cls.needs])
def test_an_operator_without_a_gradient_is_refused_before_any_work(name: str, operator: Operator) -> None:
    prior = Counting(gradient=True)
    problem = Problem(operator, Gaussian(0.1), torch.rand(1, 1, 4, 4))
    kind = type(operator).__name__
    with pytest.raises(ValueError, match=f"needs an operator whose output has a gradient in its input; got {kind}"):
        make_solver(registry.solvers[name], {} if name == "auto" else {"steps": 3})(problem, prior)
    assert prior.calls == 0
    assert "vjp" in registry.solvers[name].unmet(problem)


def test_a_prior_without_a_gradient_is_refused_at_its_first_evaluation(problem: Problem) -> None:
    for solver in (DPS(steps=3), PiGDM(steps=3), MMPS(steps=3), make_solver(registry.solvers["tds"], {"steps": 3})):
        prior = Counting(gradient=False)
        with pytest.raises(ValueError, match=r"prior: Counting.denoise: expected an output with a gradient"):
            solver(problem, prior)
        assert prior.calls == 1


@pytest.mark.parametrize("name", ["ald", "langevin", "reddiff", "map", "diffpir"])
def test_a_solver_that_does_not_differentiate_the_prior_takes_any(name: str, problem: Problem) -> None:
    solver = make_solver(registry.solvers[name], {"steps": 30})
    with_gradient, without = (solver(problem, Counting(gradient=g)) for g in (True, False))
    assert torch.equal(with_gradient.samples, without.samples)
    assert without.vjps == 0


class Weights(LinearOperator):
    """Weights, by torch."""

    in_shape = out_shape = (1, 4, 4)
    weights = torch.linspace(0.5, 1.5, 16).reshape(1, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.weights.to(x) * x


class WeightsByNumpy(Weights):
    """The same by numpy, which autograd cannot follow, with an adjoint."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.weights.to(x).numpy() * x.numpy())

    def adjoint(self, y: Tensor) -> Tensor:
        return self.forward(y)


class Detached(Weights):
    """The same, cut from the graph, with an adjoint."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()

    def adjoint(self, y: Tensor) -> Tensor:
        return self.forward(y)


class Neither(Weights):
    """Cut from the graph, without an adjoint."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


@pytest.mark.parametrize("operator", [WeightsByNumpy(), Detached()], ids=lambda o: type(o).__name__)
def test_a_written_adjoint_is_the_gradient_of_a_linear_operator(operator: LinearOperator) -> None:
    y = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    expected, got = (
        DPS(steps=5)(Problem(a, Gaussian(0.1), y), load_prior("gaussian"), seed=2) for a in (Weights(), operator)
    )
    torch.testing.assert_close(got.samples, expected.samples)
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(operator, (x,), check_forward_ad=False)


def test_a_linear_operator_with_neither_is_refused() -> None:
    problem = Problem(Neither(), Gaussian(0.1), torch.rand(1, 1, 4, 4))
    with pytest.raises(ValueError, match="DPS needs an operator whose output has a gradient in its input; got Neither"):
        DPS(steps=3)(problem, load_prior("gaussian"))
    with pytest.raises(TypeError, match="Neither: forward: expected torch operations, whose gradient is the adjoint"):
        Neither().adjoint(problem.measurement)


def test_twisted_has_no_parameter_that_it_ignores() -> None:
    with pytest.raises(ValueError, match="unknown parameter of TwistedMultistep 'damped'"):
        make_solver(registry.solvers["twisted"], {"damped": True})
