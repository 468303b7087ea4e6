"""What every solver does alike, checked on all of the registry."""

import inspect
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

import invdiff.solvers
from invdiff import Problem, load_prior, reconstruct, registry, simulate
from invdiff.noise import Gaussian, Poisson
from invdiff.operators import Gain, Identity, Inpainting, Operator
from invdiff.priors import GaussianPrior, Prior
from invdiff.solvers import IterativeSolver, Run, Solver, make_solver
from invdiff.streams import Streams, generator

SOLVERS = dict(registry.solvers)
QUICK: dict[str, dict[str, int]] = {"dip": {"steps": 10, "width": 6, "depth": 2}}  # it trains a network


class Squares(Operator):
    in_shape = out_shape = (1, 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return x**2


@pytest.fixture
def problem() -> Problem:
    mask = torch.tensor([[1, 0, 1, 1, 0]] * 4)
    return simulate(Inpainting(mask), torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(0)), 0.05)


def test_every_public_solver_is_registered() -> None:
    public = {
        v
        for n in invdiff.solvers.__all__
        if isinstance(v := getattr(invdiff.solvers, n), type) and issubclass(v, Solver) and not inspect.isabstract(v)
    }
    assert public - {Solver} == set(SOLVERS.values())


@pytest.mark.parametrize("name", SOLVERS)
def test_result_has_its_shape_and_repeats_bit_for_bit(name: str, problem: Problem) -> None:
    prior, solver = load_prior("gaussian"), SOLVERS[name](**QUICK.get(name, {}))
    a = solver(problem, prior, samples=2, seed=1)
    b = solver(problem, prior, samples=2, seed=1)
    assert a.samples.shape == (3, 2, 1, 4, 5)
    assert a.status in ("ok", "misfit")
    assert a.samples.dtype == problem.measurement.dtype
    assert torch.equal(a.samples, b.samples)
    assert all(len(v) > 0 and bool(torch.isfinite(v).all()) for v in a.trace.values())


@pytest.mark.parametrize("name", SOLVERS)
def test_batch_of_no_images(name: str, problem: Problem) -> None:
    result = SOLVERS[name](**QUICK.get(name, {}))(problem[[]], load_prior("gaussian"), samples=2)
    assert result.samples.shape == (0, 2, 1, 4, 5)


def test_network_evaluations_are_counted_for_one_sample(problem: Problem) -> None:
    result = SOLVERS["dps"](steps=7)(problem, load_prior("gaussian"), samples=4, batch_size=5)
    assert result.nfe == 7
    assert result.trace["residual"].shape == (7,)


@dataclass(frozen=True, kw_only=True)
class Needy(Solver):
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "gaussian"})

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        raise AssertionError("no work before the checks")

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        raise AssertionError


def test_unmet_needs_are_named_before_any_work() -> None:
    problem = simulate(Squares(), torch.rand(1, 1, 4, 5), 0.1)
    with pytest.raises(ValueError, match=r"Needy needs a linear operator; got Squares.*solvers that would do: .*dps"):
        Needy()(problem, load_prior("gaussian"))
    problem = Problem(Identity((1, 4, 5)), Poisson(10.0), torch.rand(1, 1, 4, 5))
    with pytest.raises(ValueError, match=r"Needy needs Gaussian noise; got .*Poisson"):
        Needy()(problem, load_prior("gaussian"))


def test_bad_calls_say_what_was_expected(problem: Problem) -> None:
    prior, dps = load_prior("gaussian"), SOLVERS["dps"](steps=2)
    with pytest.raises(ValueError, match="DPS: samples: expected an integer >= 1, got 0"):
        dps(problem, prior, samples=0)
    with pytest.raises(ValueError, match="DPS: seed: expected an integer >= 0, got -1"):
        dps(problem, prior, seed=-1)
    small = GaussianPrior(torch.zeros(1, 2, 2), torch.eye(4))
    with pytest.raises(
        ValueError,
        match=r"expected one of images \(1, 4, 5\), as the operator has, got GaussianPrior of shape \(1, 2, 2\)",
    ):
        dps(problem, small)


def test_options_by_name() -> None:
    assert make_solver(SOLVERS["dps"], {"steps": 5, "scale": 2}).scale == 2.0  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="unknown parameter of DPS 'step'; did you mean 'steps'"):
        make_solver(SOLVERS["dps"], {"step": 5})
    with pytest.raises(ValueError, match="steps: expected int, got 'many'"):
        make_solver(SOLVERS["dps"], {"steps": "many"})


def test_reconstruct_by_names_and_by_objects(problem: Problem) -> None:
    by_name = reconstruct(problem, "gaussian", "dps", samples=2, seed=4, steps=3)
    by_object = reconstruct(problem, load_prior("gaussian"), SOLVERS["dps"](steps=3), samples=2, seed=4)
    assert torch.equal(by_name.samples, by_object.samples)
    with pytest.raises(ValueError, match="options go with a solver given by name"):
        reconstruct(problem, "gaussian", SOLVERS["dps"](), steps=3)


def test_progress_is_reported(problem: Problem) -> None:
    seen: list[tuple[int, int]] = []
    SOLVERS["dps"](steps=3)(problem, load_prior("gaussian"), batch_size=2, progress=lambda *a: seen.append(a))
    assert seen == [(i, 6) for i in range(1, 7)]


def test_pseudo_inverse_of_a_mask_fills_with_zeros(problem: Problem) -> None:
    result = SOLVERS["pinv"]()(problem, load_prior("gaussian"))
    torch.testing.assert_close(result.samples[:, 0], problem.measurement)
    assert result.nfe == 0


@dataclass(frozen=True, kw_only=True)
class Fragile(Solver):
    """Breaks the second row only."""

    lower: ClassVar[str] = ""

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        return torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        out = x * 0.5
        out[1] = torch.nan
        return out


class Odd(Prior):
    """A prior whose denoiser returns a given tensor."""

    shape, std, sigma_min, sigma_max = (1, None, None), 0.25, 0.01, 100.0

    def __init__(self, returns: Callable[[Tensor], object]) -> None:
        self.returns = returns

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.returns(x)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("returns", "got"),
    [
        (lambda x: x[..., :1], "(3, 1, 4, 1)"),  # these would broadcast
        (lambda x: x.mean(0), "(1, 4, 5)"),
        (lambda x: torch.cat([x, x], 1), "(3, 2, 4, 5)"),  # as of a network with a learned variance
        (lambda x: (x, x), "tuple"),
        (lambda x: x.mean(), "()"),
        (lambda x: None, "NoneType"),
    ],
)
def test_what_a_prior_returns_is_the_priors_fault(returns: Callable[[Tensor], object], got: str) -> None:
    problem = Problem(Identity((1, 4, 5)), Gaussian(0.1), torch.rand(3, 1, 4, 5))
    with pytest.raises(ValueError, match=r"prior: Odd.denoise: expected images \(3, 1, 4, 5\)") as caught:
        SOLVERS["dps"](steps=2)(problem, Odd(returns))
    assert f"got {got};" in str(caught.value)
    assert "invdiff check prior" in str(caught.value)


class Nowhere(Squares):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0


def test_numbers_that_are_not_finite_are_the_operators_fault() -> None:
    problem = Problem(Nowhere(), Gaussian(0.1), torch.rand(3, 1, 4, 5))
    result = SOLVERS["dps"](steps=2)(problem, load_prior("gaussian"))
    assert result.status == "diverged"
    assert result.message.endswith("Nowhere gives NaN or infinity for images in [0, 1]: invdiff check operator")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("sigma_min", 200.0, "expected 0 < sigma_min < sigma_max, got 200 and 100"),
        ("sigma_max", math.nan, "expected 0 < sigma_min < sigma_max"),
        ("std", 0.0, "std: expected a positive number"),
        ("std", "wide", "expected numbers, got 'wide'"),
        ("shape", (1, -4, 5), "shape: expected (C, H, W)"),
        ("shape", 5, "shape: expected (C, H, W)"),
    ],
)
def test_attributes_of_a_prior_that_make_no_sense(name: str, value: object, words: str) -> None:
    problem = Problem(Identity((1, 4, 5)), Gaussian(0.1), torch.rand(3, 1, 4, 5))
    prior = Odd(lambda x: x)
    setattr(prior, name, value)
    with pytest.raises(ValueError, match="Odd") as caught:
        SOLVERS["dps"](steps=2)(problem, prior)
    assert words in str(caught.value)


def test_one_row_that_breaks_leaves_the_others_alone() -> None:
    problem = Problem(Identity((1, 4, 5)), Gaussian(0.1), torch.rand(3, 1, 4, 5))
    result = Fragile()(problem, load_prior("gaussian"))
    assert result.status == "diverged"
    assert result.message.startswith("Fragile diverged at step 1 of 2 (image 1); it has no step size to lower")
    assert bool(torch.isfinite(result.samples).all())
    alone = Fragile()(problem[[0, 0]], load_prior("gaussian"))
    torch.testing.assert_close(result.samples[0], alone.samples[0])


@dataclass(frozen=True, kw_only=True)
class Halved(IterativeSolver):
    """Halves the state from level to level."""

    steps: int = 3

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        return torch.linspace(1, 0, self.steps + 1, dtype=torch.float64)

    def start(self, run: Run) -> Tensor:
        first: Tensor = super().start(run)
        return first

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        return run.denoise(x, run.levels[i]) / 2


@dataclass(frozen=True, kw_only=True)
class HalvedOnSolver(Solver):
    """The same, written for the time when `Solver` had the loop."""

    steps: int = 3

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        return torch.linspace(1, 0, self.steps + 1, dtype=torch.float64)

    def start(self, run: Run) -> Tensor:
        first: Tensor = super().start(run)  # type: ignore[misc]
        return first

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        return run.denoise(x, run.levels[i]) / 2


class Steps:
    """Half of a solver, to be mixed in."""

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        return run.denoise(x, run.levels[i]) / 2


@dataclass(frozen=True, kw_only=True)
class Mixed(Steps, Solver):
    """The same of two parts."""

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        return torch.linspace(1, 0, 4, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Named(Solver):
    """A base of someone's own, without a loop."""

    label: str = "mine"


@dataclass(frozen=True, kw_only=True)
class OnNamed(Named):
    """The same on a base of someone's own."""

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        return torch.linspace(1, 0, 4, dtype=torch.float64)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        return run.denoise(x, run.levels[i]) / 2


@pytest.mark.parametrize("cls", [HalvedOnSolver, Mixed, OnNamed])
def test_levels_and_step_on_solver_itself_make_an_iterative_solver(cls: type[Solver], problem: Problem) -> None:
    expected = Halved()(problem, load_prior("gaussian"), samples=2, seed=3)
    result = cls()(problem, load_prior("gaussian"), samples=2, seed=3)
    assert issubclass(cls, IterativeSolver)
    assert torch.equal(result.samples, expected.samples)
    assert result.nfe == expected.nfe == 3
    assert pickle.loads(pickle.dumps(cls())) == cls()


def test_levels_without_a_step_are_named() -> None:
    class Half(Solver):
        def levels(self, problem: Problem, prior: Prior) -> Tensor:
            return torch.zeros(1)

    with pytest.raises(TypeError, match=r"abstract.*step"):
        Half()


@dataclass(frozen=True, kw_only=True)
class Direct(Solver):
    """Returns the measurement, or a given tensor."""

    value: float = 1.0

    def draw(self, run: Run) -> Tensor:
        return run.problem.measurement * self.value


def test_a_direct_method_takes_no_step(problem: Problem) -> None:
    seen: list[tuple[int, int]] = []
    result = Direct()(problem, load_prior("gaussian"), samples=2, progress=lambda *a: seen.append(a))
    torch.testing.assert_close(result.samples[:, 1], problem.measurement)
    assert not issubclass(Direct, IterativeSolver)
    assert not seen
    broken = Direct(value=math.inf)(problem, load_prior("gaussian"))
    assert broken.status == "diverged"
    assert broken.message.startswith("Direct diverged at the end (image 0)")
    assert bool(torch.isfinite(broken.samples).all())


def test_a_solver_without_a_method_says_what_it_lacks(problem: Problem) -> None:
    with pytest.raises(TypeError, match="Named: expected a method draw, or levels and step"):
        Named()(problem, load_prior("gaussian"))


def test_evidence_is_the_sum_of_its_factors(problem: Problem) -> None:
    run = Run(problem, load_prior("gaussian"), (1.0, 0.0), Streams(generator(0, b) for b in range(3)))
    assert run.log_evidence is None
    run.add_evidence(torch.tensor([1.0, 2.0, 3.0]))
    run.add_evidence(torch.tensor([0.5, 0.5, 0.5]))
    torch.testing.assert_close(run.log_evidence, torch.tensor([1.5, 2.5, 3.5]))


def test_what_is_not_seen_has_no_noise_in_one_form_and_infinite_noise_in_the_other() -> None:
    gain = Gain((1, 2, 2), gain=torch.tensor([[0.5, 0.0], [2.0, 1.0]]))
    problem = Problem(gain, Gaussian(0.1), torch.ones(1, 1, 2, 2))
    run = Run(problem, load_prior("gaussian"), (1.0, 0.0), Streams([generator(0)]))
    unseen = ~run.normalized.seen.bool()
    assert bool(unseen.any())
    assert bool((run.normalized.tau[unseen] == 0).all())
    assert bool(run.data_levels.tau[unseen].isinf().all())
    torch.testing.assert_close(run.normalized.tau[~unseen].double(), run.data_levels.tau[~unseen])
    assert run.singular is run.singular  # found once
    assert run.normalized is run.normalized
