"""TDS against its paper's formulas, and against exact posteriors."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from invdiff.noise import Gaussian
from invdiff.operators import Inpainting, Operator
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, load_prior
from invdiff.problem import Problem, simulate
from invdiff.solvers import TDS, Run
from invdiff.streams import Streams, generator
from invdiff.testing import check_solver, exact_problems, grade_solver
from invdiff.testing.exact import MatrixOperator, mixture_problem


def _keep(weights: Tensor, uniforms: Tensor) -> Tensor:
    return torch.arange(weights.shape[1]).expand_as(weights)


def test_is_the_authors_algorithm_in_their_coordinates() -> None:
    """Algorithm 1 in VP coordinates with the twisted mean of the authors' code, for three particles that never meet."""
    g = generator(5)
    d, p = 4, 3
    root = torch.randn(d, d, generator=g, dtype=torch.float64)
    cov = root @ root.T
    cov = cov / cov.diagonal().mean() * 0.25
    prior = GaussianPrior(torch.zeros(d, 1, 1), cov)
    u = torch.eye(2, dtype=torch.float64)
    v = torch.linalg.qr(torch.randn(d, 2, generator=g, dtype=torch.float64)).Q
    operator = MatrixOperator(u, torch.tensor([1.0, 0.6], dtype=torch.float64), v)
    a = torch.tensor([1.0, 0.6], dtype=torch.float64)[:, None] * v.T
    y, std = torch.tensor([[0.4, -0.3]], dtype=torch.float64), 0.1
    problem = Problem(operator, Gaussian(std), y)
    solver = TDS(steps=6, particles=p, threshold=0.0, damped=False)
    levels = tuple(solver.levels(problem, prior).tolist())
    run = Run(problem, prior, levels, Streams([generator(9)]))
    state = solver.start(run)
    x = state.x[0].flatten(1)
    log_w = torch.zeros(p, dtype=torch.float64)
    stream = Streams([generator(9)])
    stream.randn(state.x)

    def twisted(z: Tensor, abar: float) -> tuple[Tensor, Tensor, Tensor]:
        z = z.detach().requires_grad_()
        score = -torch.linalg.solve(abar * cov + (1 - abar) * torch.eye(d, dtype=torch.float64), z.T).T
        x0 = (z + (1 - abar) * score) / math.sqrt(abar)
        sigma2 = (1 - abar) / abar
        variance = std**2 + sigma2 * 0.25 / (sigma2 + 0.25)
        log_psi = torch.distributions.Normal(x0 @ a.T, math.sqrt(variance)).log_prob(y).sum(1)
        (gradient,) = torch.autograd.grad(log_psi.sum(), z)
        return x0.detach(), log_psi.detach(), gradient

    abar = [1 / (1 + s**2) for s in levels]
    z = x * math.sqrt(abar[0])
    x0, log_psi, gradient = twisted(z, abar[0])
    log_w = log_psi.clone()
    for i, (now, after) in enumerate(itertools.pairwise(abar[:-1])):
        state = solver.step(run, state, i)
        stream.rand(torch.empty(1, p, dtype=torch.float64))  # what resampling draws
        beta = 1 - now / after
        std_t = math.sqrt(beta * (1 - after) / (1 - now))

        def mean(estimate: Tensor, z: Tensor = z, now: float = now, after: float = after, beta: float = beta) -> Tensor:
            weights = math.sqrt(after) * beta / (1 - now), math.sqrt(now / after) * (1 - after) / (1 - now)
            return weights[0] * estimate + weights[1] * z

        proposal = torch.distributions.Normal(mean(x0 + (1 - now) / math.sqrt(now) * gradient), std_t)
        plain = torch.distributions.Normal(mean(x0), std_t)
        z = proposal.mean + std_t * stream.randn(state.x)[0].flatten(1)
        log_w += (plain.log_prob(z) - proposal.log_prob(z)).sum(1) - log_psi
        x0, log_psi, gradient = twisted(z, after)
        log_w += log_psi
        torch.testing.assert_close(state.x[0].flatten(1) * math.sqrt(after), z, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(state.log_w[0], log_w, rtol=1e-8, atol=1e-8)


def test_more_particles_lead_to_the_posterior() -> None:
    """Mixture of 25 modes: the distance falls towards that of exact samples, as `limit` declares."""
    problem, prior = mixture_problem(8, 2, seed=3)
    excess = {}
    for particles in (1, 8, 64):
        grade = grade_solver(TDS(particles=particles, steps=40), problem, prior, samples=512)
        excess[particles] = grade.distance - grade.floor
    assert excess[8] < 0.7 * excess[1], excess
    assert excess[64] < 0.2, excess


def test_gaussian_posterior_and_its_evidence() -> None:
    g = generator(2)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    prior = GaussianPrior(torch.zeros(6, 1, 1), root @ root.T / 6)
    v = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64)).Q[:, :3]
    operator = MatrixOperator(torch.eye(3).double(), torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64), v)
    problem = Problem(operator, Gaussian(0.3), torch.tensor([[1.0, -0.5, 0.2]], dtype=torch.float64))
    solver = TDS(particles=40, steps=50)
    grade = grade_solver(solver, problem, prior, samples=1000)
    assert grade.bias < 0.15
    assert grade.variance_ratio == pytest.approx(1, abs=0.15)
    evidence = solver(problem, prior, samples=1000).log_evidence
    assert evidence is not None
    assert float(evidence) == pytest.approx(float(ExactPosterior(problem, prior).log_evidence), abs=0.2)


class Squares(Operator):
    in_shape = out_shape = (1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x**2


def test_nonlinear_operator() -> None:
    """What is squared is known up to its sign, so both signs are found where the prior is symmetric."""
    prior = GaussianPrior(torch.zeros(1, 3, 3), torch.eye(9))
    problem = Problem(Squares(), Gaussian(0.1), torch.full((1, 1, 3, 3), 0.64, dtype=torch.float64))
    result = TDS(particles=50, steps=50)(problem, prior, samples=200)
    assert result.status == "ok"
    assert float((result.samples.square() - 0.64).abs().mean()) < 0.25
    assert bool((result.samples > 0).any()) and bool((result.samples < 0).any())


def test_noiseless_data_few_steps_and_limited_priors() -> None:
    prior = load_prior("gaussian")
    prior.sigma_max = 1.0
    x = torch.rand(2, 1, 4, 4, generator=generator(0), dtype=torch.float64)
    for mask in (torch.ones(4, 4), torch.zeros(4, 4), torch.rand(4, 4, generator=generator(1)) < 0.5):
        for steps, std in ((1, 0.0), (2, 0.1), (20, 0.0)):
            result = TDS(steps=steps, particles=4)(simulate(Inpainting(mask), x, std), prior, samples=5)
            assert result.status in ("ok", "misfit")
            assert result.samples.shape == (2, 5, 1, 4, 4)
            assert bool(torch.isfinite(result.samples).all())


def test_contract() -> None:
    check_solver(TDS(steps=10, particles=10), exact_problems(), samples=20).raise_if_failed()


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("particles", 0), ("spread", 0.0), ("threshold", 1.5)])
def test_bad_parameters_say_what_was_expected(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"TDS: {name}: expected"):
        TDS(**{name: value})  # type: ignore[arg-type]
