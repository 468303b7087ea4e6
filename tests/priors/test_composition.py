"""Composed priors: what is exact, what is biased, and what takes the bias away."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invdiff.priors import GaussianPrior, MixturePrior, Prior
from invdiff.priors.composition import Guided, MixtureOf, ProductOf, log_density_of
from invdiff.samplers import DDIM, AnnealedLangevin, AnnealedMALA, Sampler

D = torch.float64


def gaussian(mean: float, variance: float) -> GaussianPrior:
    return GaussianPrior(torch.full((1, 1, 1), mean, dtype=D), torch.full((1, 1), variance, dtype=D))


class ScoreOnly(Prior):
    """A prior that shows its denoiser and nothing else."""

    def __init__(self, prior: Prior) -> None:
        self.prior, self.shape, self.std = prior, prior.shape, prior.std
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.prior.denoise(x, sigma)


def points(n: int = 7) -> Tensor:
    return torch.linspace(-1, 2, n, dtype=D).reshape(n, 1, 1, 1)


def test_a_mixture_of_gaussians_is_the_mixture_prior() -> None:
    means, variances = torch.tensor([0.2, 0.9], dtype=D), torch.tensor([0.01, 0.04], dtype=D)
    whole = MixturePrior(torch.tensor([3.0, 1.0], dtype=D), means.reshape(2, 1, 1, 1), variances)
    made = MixtureOf([gaussian(m, v) for m, v in zip(means.tolist(), variances.tolist(), strict=True)], [3.0, 1.0])
    for sigma in (0.05, 0.3, torch.linspace(0.1, 2, 7, dtype=D)):
        torch.testing.assert_close(made.denoise(points(), sigma), whole.denoise(points(), sigma), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(made.log_prob(points(), sigma), whole.log_prob(points(), sigma), rtol=1e-9, atol=0)
    assert made.std == pytest.approx(math.sqrt(0.75 * 0.01 + 0.25 * 0.04))


def test_images_of_the_training_are_those_of_all_parts() -> None:
    one, two = ScoreOnly(gaussian(0.2, 0.01)), ScoreOnly(gaussian(0.6, 0.02))
    one.training_images, two.training_images = frozenset({"a", "b"}), frozenset({"b", "c"})
    assert ProductOf([one, two]).training_images == frozenset({"a", "b", "c"})
    assert Guided(one, lambda x, sigma: x).training_images == one.training_images


def test_mixtures_nest() -> None:
    a, b, c = gaussian(0.1, 0.01), gaussian(0.5, 0.02), gaussian(0.9, 0.01)
    flat = MixtureOf([a, b, c], [0.2, 0.3, 0.5])
    nested = MixtureOf([MixtureOf([a, b], [0.4, 0.6]), c], [0.5, 0.5])
    torch.testing.assert_close(nested.denoise(points(), 0.2), flat.denoise(points(), 0.2), rtol=1e-9, atol=1e-12)


def test_score_of_a_product_is_the_gradient_of_its_density() -> None:
    mixture = MixturePrior(torch.ones(2, dtype=D), torch.tensor([0.0, 1.0], dtype=D).reshape(2, 1, 1, 1), 0.02)
    product = ProductOf([gaussian(0.2, 0.1), mixture], [1.5, 0.5])
    x = points().requires_grad_()
    (gradient,) = torch.autograd.grad(product.log_density(x, 0.3).sum(), x)
    torch.testing.assert_close(product.score(x, 0.3), gradient, rtol=1e-8, atol=1e-10)
    assert log_density_of(ProductOf([ScoreOnly(mixture)])) is None
    with pytest.raises(TypeError, match="ScoreOnly"):
        ProductOf([ScoreOnly(mixture)]).log_density(x, 0.3)


@pytest.mark.parametrize("hidden", [False, True], ids=["by density", "by line integral"])
def test_langevin_with_metropolis_samples_a_product(hidden: bool) -> None:
    """Of `N(0.3, 0.04)` and `N(0.8, 0.02)`, of precision 75, to 4 standard errors; following a diffusion fails."""
    factors: list[Prior] = [gaussian(0.3, 0.04), gaussian(0.8, 0.02)]
    product = ProductOf([ScoreOnly(p) for p in factors] if hidden else factors)
    variance, n = 1 / 75, 4000
    mean = variance * (0.3 / 0.04 + 0.8 / 0.02)
    assert product.std == pytest.approx(math.sqrt(variance))

    def moments(sampler: Sampler) -> tuple[float, float]:
        x = sampler(product, n, dtype=D).samples
        return (float(x.mean()) - mean) / math.sqrt(variance / n), (float(x.var()) / variance - 1) / math.sqrt(2 / n)

    ends = {"sigma_min": 0.004, "sigma_max": 1.0}
    for z in moments(AnnealedMALA(steps=25, inner=20, rate=0.7, **ends)):  # type: ignore[arg-type]
        assert abs(z) < 4
    assert abs(moments(DDIM(steps=200, **ends))[1]) > 8  # type: ignore[arg-type]


def test_unadjusted_langevin_samples_a_product_up_to_its_step() -> None:
    product = ProductOf([gaussian(0.3, 0.04), gaussian(0.8, 0.02)])
    sampler = AnnealedLangevin(steps=40, inner=30, rate=0.2, consistent=False, sigma_min=0.004, sigma_max=1.0)
    x = sampler(product, 4000, dtype=D).samples
    assert float(x.mean()) == pytest.approx(47.5 / 75, abs=4 * math.sqrt(1 / 75 / 4000))
    # Step and unfinished mixing at small levels: 2 per cent, which is a third of the 4 standard errors.
    assert float(x.var()) * 75 == pytest.approx(1, abs=4 * math.sqrt(2 / 4000) + 0.02)


def test_metropolis_keeps_both_modes_of_a_product() -> None:
    """Two modes reweighted by a Gaussian factor, 9 standard errors from even: weights and moments by quadrature."""
    mixture = MixturePrior(
        torch.tensor([0.5, 0.5], dtype=D), torch.tensor([0.0, 1.0], dtype=D).reshape(2, 1, 1, 1), 0.01
    )
    product = ProductOf([mixture, gaussian(0.2, 0.8)])
    grid = torch.linspace(-2, 3, 20_001, dtype=D).reshape(-1, 1, 1, 1)
    p = (mixture.log_prob(grid) + gaussian(0.2, 0.8).log_prob(grid)).softmax(0)
    right = float(p[grid.flatten() > 0.5].sum())
    n = 3000
    x = AnnealedMALA(steps=30, inner=25, rate=0.7, sigma_min=0.004, sigma_max=2.0)(
        product, n, dtype=D
    ).samples.flatten()
    assert float((x > 0.5).double().mean()) == pytest.approx(right, abs=4 * math.sqrt(right * (1 - right) / n))
    assert abs(right - 0.5) > 9 * math.sqrt(0.25 / n)
    mean = float((p * grid.flatten()).sum())
    variance = float((p * (grid.flatten() - mean) ** 2).sum())
    assert float(x.mean()) == pytest.approx(mean, abs=4 * math.sqrt(variance / n))


def test_guidance_adds_the_likelihood_score() -> None:
    """A pixel seen with noise variance 0.05: the denoiser is the posterior mean of two Gaussian measurements."""
    prior = gaussian(0.3, 0.04)

    def likelihood_score(x: Tensor, sigma: Tensor | float) -> Tensor:
        s2 = torch.as_tensor(sigma, dtype=D).reshape(-1, 1, 1, 1) ** 2
        gain = 0.04 / (0.04 + s2)
        return (0.9 - prior.denoise(x, sigma)) / (0.05 + s2 * gain) * gain

    guided = Guided(prior, likelihood_score)
    for sigma in (0.2, torch.linspace(0.1, 2, 7, dtype=D)):
        s2 = torch.as_tensor(sigma, dtype=D).reshape(-1, 1, 1, 1) ** 2
        precision = 1 / 0.04 + 1 / 0.05 + 1 / s2
        expected = (0.3 / 0.04 + 0.9 / 0.05 + points() / s2) / precision
        torch.testing.assert_close(guided.denoise(points(), sigma), expected, rtol=1e-10, atol=1e-12)


def test_wrong_compositions_raise() -> None:
    a = gaussian(0.0, 1.0)
    with pytest.raises(ValueError, match="at least one"):
        ProductOf([])
    with pytest.raises(ValueError, match="exponents: expected 2"):
        ProductOf([a, a], [1.0])
    with pytest.raises(ValueError, match="positive sum"):
        ProductOf([a, a], [1.0, -1.0])
    with pytest.raises(ValueError, match="weights"):
        MixtureOf([a, a], [1.0, 0.0])
    with pytest.raises(TypeError, match="ScoreOnly"):
        MixtureOf([a, ScoreOnly(a)])
    wide = GaussianPrior(torch.zeros((1, 1, 2), dtype=D), torch.eye(2, dtype=D))
    with pytest.raises(ValueError, match="same images"):
        ProductOf([a, wide])
