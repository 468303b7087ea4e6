"""RED-diff, MAP, PnP, MGPS, MGDM, DCPS and Langevin: published steps, limits that are known, and bad input."""

import math

import pytest
import torch
from torch import Tensor

from invdiff import Problem, simulate
from invdiff.noise import Gaussian, Poisson
from invdiff.operators import GammaCurve, HighDynamicRange, Identity, Inpainting, LinearOperator, Operator
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior
from invdiff.solvers import DCPS, MAP, MGDM, MGPS, Langevin, PlugAndPlay, REDdiff, Run, Solver
from invdiff.solvers.common.variational import bridge, fit
from invdiff.streams import Streams, generator
from invdiff.testing import exact_problems, grade_solver


@pytest.fixture
def smooth() -> tuple[Problem, GaussianPrior]:
    """Six correlated pixels of standard deviation 1/4, for which constants for [-1, 1] mean what they say."""
    g = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    cov = root @ root.T + torch.eye(6, dtype=torch.float64)
    mean = torch.rand(1, 2, 3, generator=g, dtype=torch.float64)
    prior = GaussianPrior(mean, cov / cov.diagonal().mean() * 0.25**2)
    mask = torch.tensor([[1, 0, 1], [1, 1, 0]])
    return simulate(Inpainting(mask), prior.sample(1, g, torch.float64), 0.05), prior


def test_reddiff_is_the_authors_algorithm_in_their_coordinates(smooth: tuple[Problem, GaussianPrior]) -> None:
    """With torch's Adam, losses that are means, and a network that predicts the noise of variance-preserving states."""
    problem, prior = smooth
    solver = REDdiff(steps=25, weight=0.25, rate=0.1, normalized=False, balanced=False)
    sigmas = (solver.levels(problem, prior) / 0.5).tolist()[:-1]
    mean, cov = 2 * prior.mean.flatten() - 1, 4 * prior.covariance
    observed = problem.operator.observed
    assert observed is not None
    seen = observed.flatten()
    y = 2 * problem.measurement.flatten() - 1
    stream = generator(7, 0, 0)
    white = mean.clone()  # the posterior mean under a white prior of standard deviation 1/2 on [-1, 1]
    white[seen] += (y - mean)[seen] * 0.25 / (0.25 + 0.1**2)
    mu = white.clone().requires_grad_()
    adam = torch.optim.Adam([mu], lr=0.1, betas=(0.9, 0.99))
    for sigma in sigmas:
        abar = 1 / (1 + sigma**2)
        n = torch.randn(6, generator=stream, dtype=torch.float64)
        x = math.sqrt(abar) * mu.detach() + math.sqrt(1 - abar) * n
        total = abar * cov + (1 - abar) * torch.eye(6, dtype=torch.float64)
        eps = math.sqrt(1 - abar) * torch.linalg.solve(total, x - math.sqrt(abar) * mean)
        weight = 0.25 * math.sqrt(1 - abar) / math.sqrt(abar)
        loss = weight * ((eps - n) * mu).mean() + ((y - mu)[seen] ** 2).mean() / 2
        adam.zero_grad()
        loss.backward()
        adam.step()
    got = 2 * solver(problem, prior, seed=7).samples[0, 0].flatten() - 1
    # The start asks for the prior's mean at a finite noise level; Adam's eps is in other units.
    torch.testing.assert_close(got, mu.detach(), rtol=0, atol=1e-4)


def test_reddiff_does_not_fit_a_measurement_that_is_mostly_noise(smooth: tuple[Problem, GaussianPrior]) -> None:
    _, prior = smooth
    rows = torch.randn(6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    truth = prior.sample(1, torch.Generator().manual_seed(3), torch.float64)
    problem = simulate(LinearOperator.from_matrix(rows, (1, 2, 3)), truth, 5.0)
    exact = ExactPosterior(problem, prior)
    error = {}
    for balanced in (True, False):
        x = REDdiff(balanced=balanced)(problem, prior, samples=16).mean
        error[balanced] = float(((x - exact.mean) / exact.std).square().mean().sqrt())
    assert error[True] < 1
    assert error[False] > 5


def test_map_of_a_gaussian_is_its_mean(smooth: tuple[Problem, GaussianPrior]) -> None:
    problem, prior = smooth
    exact = ExactPosterior(problem, prior)
    x = MAP(steps=600, sigma_min=0.004)(problem, prior).samples[:, 0]
    assert bool(((x - exact.mean).abs() / exact.std).max() < 0.02)


def test_pnp_comes_near_the_mean(smooth: tuple[Problem, GaussianPrior]) -> None:
    problem, prior = smooth
    exact = ExactPosterior(problem, prior)
    x = PlugAndPlay(steps=24)(problem, prior).samples[:, 0]
    start = PlugAndPlay(steps=1)(problem, prior).samples[:, 0]
    error = ((x - exact.mean) / exact.std).square().mean().sqrt()
    assert error < 0.35
    assert error < 0.5 * ((start - exact.mean) / exact.std).square().mean().sqrt()


def test_pnp_descends_to_where_both_sides_balance(smooth: tuple[Problem, GaussianPrior]) -> None:
    """Under a nonlinear operator, `s^-2 J^T (y - A x) sigma^2 = lambda (x - E[x_0 | x])` at the last level."""
    _, prior = smooth
    truth = prior.sample(1, torch.Generator().manual_seed(3), torch.float64)
    problem = simulate(GammaCurve((1, 2, 3), gamma=1.5), truth, 0.05)
    solver = PlugAndPlay(steps=1000, weight=0.5, rate=0.02)
    z = solver(problem, prior).samples[0]
    sigma = float(solver.levels(problem, prior)[-2])
    widened = torch.eye(6, dtype=torch.float64) + sigma**2 * torch.linalg.inv(prior.covariance)
    x = (prior.mean + ((z - prior.mean).flatten() @ widened).reshape(1, 1, 2, 3)).requires_grad_()  # z = E[x_0 | x]
    (score,) = torch.autograd.grad(problem.log_likelihood(x).sum(), x)
    data, pull = sigma**2 * score, 0.5 * (x - prior.denoise(x, sigma)).detach()
    torch.testing.assert_close(data, pull, rtol=0, atol=0.02 * float(pull.abs().max()))
    assert float(pull.abs().max()) > 1e-3


def test_pnp_goes_beyond_the_level_at_which_a_sensor_clips() -> None:
    """A scene of 0.9, known to be 0.6 to 1.2 bright, seen by a sensor that saturates at 0.75: not 0.75."""
    prior = GaussianPrior(torch.full((1, 4, 4), 0.9, dtype=torch.float64), 0.15**2 * torch.eye(16, dtype=torch.float64))
    problem = simulate(HighDynamicRange((1, 4, 4)), torch.full((1, 1, 4, 4), 0.9, dtype=torch.float64), 0.02)
    assert float(PlugAndPlay(steps=24)(problem, prior).mean.mean()) > 0.85


def test_langevin_converges_to_the_posterior(smooth: tuple[Problem, GaussianPrior]) -> None:
    problem, prior = smooth
    coarse = grade_solver(Langevin(steps=20, inner=1), problem, prior, samples=150)
    fine = grade_solver(Langevin(steps=30, inner=15, rate=0.2, share=0.15), problem, prior, samples=150)
    assert coarse.distance > 1.5 * fine.distance
    assert fine.distance < 1.6 * fine.floor
    assert fine.bias < 4 / math.sqrt(150)
    assert abs(fine.variance_ratio - 1) < 0.1 + 4 * math.sqrt(2 / 150 / 4)


def test_bridge_is_the_law_between_two_levels() -> None:
    """Forward noising from `x_s` to levels m and t, conditioned on `x_t` by Gaussian regression."""
    s, m, t = 0.3, 0.8, 2.0
    low, high = torch.tensor([[0.2]]), torch.tensor([[1.5]])
    mean, std = bridge(low, high, (s, m, t))
    gain = (m**2 - s**2) / (t**2 - s**2)
    assert float(mean) == pytest.approx(0.2 + gain * 1.3)
    assert std**2 == pytest.approx((m**2 - s**2) - gain * (m**2 - s**2))


def test_fit_finds_the_gaussian_of_a_quadratic_potential() -> None:
    """Prior N(1, 0.5^2) and potential N(x; 2, 0.4^2): the product is Gaussian, and so is the fit."""
    n = 1000
    prior = GaussianPrior(torch.zeros(1, 1, 1), torch.eye(1))
    problem = Problem(Identity((1, 1, 1)), Gaussian(1.0), torch.zeros(n, 1, 1, 1, dtype=torch.float64))
    run = Run(problem, prior, (1.0, 0.0), Streams(generator(0, i) for i in range(n)))

    def log_potential(x: Tensor) -> Tensor:
        return -((x - 2) ** 2).flatten(1).sum(1) / (2 * 0.4**2)

    x = fit(run, torch.ones_like(problem.measurement), 0.5, log_potential, moves=120, rate=0.05)
    precision = 1 / 0.5**2 + 1 / 0.4**2
    mean = (1 / 0.5**2 + 2 / 0.4**2) / precision
    assert abs(float(x.mean()) - mean) < 0.05
    assert float(x.var()) * precision == pytest.approx(1, abs=0.3)


class Cube(Operator):
    in_shape = out_shape = (1, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return x**3 + x


SMALL = [
    REDdiff(steps=8),
    MAP(steps=8),
    PlugAndPlay(steps=4),
    MGPS(steps=8, moves=2),
    MGDM(steps=6, moves=2, denoising=2, repeats=2),
    MGDM(steps=1, share=0.0),
    DCPS(steps=8, langevin=2),
    DCPS(steps=2, langevin=0),
    Langevin(steps=8, inner=2),
]


@pytest.mark.parametrize("solver", SMALL, ids=repr)
@pytest.mark.parametrize("std", [0.0, 0.05])
def test_any_operator_any_mask_any_noise(solver: Solver, std: float) -> None:
    prior = GaussianPrior(torch.full((1, 1, 2), 0.5), 0.04 * torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    x = torch.tensor([[[[0.4, 0.7]]]])
    for operator in (Cube(), Identity((1, 1, 2)), *(Inpainting(torch.tensor([m])) for m in ([0, 0], [1, 1], [1, 0]))):
        problem = simulate(operator, x, std)
        result = solver(problem, prior, samples=4)
        assert result.status in ("ok", "misfit")
        assert result.nfe == solver.evaluations
        assert bool((result.samples - 0.5).abs().max() < 3)
    if "gaussian" not in solver.needs:
        photons = simulate(Identity((1, 1, 2)), x, Poisson(50.0))
        assert solver(photons, prior, samples=2).status in ("ok", "misfit")


@pytest.mark.parametrize("solver", SMALL[:7] + SMALL[8:], ids=repr)
def test_one_image_does_not_depend_on_its_batch(solver: Solver) -> None:
    problem, prior = exact_problems()["inpainting"]
    together = solver(problem, prior, samples=2, seed=3)
    alone = solver(problem[1], prior, samples=2, seed=3)
    torch.testing.assert_close(together.samples[1:], alone.samples, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        (REDdiff, "rate", 0.0),
        (MAP, "sigma_min", -1.0),
        (PlugAndPlay, "weight", math.nan),
        (MGPS, "alpha", 1.5),
        (MGDM, "denoising", 0),
        (MGDM, "share", 1.5),
        (DCPS, "blocks", 0),
        (Langevin, "rate", 3.0),
    ],
)
def test_bad_parameters_say_what_was_expected(cls: type[Solver], name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{cls.__name__}: {name}: expected"):
        cls(**{name: value})
