"""The multistep twisted filter against exact posteriors, and beside the solvers that it is made of."""

import math

import pytest
import torch

from invdiff.noise import Gaussian
from invdiff.operators import Inpainting
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, load_prior
from invdiff.problem import Problem, simulate
from invdiff.solvers import TDS, Run, TwistedMultistep
from invdiff.streams import Streams, generator
from invdiff.testing import check_solver, exact_problems, grade_solver
from invdiff.testing.exact import MatrixOperator, mixture_problem


def _gaussian(k: int) -> tuple[Problem, GaussianPrior]:
    g = generator(2)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    prior = GaussianPrior(torch.zeros(6, 1, 1), root @ root.T / 6)
    v = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64)).Q[:, :k]
    s = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)[:k]
    y = torch.tensor([[1.0, -0.5, 0.2]], dtype=torch.float64)[:, :k]
    return Problem(MatrixOperator(torch.eye(k).double(), s, v), Gaussian(0.3), y), prior


def test_twist_is_exact_for_one_measurement_of_a_gaussian() -> None:
    """With one entry the second moment along the residual is the whole covariance: psi is p(y | x_t) itself."""
    problem, prior = _gaussian(1)
    solver = TwistedMultistep(steps=8, particles=5)
    levels = tuple(solver.levels(problem, prior).tolist())
    run = Run(problem, prior, levels, Streams([generator(0)]))
    x = 3 * torch.randn(1, 5, 6, 1, 1, generator=generator(1), dtype=torch.float64)
    sigma = levels[-2]
    _, push, log_psi = solver._twist(run, x, sigma)
    normalizer = solver._normalizer(run)
    assert normalizer is not None
    z = x[0].flatten(1).requires_grad_()
    total = prior.covariance + sigma**2 * torch.eye(6)
    gain = prior.covariance @ torch.linalg.inv(total)
    a = problem.operator.v[:, 0]  # type: ignore[attr-defined]
    variance = a @ (prior.covariance - gain @ prior.covariance) @ a + 0.09
    exact = torch.distributions.Normal(z @ gain.T @ a, variance.sqrt()).log_prob(problem.measurement[0])
    (gradient,) = torch.autograd.grad(exact.sum(), z)
    torch.testing.assert_close(log_psi[0] + normalizer, exact.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(push[0].flatten(1), gradient, rtol=1e-6, atol=1e-6)


def test_gaussian_posterior_and_its_evidence() -> None:
    problem, prior = _gaussian(3)
    solver = TwistedMultistep(particles=50, steps=40)
    grade = grade_solver(solver, problem, prior, samples=1000)
    assert grade.bias < 0.1
    assert grade.variance_ratio == pytest.approx(1, abs=0.15)
    evidence = solver(problem, prior, samples=1000).log_evidence
    assert evidence is not None
    assert float(evidence) == pytest.approx(float(ExactPosterior(problem, prior).log_evidence), abs=0.2)


def test_more_particles_lead_to_the_posterior() -> None:
    problem, prior = mixture_problem(8, 2, seed=3)
    excess = {}
    for particles in (1, 8, 64):
        grade = grade_solver(TwistedMultistep(particles=particles, steps=30), problem, prior, samples=512)
        excess[particles] = grade.distance - grade.floor
    assert excess[64] < 0.06 and excess[64] < 0.6 * excess[1], excess


def test_second_order_transitions_need_fewer_levels() -> None:
    """At 20 levels, closer to the mixture's posterior than TDS by a factor of two: the mean over three problems."""
    ours: list[float] = []
    theirs: list[float] = []
    for seed in range(3):
        problem, prior = mixture_problem(8, 1, seed)
        for solver, out in ((TwistedMultistep(steps=20, particles=500), ours), (TDS(steps=20, particles=500), theirs)):
            out.append(grade_solver(solver, problem, prior, samples=1000).distance)
    assert sum(ours) < 0.5 * sum(theirs), (ours, theirs)


def test_noiseless_data_few_steps_and_limited_priors() -> None:
    prior = load_prior("gaussian")
    x = torch.rand(2, 1, 4, 4, generator=generator(0), dtype=torch.float64)
    for limit in (prior.sigma_max, 1.0):
        prior.sigma_max = limit
        for mask in (torch.ones(4, 4), torch.zeros(4, 4), torch.rand(4, 4, generator=generator(1)) < 0.5):
            for steps, std in ((1, 0.0), (2, 0.1), (20, 0.0)):
                problem = simulate(Inpainting(mask), x, std)
                result = TwistedMultistep(steps=steps, particles=4)(problem, prior, samples=5)
                assert result.status in ("ok", "misfit")
                assert result.samples.shape == (2, 5, 1, 4, 4)
                assert bool(torch.isfinite(result.samples).all())
                if steps == 20:
                    gap = problem.measurement - problem.operator(result.mean)
                    assert float(gap.abs().max()) < 0.1


def test_contract() -> None:
    check_solver(TwistedMultistep(steps=10, particles=10), exact_problems(), samples=20).raise_if_failed()


def test_bad_parameters_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="TwistedMultistep: spread: expected"):
        TwistedMultistep(spread=math.nan)
