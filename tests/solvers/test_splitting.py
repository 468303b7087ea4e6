"""DiffPIR, DAPS and PnP-DM against their published steps, rewritten for data on [-1, 1] and dense matrices."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from odd_operators import MatrixRows
from torch import Tensor

from invdiff import Problem, simulate
from invdiff.noise import Gaussian, Poisson
from invdiff.operators import Identity, Inpainting, Operator
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, photograph_gaussian
from invdiff.solvers import DAPS, DiffPIR, IterativeSolver, PnPDM, Run, Solver
from invdiff.solvers.common.splitting import data_draw, data_mode
from invdiff.solvers.common.spread import matched_spread
from invdiff.streams import Streams, generator
from invdiff.testing import exact_problems, grade_solver

STD = 0.05


class World:
    """A small problem in our coordinates, and the same on [-1, 1]: z = 2 x - 1, y' = 2 y - A 1."""

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(0)
        root = torch.randn(6, 6, generator=g, dtype=torch.float64)
        cov = root @ root.T
        # With a standard deviation of 1/4, published constants for [-1, 1] mean what they say.
        mean = torch.rand(1, 2, 3, generator=g, dtype=torch.float64)
        self.prior = GaussianPrior(mean, cov / cov.diagonal().mean() * 0.25**2)
        self.a = torch.randn(4, 6, generator=g, dtype=torch.float64)
        y = self.a @ self.prior.mean.flatten() + torch.randn(4, generator=g, dtype=torch.float64)
        self.problem = Problem(MatrixRows(self.a), Gaussian(STD), y[None])
        self.y = 2 * y - self.a.sum(1)
        self.mean, self.cov = 2 * self.prior.mean.flatten() - 1, 4 * self.prior.covariance
        self.stream = generator(7, 0, 0)

    def noise(self, n: int = 6) -> Tensor:
        return torch.randn(n, generator=self.stream, dtype=torch.float64)

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        total = self.cov + sigma**2 * torch.eye(6, dtype=torch.float64)
        out: Tensor = self.mean + self.cov @ torch.linalg.solve(total, x - self.mean)
        return out

    def fuse(self, y: Tensor, v: Tensor, s: float, tau: float) -> Tensor:
        """Return argmin |y - a x|^2 / (2 s^2) + |x - v|^2 / (2 tau^2)."""
        precision = self.a.T @ self.a / s**2 + torch.eye(6, dtype=torch.float64) / tau**2
        out: Tensor = torch.linalg.solve(precision, self.a.T @ y / s**2 + v / tau**2)
        return out

    def start(self, sigma: float) -> Tensor:
        # The package starts around x = 0, which is z = -1.
        return sigma * self.noise() - 1

    def check(self, solver: IterativeSolver, reference: Callable[[list[float]], Tensor]) -> None:
        levels = (solver.levels(self.problem, self.prior) / 0.5).tolist()
        expected = (reference(levels) + 1) / 2
        got = solver(self.problem, self.prior, seed=7).samples[0, 0].flatten()
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


def test_diffpir_is_the_authors_algorithm_in_their_coordinates() -> None:
    w, weight, zeta = World(), 1.75, 0.3

    def reference(sigmas: list[float]) -> Tensor:
        abar = [1 / (1 + s**2) for s in sigmas]
        x = math.sqrt(abar[0]) * w.start(sigmas[0])
        for t in range(len(sigmas) - 1):
            root, spread = math.sqrt(abar[t]), math.sqrt(1 - abar[t])
            x0 = w.denoise(x / root, sigmas[t])
            rho = weight * (2 * STD) ** 2 / (1 - abar[t]) * abar[t]
            x0 = torch.linalg.solve(w.a.T @ w.a + rho * torch.eye(6, dtype=torch.float64), w.a.T @ w.y + rho * x0)
            if sigmas[t + 1] == 0:
                break
            eps = (x - root * x0) / spread
            after = math.sqrt(1 - abar[t + 1])
            x = math.sqrt(abar[t + 1]) * x0 + math.sqrt(1 - zeta) * after * eps + math.sqrt(zeta) * after * w.noise()
        result: Tensor = x0
        return result

    w.check(DiffPIR(steps=30, weight=weight, zeta=zeta), reference)


def test_daps_is_the_papers_algorithm_with_an_exact_draw() -> None:
    w = World()

    def reference(sigmas: list[float]) -> Tensor:
        x = w.start(sigmas[0])
        for sigma, after in itertools.pairwise(sigmas):
            low = sigmas[-2]
            for a, b in ((sigma, low), (low, 0.0)):  # two Euler steps of dx / d sigma = (x - D(x, sigma)) / sigma
                x = x + (b - a) * (x - w.denoise(x, a)) / a
            r = 1 / math.sqrt(1 / sigma**2 + 1 / 0.5**2)
            v = x + r * w.noise()
            x = w.fuse(w.y + 2 * STD * w.noise(4), v, 2 * STD, r) + after * w.noise()
        return x

    w.check(DAPS(steps=10, inner=2, matched=False), reference)


def test_daps_takes_the_spread_of_a_clean_image_from_its_state() -> None:
    """The mean square error of the denoiser is known for a Gaussian prior, and the state tells it."""
    shape, sigma = (1, 32, 32), 0.1
    prior = photograph_gaussian()
    x0 = prior.sample(200, shape, generator(3), torch.float64)
    x = x0 + sigma * torch.randn(x0.shape, generator=generator(4), dtype=torch.float64)
    estimate = prior.denoise(x, sigma)
    error = float((estimate - x0).square().mean())
    white = 1 / (1 / sigma**2 + 1 / prior.std**2)
    assert error < 0.7 * white  # pixels tell of each other
    variance = matched_spread(x, estimate, sigma, prior.std).square()
    chance = sigma**2 * math.sqrt(2 / x[0].numel() / len(x))
    trust = float((variance.mean() - white) / (error - white))  # the rest is that of white images
    assert 0.8 < trust < 1 + 5 * chance / (white - error)
    noisy = x + 0.5 * sigma * torch.randn(x.shape, generator=generator(5), dtype=torch.float64)
    narrower = matched_spread(noisy, prior.denoise(noisy, sigma), sigma, prior.std).square()
    assert bool((narrower < variance).all())  # more noise than the level says
    one = matched_spread(x[:1], estimate[:1], sigma, prior.std)
    assert torch.equal(one, matched_spread(x, estimate, sigma, prior.std)[:1])


def test_pnpdm_is_the_papers_algorithm() -> None:
    w = World()

    def reference(rhos: list[float]) -> Tensor:
        x = w.start(rhos[0])
        for rho in rhos[:-1]:
            v = x + rho * w.noise()
            x = w.fuse(w.y + 2 * STD * w.noise(4), v, 2 * STD, rho)
            for k in (3, 2, 1):  # reverse SDE in the clock sigma^2, without noise at the end
                now, after = rho * k / 3, rho * (k - 1) / 3
                step = now**2 - after**2
                x = x + step * (w.denoise(x, now) - x) / now**2
                x = x + math.sqrt(step) * w.noise() if k > 1 else x
        return x

    w.check(PnPDM(steps=10, inner=3, absorbed=False), reference)


def test_pnpdm_converges_to_the_posterior() -> None:
    """Each refinement lowers the distance to the posterior, down to what exact samples show among themselves."""
    problem, prior = exact_problems()["inpainting"]
    solvers = [PnPDM(steps=n, inner=m, noise_share=s) for n, m, s in ((4, 3, 2.0), (15, 4, 0.7), (60, 5, 0.25))]
    grades = [grade_solver(s, problem, prior, samples=60) for s in solvers]
    assert grades[0].distance > 1.5 * grades[1].distance > 1.5 * 1.3 * grades[2].distance
    # The distance of exact samples to others scatters by less than a fifth of the floor.
    assert grades[2].distance < 1.4 * grades[2].floor
    assert grades[2].bias < 4 * math.sqrt(1 / 60)


def test_pnpdm_finds_the_weights_of_separate_modes() -> None:
    problem, prior = exact_problems()["modes"]
    exact, n = ExactPosterior(problem, prior), 400
    x = PnPDM(steps=60, inner=4, noise_share=0.25)(problem, prior, samples=n).samples[0, :, :, 0, 0]
    weight = float(exact.weights[0].max())
    assert abs(float((x[:, 0] > 0).double().mean()) - weight) < 4 * math.sqrt(weight * (1 - weight) / n)
    for k, half in enumerate((x[:, 0] <= 0, x[:, 0] > 0)):
        within = x[half]
        std = exact.component_covariance(k).diagonal().sqrt()
        assert bool(((within.mean(0) - exact.means[0, k, :, 0, 0]) / std).abs().max() < 5 / math.sqrt(len(within)))
        assert bool((within.var(0) / std**2 - 1).abs().max() < 0.05 + 5 * math.sqrt(2 / len(within)))


class Cube(Operator):
    in_shape = out_shape = (1, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return x**3 + x


def _run(problem: Problem, rows: int) -> Run:
    prior = GaussianPrior(torch.zeros(1, 1, 2), torch.eye(2))
    return Run(problem[[0] * rows], prior, (1.0, 0.0), Streams(generator(0, i) for i in range(rows)))


def test_the_draw_of_the_data_has_the_right_law() -> None:
    """A linear operator: mean and covariance; a nonlinear one: mean and variance by quadrature, pixel by pixel."""
    n, v, tau = 4000, 0.3, 0.5
    centre = torch.full((n, 1, 1, 2), v, dtype=torch.float64)
    y = torch.tensor([[[[0.9, -0.4]]]], dtype=torch.float64)
    grid = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    identity = Identity((1, 1, 2))
    for operator, noise in ((identity, Gaussian(0.2)), (Cube(), Gaussian(0.2)), (identity, Poisson(30.0))):
        problem = Problem(operator, noise, y.abs())
        draw = data_draw(_run(problem, n), centre, tau, moves=60)
        for k in range(2):
            clean = grid if operator is identity else grid**3 + grid
            seen = y.abs()[0, 0, 0, k].expand(len(grid), 1)
            log_p = noise.log_likelihood(seen, clean[:, None]) - (grid - v) ** 2 / (2 * tau**2)
            p = log_p.softmax(0)
            mean = float((p * grid).sum())
            variance = float((p * grid**2).sum()) - mean**2
            x = draw[:, 0, 0, k]
            assert abs(float(x.mean()) - mean) < 5 * math.sqrt(variance / n), (operator, noise)
            assert abs(float(x.var()) / variance - 1) < 8 * math.sqrt(2 / n), (operator, noise)


def test_the_mode_of_the_data_is_a_minimum() -> None:
    y = torch.tensor([[[[0.9, -2.4]]]], dtype=torch.float64)
    run = _run(Problem(Cube(), Gaussian(0.2), y), 1)
    v = torch.full((1, 1, 1, 2), 1.2, dtype=torch.float64)
    x = data_mode(run, v, 0.5).requires_grad_()
    value = ((y - x**3 - x) ** 2).sum() / (2 * 0.2**2) + ((x - v) ** 2).sum() / (2 * 0.5**2)
    (gradient,) = torch.autograd.grad(value, x)
    start = 2 * 0.5 * (v**3 + v - y).abs() / 0.2**2
    assert bool((gradient.abs() < 0.05 * start).all())


@pytest.mark.parametrize("solver", [DiffPIR(steps=8), DAPS(steps=8), PnPDM(steps=8, inner=3, moves=10)], ids=repr)
@pytest.mark.parametrize("std", [0.0, 0.05])
def test_any_operator_any_mask_any_noise(solver: Solver, std: float) -> None:
    prior = GaussianPrior(torch.full((1, 1, 2), 0.5), 0.04 * torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    x = torch.tensor([[[[0.4, 0.7]]]])
    for operator in (Cube(), Identity((1, 1, 2)), *(Inpainting(torch.tensor([m])) for m in ([0, 0], [1, 1], [1, 0]))):
        problem = simulate(operator, x, std)
        result = solver(problem, prior, samples=4)
        assert result.status in ("ok", "misfit")
        assert result.nfe == solver.evaluations
        assert bool((result.samples - 0.5).abs().max() < 2)
        if std == 0 and isinstance(operator, Inpainting):
            # PnP-DM returns the prior's side, at a last coupling of a thousandth.
            torch.testing.assert_close(
                operator(result.samples[0]), problem.measurement.expand(4, 1, 1, 2), rtol=0, atol=1e-3
            )
    if "gaussian" not in solver.needs:
        photons = simulate(Identity((1, 1, 2)), x, Poisson(50.0))
        assert solver(photons, prior, samples=2).status == "ok"


def test_zero_images_and_one_pixel() -> None:
    prior = GaussianPrior(torch.zeros(1, 1, 1), torch.eye(1))
    problem = Problem(Identity((1, 1, 1)), Gaussian(0.5), torch.zeros(1, 1, 1, 1, dtype=torch.float64))
    exact = ExactPosterior(problem, prior)
    result = PnPDM(steps=20, inner=6, noise_share=0.2)(problem, prior, samples=1000)
    assert abs(float(result.samples.mean() - exact.mean)) < 4 * float(exact.std) / math.sqrt(1000)
    assert float(result.samples.var()) == pytest.approx(float(exact.std) ** 2, rel=0.3)


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        (DiffPIR, "steps", 0),
        (DiffPIR, "weight", 0.0),
        (DiffPIR, "zeta", 1.5),
        (DAPS, "inner", 0),
        (PnPDM, "moves", 0),
        (PnPDM, "rho_min", math.nan),
    ],
)
def test_bad_parameters_say_what_was_expected(cls: type[Solver], name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{cls.__name__}: {name}: expected"):
        cls(**{name: value})
