"""`pixelwise` and `rmps`: samplers that measure the variance of the clean image, against exact posteriors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invdiff import Problem, simulate
from invdiff.noise import Gaussian, GaussianMap
from invdiff.operators import Blur, Identity, Inpainting
from invdiff.operators.blurs.kernels import gaussian_kernel
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, Prior
from invdiff.priors.base import expand_sigma
from invdiff.solvers import RMPS, Pixelwise, Solver

SIDE = 24
SAMPLES = 32


class White(Prior):
    """Independent pixels, with a level for each."""

    shape, std, sigma_min, sigma_max, noise_maps = (1, None, None), 0.5, 0.002, 10.0, True

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        s = expand_sigma(sigma, x, maps=True)
        return x * self.std**2 / (self.std**2 + s**2)


class WhiteWithoutMaps(White):
    noise_maps = False

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        s = expand_sigma(sigma, x)
        return x * self.std**2 / (self.std**2 + s**2)


def smooth_prior() -> GaussianPrior:
    """Return a stationary prior on the torus: neighbours are alike."""
    f = torch.fft.fftfreq(SIDE, dtype=torch.float64)
    power = 1 / (0.02 + f[:, None] ** 2 + f**2)
    row = torch.fft.ifft2(power * 0.1 / power.mean()).real
    i = torch.arange(SIDE)
    shift = (i[:, None] - i) % SIDE
    covariance = row[shift[:, None, :, None], shift[None, :, None, :]].reshape(SIDE**2, SIDE**2)
    return GaussianPrior(torch.zeros(1, SIDE, SIDE, dtype=torch.float64), covariance)


def moments(solver: Solver, problem: Problem, prior: Prior) -> tuple[Tensor, Tensor]:
    result = solver(problem, prior, samples=SAMPLES, seed=0)
    assert result.status == "ok", result.message
    return result.samples[0, :, 0].mean(0), result.samples[0, :, 0].var(0)


def levels_of(kind: str) -> tuple[Problem, Tensor]:
    """Return a problem on single pixels, and the level of each."""
    g = torch.Generator().manual_seed(0)
    shape = (1, SIDE, SIDE)
    x = 0.5 * torch.randn(1, *shape, generator=g, dtype=torch.float64)
    if kind == "uniform":
        return simulate(Identity(shape), x, 0.3, seed=1), torch.full(shape[1:], 0.3, dtype=torch.float64)
    if kind == "mask":
        mask = torch.rand(shape, generator=g) > 0.6
        return simulate(Inpainting(mask), x, 0.2, seed=1), torch.where(mask[0], 0.2, torch.inf).double()
    std = 0.05 + torch.rand(shape, generator=g, dtype=torch.float64)
    return simulate(Identity(shape), x, GaussianMap(std), seed=1), std[0]


@pytest.mark.parametrize("steps", [3, 30])
@pytest.mark.parametrize("kind", ["uniform", "mask", "unequal"])
def test_pixels_at_their_own_levels_are_exact_in_few_steps(kind: str, steps: int) -> None:
    problem, tau = levels_of(kind)
    mean, variance = moments(Pixelwise(steps=steps), problem, White())
    weight = 0.25 / (0.25 + tau**2)
    exact = 0.25 * (1 - weight)
    y = problem.measurement[0, 0]
    ratio = float((variance / exact).mean())
    # Mean over 576 pixels of chi-square variables of 31 degrees: 1.1 %; the measured share adds about as much.
    assert abs(ratio - 1) < 0.06, ratio
    z = (mean - weight * y) / (exact / SAMPLES).sqrt()
    assert abs(float(z.square().mean()) - 1) < 0.3, float(z.square().mean())


def test_the_estimate_is_the_posterior_mean() -> None:
    problem, tau = levels_of("uniform")
    result = Pixelwise(steps=5)(problem, White(), samples=2)
    exact = problem.measurement * 0.25 / (0.25 + tau**2)
    assert torch.allclose(result.mean, exact) and not torch.allclose(result.samples.mean(1), exact, atol=1e-3)


def test_a_prior_without_maps_is_shown_one_level() -> None:
    problem, tau = levels_of("mask")
    mean, variance = moments(Pixelwise(steps=40), problem, WhiteWithoutMaps())
    missing = tau.isinf()
    assert abs(float(variance[missing].mean()) / 0.25 - 1) < 0.1
    assert float((mean - problem.measurement[0, 0])[~missing].abs().max()) < 1.0


def test_noiseless_pixels_stay_as_they_are() -> None:
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    assert torch.equal(Pixelwise()(Problem(Identity((1, 4, 4)), Gaussian(0.0), x), White()).samples[:, 0], x)


def test_operators_that_mix_pixels_or_tell_channels_apart_are_refused() -> None:
    blur = Blur((1, 8, 8), kernel=gaussian_kernel(1.0, 5))
    two = torch.ones(3, 4, 4)
    two[0, 0, 0] = 0
    for operator in (blur, Inpainting(two)):
        y = torch.zeros(1, *operator.out_shape)
        with pytest.raises(ValueError, match="acts on each pixel by itself"):
            Pixelwise()(Problem(operator, Gaussian(0.1), y), White())


@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_blurs_of_a_smooth_prior_have_the_posterior_of_rings_of_frequencies(noise: float) -> None:
    prior = smooth_prior()
    operator = Blur((1, SIDE, SIDE), kernel=gaussian_kernel(1.2, 7), border="circular")
    x = prior.sample(1, torch.Generator().manual_seed(3), torch.float64)
    problem = simulate(operator, x, noise, seed=0)
    exact = ExactPosterior(problem, prior)
    mean, variance = moments(RMPS(steps=40), problem, prior)
    truth = exact.covariance[0].diagonal().reshape(SIDE, SIDE)
    ratio = float((variance / truth).mean())
    # Bands hold 36 coefficients: the prior's variance differs inside of one, which leaves some percent.
    assert 0.85 < ratio < 1.25, ratio
    bias = float(((mean - exact.mean[0, 0]).square().mean() / truth.mean()).sqrt())
    assert bias < math.sqrt(1 / SAMPLES) + 0.15, bias
