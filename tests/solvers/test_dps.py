"""DPS against its authors' formulas, and against the exact posterior of Gaussian priors."""

import itertools
import math
from typing import Any

import pytest
import torch
from odd_operators import MatrixRows
from odd_priors import wide_gaussian
from torch import Tensor

from invdiff import Problem, simulate
from invdiff.noise import Gaussian
from invdiff.operators import Identity, Inpainting, LinearOperator, Operator
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, Prior, load_prior
from invdiff.solvers import DPS
from invdiff.streams import generator

BIAS, RATIO = 0.314, 0.366  # DPS on the inpainting problem below, with 4000 samples and the published step
DEFAULT_BIAS, DEFAULT_RATIO = 0.188, 0.541  # with the default
PUBLISHED: dict[str, Any] = {"normalized": False, "damping": 0.0}


def _reference(
    prior: GaussianPrior, a: Tensor, y: Tensor, sigmas: list[float], scale: float, noise: list[Tensor]
) -> Tensor:
    """Algorithm 1 in its own coordinates: data on [-1, 1] (z = 2 x - 1), x_t = sqrt(abar) z + sqrt(1 - abar) n, eps
    network.

    `sigmas` are levels on [-1, 1]; `y = a z` on that scale. Written from the paper, for one image, without the
    package's steps.
    """
    d = a.shape[1]
    mean, cov = 2 * prior.mean.flatten() - 1, 4 * prior.covariance
    abar = [1 / (1 + s**2) for s in sigmas]
    x = noise[0] * math.sqrt(1 - abar[0])
    for i in range(len(sigmas) - 1):
        now, after = abar[i], abar[i + 1]
        x = x.detach().requires_grad_()
        total = now * cov + (1 - now) * torch.eye(d, dtype=cov.dtype)
        score = -torch.linalg.solve(total, x - math.sqrt(now) * mean)
        eps = -math.sqrt(1 - now) * score
        x0 = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
        norm = (y - a @ x0).norm()
        (g,) = torch.autograd.grad(norm, x)
        alpha = now / after  # DDPM: alpha_t = abar_t / abar_{t-1}, beta_t = 1 - alpha_t
        beta = 1 - alpha
        posterior_mean = (
            math.sqrt(after) * beta / (1 - now) * x0 + math.sqrt(alpha) * (1 - after) / (1 - now) * x
        ).detach()
        variance = beta * (1 - after) / (1 - now)
        x = posterior_mean + math.sqrt(variance) * noise[i + 1] - scale * g
    return (x.detach() + 1) / 2


def test_is_the_authors_algorithm_in_their_coordinates() -> None:
    g = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    cov = root @ root.T
    # With a standard deviation of 1/4, published constants for [-1, 1] mean what they say.
    prior = GaussianPrior(torch.rand(1, 2, 3, generator=g, dtype=torch.float64), cov / cov.diagonal().mean() * 0.25**2)
    a = torch.randn(4, 6, generator=g, dtype=torch.float64)
    y = a @ prior.mean.flatten() + torch.randn(4, generator=g, dtype=torch.float64)
    problem = Problem(MatrixRows(a), Gaussian(0.05), y[None])
    # The scale is small enough for the bound on the step not to matter.
    solver = DPS(steps=40, scale=1.0, **PUBLISHED)

    # r = prior.std / 0.5 = 1/2 is the length of one unit of [-1, 1].
    assert prior.std == pytest.approx(0.25)
    sigmas = (solver.levels(problem, prior) / 0.5).tolist()
    stream = generator(7, 0, 0)
    noise = [torch.randn(1, 2, 3, generator=stream, dtype=torch.float64).flatten() for _ in range(41)]
    # The package starts at x_T = sigma_T n around x = 0, which is z = -1; the reference starts around z = 0.
    start = noise[0] - 1 / sigmas[0]
    zeta = 1.0 * math.sqrt(6 / (3 * 256 * 256)) * 1000 / 40
    # y on [-1, 1]: a (2 x - 1) = 2 y - a 1. The residual doubles, and so does the reference's gradient in its units.
    expected = _reference(prior, a, 2 * y - a.sum(1), sigmas, zeta, [start, *noise[1:]])
    got = solver(problem, prior, seed=7).samples[0, 0].flatten()
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_pixels_that_are_not_seen_follow_the_prior() -> None:
    """With independent pixels the missing ones have the prior as posterior, and no guidance reaches them.

    The steps are then affine, so that the mean and variance they lead to are known for any number of steps.
    """
    n, mean, std = 4000, 0.3, 0.2
    prior = GaussianPrior(torch.full((1, 2, 2), mean), std**2 * torch.eye(4))
    mask = torch.tensor([[1, 0], [0, 0]])
    problem = Problem(Inpainting(mask), Gaussian(0.01), torch.full((1, 1, 2, 2), 0.6, dtype=torch.float64))
    solver = DPS(steps=50)
    levels = solver.levels(problem, prior).tolist()
    m, v = 0.0, levels[0] ** 2
    for now, after in itertools.pairwise(levels):
        gain = std**2 / (std**2 + now**2)
        keep = after**2 / now**2  # of x_t in the mean of the ancestral step
        slope = keep + (1 - keep) * gain
        m = slope * m + (1 - slope) * mean
        v = slope**2 * v + after**2 * (1 - keep)
    assert v / std**2 == pytest.approx(1, abs=0.3)  # 50 steps come this close
    missing = solver(problem, prior, samples=n).samples[0, :, 0][:, mask == 0]
    assert bool(((missing.mean(0) - m).abs() < 4.5 * (v / n) ** 0.5).all())
    assert bool(((missing.var(0) / v - 1).abs() < 4.5 * (2 / n) ** 0.5).all())


def _grade(problem: Problem, solver: DPS, n: int, prior: Prior | None = None) -> tuple[float, float, float, float]:
    """Return (bias, its standard error, ratio of variances, its standard error).

    The bias is that of the mean in posterior standard deviations, root mean square, less its Monte Carlo part.
    """
    prior = prior or load_prior("gaussian")
    exact = ExactPosterior(problem, prior)
    result = solver(problem, prior, samples=n)
    z = ((result.mean - exact.mean) / exact.std).flatten()
    ratio = ((result.std / exact.std) ** 2).flatten()
    noise = ratio.mean() / n  # what sampling alone adds to the mean square of z
    bias = float((z.square().mean() - noise).clamp(min=0).sqrt())
    # Pixels of an image are strongly correlated: count one independent error only.
    return bias, float(ratio.mean().sqrt()) / n**0.5, float(ratio.mean()), float(ratio.mean()) * (2 / n) ** 0.5


@pytest.fixture(scope="module")
def inpainting() -> Problem:
    return _inpainting(load_prior("gaussian"))


def _inpainting(prior: Prior) -> Problem:
    g = torch.Generator().manual_seed(1)
    x = prior.sample(1, (1, 12, 12), g, torch.float64)  # type: ignore[attr-defined]
    return simulate(Inpainting(torch.rand(12, 12, generator=g) > 0.5), x, 0.025)


def test_error_against_the_exact_posterior_is_as_recorded(inpainting: Problem) -> None:
    """DPS is approximate; these are its measured errors, which may not get worse beyond the Monte Carlo error."""
    bias, bias_se, ratio, ratio_se = _grade(inpainting, DPS(steps=100, scale=3.0, **PUBLISHED), 1000)
    assert abs(bias - BIAS) < 4.5 * bias_se
    assert abs(ratio - RATIO) < 4.5 * ratio_se


def test_the_default_is_nearer_to_the_posterior_than_the_published_step(inpainting: Problem) -> None:
    bias, bias_se, ratio, ratio_se = _grade(inpainting, DPS(steps=100), 1000)
    assert abs(bias - DEFAULT_BIAS) < 4.5 * bias_se
    assert abs(ratio - DEFAULT_RATIO) < 4.5 * ratio_se
    assert BIAS - DEFAULT_BIAS > 0.1
    assert DEFAULT_RATIO - RATIO > 0.1


def test_heavy_noise_does_not_pull_the_samples_away() -> None:
    g = torch.Generator().manual_seed(2)
    prior = GaussianPrior(torch.full((1, 4, 4), 0.5), 0.09 * torch.eye(16))
    operator = LinearOperator.from_matrix(torch.randn(16, 16, generator=g, dtype=torch.float64) / 4, (1, 4, 4))
    problem = simulate(operator, prior.sample(1, g, torch.float64), 5.0)
    assert _grade(problem, DPS(), 200, prior)[0] < 0.3
    assert _grade(problem, DPS(scale=3.0, **PUBLISHED), 200, prior)[0] > 1


def test_guidance_is_what_brings_the_mean_to_the_posterior() -> None:
    prior = wide_gaussian()
    problem = _inpainting(prior)
    unguided, *_ = _grade(problem, DPS(steps=100, scale=0.0), 200, prior)
    guided, *_ = _grade(problem, DPS(steps=100), 200, prior)
    assert unguided > 5
    assert guided < 0.5


def test_one_image_does_not_depend_on_its_batch() -> None:
    prior = load_prior("gaussian")
    x = prior.sample(3, (1, 6, 7), torch.Generator().manual_seed(1), torch.float64)  # type: ignore[attr-defined]
    problem = simulate(Identity((1, 6, 7)), x, 0.1)
    solver = DPS(steps=10)
    together = solver(problem, prior, samples=2, seed=3)
    alone = solver(problem[1], prior, samples=2, seed=3)
    one_by_one = solver(problem, prior, samples=2, seed=3, batch_size=1)
    torch.testing.assert_close(together.samples[1:2], alone.samples, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(together.samples, one_by_one.samples, rtol=1e-10, atol=1e-10)
    more = solver(problem, prior, samples=3, seed=3)
    torch.testing.assert_close(more.samples[:, :2], together.samples, rtol=1e-10, atol=1e-10)


class Exponential(Operator):
    """Steep: the linearisation that bounds the step says little."""

    in_shape = out_shape = (1, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(80 * x)


def test_divergence_is_reported_and_no_nan_comes_out() -> None:
    problem = Problem(Exponential(), Gaussian(0.1), torch.ones(1, 1, 4, 4))
    result = DPS(steps=20, scale=3.0)(problem, wide_gaussian(), samples=2)
    assert result.status == "diverged"
    assert "lower scale=3.0" in result.message
    assert bool(torch.isfinite(result.samples).all())


def test_any_scale_and_any_gain_is_safe(inpainting: Problem) -> None:
    """The bound on the step keeps a thousandfold scale, or gain, from blowing up."""
    prior = load_prior("gaussian")
    exact = ExactPosterior(inpainting, prior)
    assert isinstance(inpainting.operator, LinearOperator)
    loud = Problem(1000 * inpainting.operator, Gaussian(25.0), 1000 * inpainting.measurement)
    for problem, scale in ((inpainting, 1000.0), (loud, 3.0)):
        result = DPS(scale=scale)(problem, prior, samples=50)
        assert result.status == "ok"
        assert float(((result.mean - exact.mean) / exact.std).square().mean().sqrt()) < 1


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("scale", -1.0), ("scale", math.nan), ("eta", 1.5)])
def test_bad_parameters_say_what_was_expected(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"DPS: {name}: expected"):
        DPS(**{name: value})  # type: ignore[arg-type]
