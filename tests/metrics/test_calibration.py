"""Calibration metrics, against exact posteriors: their own samples must be found honest, others must not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from invdiff.metrics import coverage, crps, rank_histogram, spread_skill_curve, spread_skill_ratio
from invdiff.noise import Gaussian
from invdiff.operators import Inpainting
from invdiff.posterior import ExactPosterior
from invdiff.priors import MixturePrior, Prior, photograph_gaussian
from invdiff.problem import Problem
from invdiff.streams import generator

Draw = tuple[Tensor, Tensor, ExactPosterior]


def gaussian_draw(images: int = 200) -> Draw:
    """Truths `(B, 1, 8, 8)` from the prior of photographs, half of the pixels seen, and 5 exact samples of each."""
    prior, g = photograph_gaussian(), generator(7)
    x = prior.sample(images, (1, 8, 8), g, torch.float64)
    return posterior_draw(x, Inpainting(torch.rand(8, 8, generator=g) < 0.5), prior, 0.1, 5)


def mixture_draw(images: int = 400) -> Draw:
    """Truths of two modes that overlap, and 9 exact samples of each."""
    means = torch.tensor([[-1.0, -1.0, 0.5, 0.2], [1.0, 0.5, -0.5, 0.2]], dtype=torch.float64).reshape(2, 1, 2, 2)
    prior = MixturePrior(torch.tensor([0.3, 0.7]), means, 0.3)
    mask = torch.tensor([[False, False], [True, False]])
    return posterior_draw(prior.sample(images, generator(8), torch.float64), Inpainting(mask), prior, 0.5, 9)


def posterior_draw(x: Tensor, operator: Inpainting, prior: Prior, std: float, samples: int) -> Draw:
    noise = std * torch.randn(x.shape, generator=generator(9), dtype=torch.float64)
    exact = ExactPosterior(Problem(operator, Gaussian(std), x + noise), prior)
    return exact.sample(samples, seed=1), x, exact


def near(values: Tensor, target: float) -> None:
    """Fail unless the mean of independent values, one for each image, is the target within 4.5 standard errors."""
    error = values.std().item() / len(values) ** 0.5
    assert abs(values.mean().item() - target) < 4.5 * error, (values.mean().item(), target, error)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_exact_samples_cover_as_they_promise(level: float) -> None:
    samples, x, _ = gaussian_draw()
    near(coverage(samples, x, level=level), level)
    with pytest.raises(AssertionError):  # half of the standard deviation is found out
        near(coverage(samples.mean(1, keepdim=True) + 0.5 * (samples - samples.mean(1, keepdim=True)), x), 0.9)


def test_crps_of_exact_samples_is_that_of_the_posterior_for_any_number_of_them() -> None:
    # For a normal posterior, E over the truth of CRPS is s / sqrt(pi).
    samples, x, exact = gaussian_draw()
    wanted = (exact.std / math.sqrt(math.pi)).flatten(1).mean(1)
    for count in (2, 5):
        near(crps(samples[:, :count], x) - wanted, 0.0)
    for factor in (0.6, 1.5):  # overconfident and timid draws score worse
        scaled = exact.mean[:, None] + factor * (samples - exact.mean[:, None])
        loss = crps(scaled, x) - crps(samples, x)
        assert loss.mean() > 4.5 * loss.std() / len(loss) ** 0.5


def test_crps_is_its_definition() -> None:
    g = torch.Generator().manual_seed(0)
    samples, x = torch.randn(2, 6, 3, 4, 5, generator=g), torch.randn(2, 3, 4, 5, generator=g)
    pairs = (samples[:, :, None] - samples[:, None]).abs().sum((1, 2)) / (6 * 5)
    slow = ((samples - x[:, None]).abs().mean(1) - pairs / 2).flatten(1).mean(1)
    assert torch.allclose(crps(samples, x), slow.double(), atol=1e-6)


@pytest.mark.parametrize("draw", [gaussian_draw, mixture_draw])
def test_spread_of_exact_samples_is_their_error(draw: Callable[[], Draw]) -> None:
    samples, x, _ = draw()
    count = samples.shape[1]
    spread = (1 + 1 / count) * samples.var(1).flatten(1).mean(1)
    skill = (samples.mean(1) - x).square().flatten(1).mean(1)
    near(spread - skill, 0.0)
    ratio = spread_skill_ratio(samples, x)
    assert torch.allclose(ratio, (spread / skill).sqrt())
    scaled = samples.mean(1, keepdim=True) + 0.5 * (samples - samples.mean(1, keepdim=True))
    assert torch.allclose(spread_skill_ratio(scaled, x), ratio / 2)


@pytest.mark.parametrize("draw", [gaussian_draw, mixture_draw])
def test_ranks_of_exact_samples_are_uniform(draw: Callable[[], Draw]) -> None:
    samples, x, _ = draw()
    shares = rank_histogram(samples, x)
    assert torch.allclose(shares.sum(1), torch.ones(len(x), dtype=torch.float64))
    for rank in shares.T:
        near(rank, 1 / (samples.shape[1] + 1))
    with pytest.raises(AssertionError):
        near(rank_histogram(samples + 0.2 * samples.std(), x)[:, 0], 1 / (samples.shape[1] + 1))


def test_ties_share_their_ranks() -> None:
    samples = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1, 1)
    got = rank_histogram(samples, torch.zeros(1, 1, 1, 1))
    assert torch.allclose(got, torch.tensor([[1, 1, 1, 0]], dtype=torch.float64) / 3)


def test_spread_skill_curve_follows_a_known_standard_deviation() -> None:
    # Heteroscedastic normal pixels with 400 samples: sorting by s hardly sorts by chance.
    g = torch.Generator().manual_seed(1)
    true = torch.linspace(0.1, 1.0, 10_000, dtype=torch.float64).reshape(1, 1, 100, 100)
    draws = true[:, None] * torch.randn(1, 401, 1, 100, 100, generator=g, dtype=torch.float64)
    spread, skill = spread_skill_curve(draws[:, :400], draws[:, 400], bins=8)
    assert bool((spread.diff() > 0).all())
    # 1250 squared normals a group: relative standard error of their root mean square is 1 / sqrt(2500).
    assert torch.allclose(skill, spread, rtol=4.5 * 0.02 + 0.01)
    flat = spread_skill_curve(draws[:, :400] / true[:, None], draws[:, 400], bins=8)[1]
    assert flat.max() / flat.min() < 1.2  # a spread that knows nothing of the error gives no slope


def test_an_image_does_not_depend_on_its_batch() -> None:
    samples, x, _ = mixture_draw(3)
    for metric in (coverage, crps, spread_skill_ratio, rank_histogram):
        alone = torch.cat([metric(samples[i : i + 1], x[i : i + 1]) for i in range(3)])
        assert np.allclose(metric(samples, x), alone)


@pytest.mark.parametrize("metric", [coverage, crps, spread_skill_ratio, spread_skill_curve, rank_histogram])
def test_one_sample_has_no_spread(metric: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=rf"{metric.__name__}: samples: .* at least 2 samples, got \(1, 1, 1, 8, 8\)"):
        metric(torch.zeros(1, 1, 1, 8, 8), torch.zeros(1, 1, 8, 8))


def test_more_groups_than_pixels() -> None:
    with pytest.raises(ValueError, match=r"bins: expected 1 to 4, .* got 5"):
        spread_skill_curve(torch.rand(1, 2, 1, 2, 2), torch.rand(1, 1, 2, 2), bins=5)
