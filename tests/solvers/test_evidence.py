"""The evidence of every solver that estimates it, against the exact one: an estimate without bias, up to its levels."""

import math

import pytest
import torch
from torch import Tensor

from invdiff import registry
from invdiff.noise import Gaussian
from invdiff.operators import Blur, Inpainting, LinearOperator, Tomography
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, Prior, photograph_gaussian
from invdiff.problem import Problem, simulate
from invdiff.solvers import MCGDiff
from invdiff.streams import generator
from invdiff.testing.exact import MatrixOperator, mixture_problem

SOLVERS = ("mcgdiff", "tds", "twisted")
CLOUDS, PARTICLES = 6, 512


def smooth() -> GaussianPrior:
    """Images of 4 x 4 pixels whose correlation falls by 1 / e over 1.5 pixels."""
    p = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
    return GaussianPrior(torch.full((1, 4, 4), 0.5), 0.09 * torch.exp(-torch.cdist(p, p) / 1.5))


def gaussian_kernel(size: int, std: float) -> Tensor:
    k = torch.exp(-((torch.arange(size, dtype=torch.float64) - size // 2) ** 2) / (2 * std**2))
    return torch.outer(k, k) / k.sum() ** 2


def problems() -> dict[str, tuple[Problem, Prior]]:
    prior, g = smooth(), generator(3)
    x = prior.sample(1, g, torch.float64)
    rank3 = (
        torch.randn(8, 3, generator=g, dtype=torch.float64) @ torch.randn(3, 16, generator=g, dtype=torch.float64) / 4
    )
    eye, sight = torch.eye(2, dtype=torch.float64), torch.tensor([1.0, 1e-4], dtype=torch.float64)
    operators = {
        "mask": Inpainting(torch.rand(4, 4, generator=g) < 0.5),
        "blur": Blur((1, 4, 4), kernel=gaussian_kernel(5, 0.9), border="circular"),
        "tomography": Tomography((1, 4, 4), angles_deg=[0.0, 60.0, 120.0]),
        "rank 3 of 8": LinearOperator.from_matrix(rank3, (1, 4, 4)),
    }
    return {
        **{n: (simulate(a, x, 0.1 if n == "tomography" else 0.05, seed=1), prior) for n, a in operators.items()},
        "hardly seen": (
            Problem(MatrixOperator(eye, sight, eye), Gaussian(0.05), torch.tensor([[0.1, 0.02]], dtype=torch.float64)),
            GaussianPrior(torch.zeros(2, 1, 1), 0.04 * eye),
        ),
        "mixture": mixture_problem(8, 2, seed=0),
    }


def ratio(name: str, problem: Problem, prior: Prior, systems: int, **options: object) -> tuple[float, float]:
    """Return the mean of estimate over exact evidence, over particle systems, and the standard error of that mean."""
    solver = registry.solvers[name](**options)
    y = problem.measurement.expand(systems, *problem.operator.out_shape)
    many = Problem(problem.operator, problem.noise, y)
    log_z = solver(many, prior, samples=solver.samples_per_row).log_evidence
    assert log_z is not None
    z = (log_z - ExactPosterior(problem, prior).log_evidence).exp()
    return float(z.mean()), float(z.std()) / math.sqrt(systems)


CELLS = [
    (name, label)
    for label, (problem, _) in problems().items()
    for name in SOLVERS
    # The normaliser of the last twist of `twisted` asks for singular values.
    if not registry.solvers[name].unmet(problem) and (name, label) != ("twisted", "tomography")
]


def test_the_solvers_with_evidence_are_all_here() -> None:
    problem, prior = problems()["mask"]
    few = {n: {"particles": 2, "steps": 2} for n in (*SOLVERS, "fps")} | {"dip": {"steps": 1, "width": 6, "depth": 2}}
    given = {n for n, cls in registry.solvers.items() if cls(**few.get(n, {}))(problem, prior).log_evidence is not None}
    assert given == set(SOLVERS)


@pytest.mark.parametrize(("name", "label"), CELLS)
def test_evidence_is_that_of_the_exact_posterior(name: str, label: str) -> None:
    problem, prior = problems()[label]
    mean, error = ratio(name, problem, prior, CLOUDS, particles=PARTICLES)
    # 100 levels leave up to a tenth; the error itself is estimated from few particle systems.
    assert abs(math.log(mean)) < 5 * error / mean + 0.1, (mean, error)


def test_coefficients_that_are_hardly_seen_count_as_noise() -> None:
    """A blur whose singular values fall to 2e-7: data with more noise than the highest level have a density, too."""
    prior = photograph_gaussian()
    operator = Blur((1, 16, 16), kernel=gaussian_kernel(9, 1.5), border="circular")
    problem = simulate(operator, prior.sample(1, (1, 16, 16), generator(0), torch.float64), 0.05)
    got = MCGDiff(particles=512)(problem, prior, samples=512).log_evidence
    assert got is not None
    # Measured over 8 particle systems: -1.7 with a standard deviation of 0.75; it was 780 too high.
    assert float(got - ExactPosterior(problem, prior).log_evidence) == pytest.approx(-1.7, abs=3.5)
