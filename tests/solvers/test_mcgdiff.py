"""MCGDiff against its paper's formulas, and against exact posteriors."""

import math

import pytest
import torch
from torch import Tensor

from invdiff.noise import Gaussian
from invdiff.operators import Identity, Inpainting
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, MixturePrior, load_prior
from invdiff.problem import Problem, simulate
from invdiff.solvers import MCGDiff, Run
from invdiff.solvers.common import particles as pf
from invdiff.solvers.mcgdiff import Weighed
from invdiff.streams import Streams, generator
from invdiff.testing import check_solver, exact_problems, grade_solver
from invdiff.testing.exact import MatrixOperator, mixture_problem


def _keep(weights: Tensor, uniforms: Tensor) -> Tensor:
    return torch.arange(weights.shape[1]).expand_as(weights)


def test_is_the_authors_algorithm_in_their_coordinates() -> None:
    """One step in the paper's coordinates: VP, all coefficients in a full basis, `abar` instead of levels."""
    g = generator(11)
    d, p, kappa, eta = 5, 7, 1e-2, 0.6
    q = torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64)).Q
    s = torch.tensor([1.2, 0.5, 0.1], dtype=torch.float64)
    u = torch.linalg.qr(torch.randn(3, 3, generator=g, dtype=torch.float64)).Q
    operator, std = MatrixOperator(u, s, q[:, :3]), 0.2
    means = torch.randn(2, d, 1, 1, generator=g, dtype=torch.float64)
    prior = MixturePrior(torch.ones(2), means, 0.09)
    prior.std = 0.5  # r = 1, as in the paper
    y = torch.randn(1, 3, generator=g, dtype=torch.float64)
    problem = Problem(operator, Gaussian(std), y)
    # The coefficients' own levels are 1/6, 0.4 and 2; the step from 0.9 to 0.3 sets the second one free.
    levels = (3.0, 2.0, 0.9, 0.4, 0.3, 1 / 6, 0.05, 0.0)
    solver = MCGDiff(steps=7, particles=p, kappa=kappa, eta=eta, resample=_keep)
    x = torch.randn(1, p, d, 1, 1, generator=g, dtype=torch.float64)
    tau = std / s
    observed = (u.T @ y[0]) / s
    for i in range(5):
        run = Run(problem, prior, levels, Streams([generator(3)]))
        state = Weighed(x, pf.coefficients(run.data_levels[0], x))
        got = q.T @ solver.step(run, state, i).x[0].flatten(1).T

        now, after = 1 / (1 + levels[i] ** 2), 1 / (1 + levels[i + 1] ** 2)
        atau = 1 / (1 + tau**2)
        x0 = prior.denoise(x[0], levels[i]).flatten(1)
        z = math.sqrt(now) * x[0].flatten(1)  # x_t of the paper
        eps = (z - math.sqrt(now) * x0) / math.sqrt(1 - now)
        std_t = eta * math.sqrt((1 - after) / (1 - now) * (1 - now / after))
        mean = (math.sqrt(after) * x0 + math.sqrt(1 - after - std_t**2) * eps) @ q
        z = z @ q
        stream = Streams([generator(3)])
        stream.rand(torch.empty(1, p, dtype=torch.float64))  # what resampling draws
        noise = stream.randn(x)[0].flatten(1) @ q
        expected = mean + std_t * noise
        log_w = torch.zeros(p, dtype=torch.float64)
        for k in range(3):
            if tau[k] > levels[i + 1] * (1 + 1e-12):
                continue
            centre = math.sqrt(float(atau[k])) * observed[k]
            v_now, v_after = (1 - (1 - kappa) * a / atau[k] for a in (now, after))
            c_now, c_after = (math.sqrt(a / float(atau[k])) * centre for a in (now, after))
            log_w += torch.distributions.Normal(mean[:, k], (std_t**2 + v_after).sqrt()).log_prob(c_after)
            log_w -= torch.distributions.Normal(c_now, v_now.sqrt()).log_prob(z[:, k])
            log_w += 0.5 * math.log(after / now)  # densities of the data in the units of x_0
            gain = std_t**2 / (std_t**2 + v_after)
            expected[:, k] = gain * c_after + (1 - gain) * mean[:, k] + (gain * v_after).sqrt() * noise[:, k]
        torch.testing.assert_close(got.T * math.sqrt(after), expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(run.log_evidence, (log_w.logsumexp(0) - math.log(p))[None], rtol=1e-9, atol=1e-9)


def test_more_particles_lead_to_the_posterior() -> None:
    """Mixture of 25 modes: the distance falls towards that of exact samples, as `limit` declares."""
    problem, prior = mixture_problem(8, 2, seed=3)
    excess = {}
    for particles in (2, 8, 64):
        grade = grade_solver(MCGDiff(particles=particles, steps=60), problem, prior, samples=1024)
        excess[particles] = grade.distance - grade.floor
    # Measured: 0.73, 0.13, 0.03; 1024 exact samples differ from others by 0.03.
    assert excess[8] < 0.6 * excess[2], excess
    assert excess[64] < 0.12, excess


def test_evidence_is_near_the_exact_one() -> None:
    for seed in range(3):
        problem, prior = mixture_problem(8, 2, seed)
        exact = float(ExactPosterior(problem, prior).log_evidence)
        got = MCGDiff(particles=100, steps=100, kappa=1e-5)(problem, prior, samples=1000).log_evidence
        assert got is not None
        assert float(got) == pytest.approx(exact, abs=0.8)  # one factor of sqrt(2 pi) too many would be 0.9


def test_gaussian_posterior() -> None:
    """Independent coefficients, each with its own level: mean and variance within the error of 100 steps."""
    g = generator(2)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    prior = GaussianPrior(torch.zeros(6, 1, 1), root @ root.T / 6)
    u = torch.linalg.qr(torch.randn(3, 3, generator=g, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64)).Q[:, :3]
    operator = MatrixOperator(u, torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64), v)
    problem = Problem(operator, Gaussian(0.3), torch.tensor([[1.0, -0.5, 0.2]], dtype=torch.float64))
    # Measured: bias 0.00 +- 0.03 (one independent sample for each particle system), variance ratio 0.93 at 100 steps.
    grade = grade_solver(MCGDiff(particles=10, steps=100, kappa=1e-5), problem, prior, samples=2000)
    assert grade.bias < 0.1
    assert grade.variance_ratio == pytest.approx(0.93, abs=0.1)


def test_noiseless_data_are_met_exactly() -> None:
    x = torch.rand(2, 1, 4, 4, generator=generator(0), dtype=torch.float64)
    problem = simulate(Inpainting(torch.rand(4, 4, generator=generator(1)) < 0.5), x, 0.0)
    result = MCGDiff(steps=20, particles=8)(problem, load_prior("gaussian"), samples=8)
    assert result.status == "ok"
    residual = problem.measurement[:, None] - problem.operator(result.samples.flatten(0, 1)).reshape(2, 8, 1, 4, 4)
    assert float(residual.abs().max()) < 1e-12
    assert float(result.std.max()) > 0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps_and_limited_priors(steps: int) -> None:
    prior = load_prior("gaussian")
    prior.sigma_max = 1.0
    for operator in (Identity((1, 3, 3)), Inpainting(torch.zeros(3, 3)), Inpainting(torch.ones(3, 3))):
        for std in (0.0, 0.1, 30.0):
            problem = simulate(operator, torch.rand(1, 1, 3, 3, generator=generator(4)), std)
            result = MCGDiff(steps=steps, particles=5)(problem, prior, samples=7)
            assert result.status in ("ok", "misfit")
            assert result.samples.shape == (1, 7, 1, 3, 3)
            assert bool(torch.isfinite(result.samples).all())


def test_contract() -> None:
    problems = exact_problems()
    check_solver(MCGDiff(steps=20, particles=20), problems, samples=40).raise_if_failed()


def test_resampling_schemes_are_interchangeable() -> None:
    problem, prior = exact_problems()["modes"]
    for scheme in (pf.stratified, pf.systematic, pf.residual):
        grade = grade_solver(MCGDiff(steps=20, particles=50, resample=scheme), problem, prior, samples=1000)
        assert grade.bias < 0.3


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("particles", 0), ("eta", 0.0), ("eta", 1.5), ("kappa", 0.0), ("kappa", math.nan)]
)
def test_bad_parameters_say_what_was_expected(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"MCGDiff: {name}: expected"):
        MCGDiff(**{name: value})  # type: ignore[arg-type]
