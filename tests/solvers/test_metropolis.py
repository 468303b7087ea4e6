"""The chains for noise without an exact draw, against densities by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import skimage.data
import torch
from odd_operators import MatrixRows
from torch import Tensor

import invdiff
from invdiff import Problem, simulate
from invdiff.metrics import psnr
from invdiff.noise import Noise, Poisson, PoissonGaussian, TransmissionPoisson
from invdiff.operators import Gain, Identity, Inpainting, LinearOperator
from invdiff.priors import GaussianPrior
from invdiff.solvers import DAPS, PnPDM, Run, Solver
from invdiff.solvers.common.metropolis import Chain, Target, barker_chain, gaussian_start, langevin_chain, log_target
from invdiff.solvers.common.splitting import data_draw
from invdiff.streams import Streams, generator

D = torch.float64
GRID = torch.linspace(-4, 5, 18001, dtype=D)


def make_run(problem: Problem, rows: int) -> Run:
    shape = tuple(problem.operator.in_shape)
    n = math.prod(shape)
    prior = GaussianPrior(torch.zeros(shape, dtype=D), torch.eye(n, dtype=D))
    return Run(problem[[0] * rows], prior, (1.0, 0.0), Streams(generator(0, i) for i in range(rows)))


def quadrature(noise: Noise, y: float, gain: float, v: float, tau: float) -> tuple[float, float]:
    """Return mean and variance of `p(y | gain x) N(x; v, tau^2)`."""
    seen = torch.full((len(GRID), 1), y, dtype=D)
    logs = noise.log_likelihood(seen, gain * GRID[:, None]) if gain else torch.zeros(len(GRID), dtype=D)
    p = (logs - (GRID - v) ** 2 / (2 * tau**2)).softmax(0)
    mean = float((p * GRID).sum())
    return mean, float((p * GRID**2).sum()) - mean**2


LAWS = (Poisson(30.0), Poisson(3.0), PoissonGaussian(20.0, 0.1), TransmissionPoisson(40.0))


@pytest.mark.parametrize("noise", LAWS, ids=repr)
@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_each_pixel_has_its_law(noise: Noise, tau: float) -> None:
    """No count, few and many counts, a factor, and a pixel that was not seen; some are far from the centre."""
    gains = torch.tensor([[[1.0, 1.0, 1.0, 0.5, 0.0]]], dtype=D)
    y = torch.tensor([[[[0.0, 1 / 3, 2.0, 1.0, 0.0]]]], dtype=D)
    n, v = 1500, 0.6
    problem = Problem(Gain((1, 1, 5), gain=gains), noise, y)
    centre = torch.full((n, 1, 1, 5), v, dtype=D)
    x = data_draw(make_run(problem, n), centre, tau, moves=30)[:, 0, 0]
    for k in range(5):
        mean, variance = quadrature(noise, float(y[0, 0, 0, k]), float(gains[0, 0, k]), v, tau)
        assert abs(float(x[:, k].mean()) - mean) < 4.5 * math.sqrt(variance / n), k
        # The kurtosis is below 4.5.
        assert abs(float(x[:, k].var()) / variance - 1) < 4.5 * math.sqrt(3.5 / n), k


def test_identity_and_masks_are_pixelwise_too() -> None:
    y = torch.tensor([[[[0.5, 0.2]]]], dtype=D)
    for operator in (Identity((1, 1, 2)), Inpainting(torch.tensor([[True, False]]))):
        run = make_run(Problem(operator, Poisson(30.0), y), 3)
        assert gaussian_start(run, run.problem, torch.zeros(3, 1, 1, 2, dtype=D), 0.3).pixelwise


MIXED = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]], dtype=D)


@pytest.mark.parametrize(
    "a", [MIXED, torch.tensor([[1.2, -0.2], [0.2, 0.8], [0.5, 0.5]], dtype=D)], ids=["positive", "signed"]
)
def test_mixed_pixels_have_their_law(a: Tensor) -> None:
    """Entries that depend on two pixels: mean and covariance by quadrature in two dimensions."""
    noise, v, tau, n = Poisson(30.0), 0.5, 0.3, 1500
    y = torch.tensor([[0.4, 0.8, 0.1]], dtype=D)
    problem = Problem(MatrixRows(a, (1, 1, 2)), noise, y)
    side = torch.linspace(-1.5, 2.5, 801, dtype=D)
    pairs = torch.cartesian_prod(side, side)
    logs = noise.log_likelihood(y.expand(len(pairs), 3), pairs @ a.T) - (pairs - v).square().sum(1) / (2 * tau**2)
    p = logs.softmax(0)
    mean = p @ pairs
    covariance = (p[:, None] * (pairs - mean)).T @ (pairs - mean)
    run = make_run(problem, n)
    assert not gaussian_start(run, run.problem, torch.full((n, 1, 1, 2), v, dtype=D), tau).pixelwise
    x = data_draw(run, torch.full((n, 1, 1, 2), v, dtype=D), tau, moves=60)[:, 0, 0]
    std = covariance.diagonal().sqrt()
    assert bool(((x.mean(0) - mean).abs() < 4.5 * std / math.sqrt(n)).all())
    assert bool(((x.T.cov() - covariance).abs() / std.outer(std) < 4.5 * math.sqrt(2.5 / n)).all())


@pytest.mark.parametrize("gamma", [0.05, 2.0])
@pytest.mark.parametrize("steps", [barker_chain, langevin_chain])
def test_a_bad_metric_changes_the_speed_only(steps: Callable[[Run, Chain, Target, int], Tensor], gamma: float) -> None:
    """Neither the metric nor the step size is part of the law that a long chain has."""
    n, noise = 1000, Poisson(30.0)
    problem = Problem(Identity((1, 1, 2)), noise, torch.tensor([[[[0.2, 0.9]]]], dtype=D))
    run, v = make_run(problem, n), torch.full((n, 1, 1, 2), 0.5, dtype=D)
    metric = torch.tensor([[[[2e-3, 2e-2]]]], dtype=D)
    one = Chain(v, metric, torch.full((n, 1, 1, 1), gamma, dtype=D), rate=1.0)
    x = steps(run, one, log_target(run.problem, v, 0.3), 150)[:, 0, 0]
    for k, y in enumerate((0.2, 0.9)):
        mean, variance = quadrature(noise, y, 1.0, 0.5, 0.3)
        assert abs(float(x[:, k].mean()) - mean) < 4.5 * math.sqrt(variance / n)
        assert abs(float(x[:, k].var()) / variance - 1) < 4.5 * math.sqrt(3 / n)


class Averages(LinearOperator):
    """The means of horizontal pairs, and all pixels: entries of several pixels."""

    in_shape, out_shape = (1, 48, 48), (1, 48, 72)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, (x[..., ::2] + x[..., 1::2]) / 2], -1)


@pytest.mark.parametrize("operator", [Identity((1, 48, 48)), Averages()], ids=repr)
def test_a_large_image_mixes(operator: LinearOperator) -> None:
    """The residual of 2304 pixels, dark and bright, whose centre is up to 70 standard deviations away."""
    clean = torch.linspace(0.02, 1, 48, dtype=D).expand(1, 1, 48, 48)
    problem = simulate(operator, clean, Poisson(400.0), seed=0)
    run = make_run(problem, 4)
    x = data_draw(run, torch.full((4, 1, 48, 48), 0.5, dtype=D), 0.25, moves=50)
    z = (operator(x) - problem.measurement) / (operator(clean) / 400).sqrt()
    # The posterior's variance is that of the measurement here, and the misfit of all its means completes the sum to 1.
    assert 0.93 < float(z.square().mean()) < 1.07
    assert 0.8 < float(z[..., :8].square().mean()) < 1.3  # the law is skewed for 8 photons


@pytest.mark.parametrize(("solver", "gain"), [(DAPS(steps=30), 1.5), (PnPDM(steps=25), 1.5)], ids=repr)
def test_photons_of_a_photograph(solver: Solver, gain: float) -> None:
    """The mean is above the measurement by some dB; with one step size for all pixels it was 2 to 8 dB below."""
    image = torch.from_numpy(skimage.data.astronaut()[:192:4, 128:320:4].copy()).permute(2, 0, 1)[None].float() / 255
    problem = simulate(Identity((3, 48, 48)), image, Poisson(400.0), seed=0)
    result = solver(problem, invdiff.load_prior("photo"), samples=2, seed=0)
    before = float(psnr(problem.measurement.clamp(0, 1), image))
    assert float(psnr(result.mean.clamp(0, 1), image)) > before + gain
