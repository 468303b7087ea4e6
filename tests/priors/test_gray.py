"""Gray images under a prior of colour images."""

from __future__ import annotations

import math

import pytest
import torch

from invdiff.metrics import psnr
from invdiff.priors import GrayPrior, MixturePrior, Prior, load_prior
from invdiff.priors.base import expand_sigma


def means(channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    gray = torch.rand(3, 1, 4, 5, generator=generator, dtype=torch.float64)
    return gray.expand(-1, channels, -1, -1).clone()


def test_exact_where_the_prior_knows_only_gray_images() -> None:
    # Points in the space of images: a mixture without spread has the posterior of a classifier, in closed form.
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    tiny = 1e-6
    colour, gray = (MixturePrior(weights, means(c), tiny**2) for c in (3, 1))
    x = means(1)[:2] + 0.4 * torch.randn(2, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.5, 0.9], dtype=torch.float64)
    for seed in (0, 1):
        torch.testing.assert_close(
            GrayPrior(colour, seed=seed).denoise(x, sigma), gray.denoise(x, sigma), rtol=1e-6, atol=1e-8
        )


def test_levels_are_those_of_a_third_of_the_variance() -> None:
    photo = load_prior("photo")
    gray = GrayPrior(photo)
    assert gray.sigma_max == pytest.approx(photo.sigma_max / math.sqrt(3))
    assert gray.shape == (1, None, None)


def test_the_embedded_one_denoises_a_gray_photograph() -> None:
    import skimage.data

    x = torch.from_numpy(skimage.data.camera()[100:228, 180:308] / 255).float()[None, None]
    noisy = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        clean = load_prior("photo-gray").denoise(noisy, 0.1)
        gaussian = load_prior("gaussian").denoise(noisy, 0.1)
    assert float(psnr(clean, x)) > float(psnr(gaussian, x)) + 2


def test_a_prior_of_gray_images_is_refused() -> None:
    with pytest.raises(ValueError, match="three channels"):
        GrayPrior(load_prior("ct"))


class IndependentGrays(Prior):
    """Colour images whose pixels are independent grays, N(m, v); it takes a noise level for each pixel."""

    shape, std, sigma_min, sigma_max, noise_maps = (3, None, None), 0.2, 0.01, 9.0, True

    def denoise(self, x: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
        v, s = self.std**2, expand_sigma(sigma, x, maps=True)
        return ((0.5 / v + x.sum(1, keepdim=True) / s**2) / (1 / v + 3 / s**2)).expand_as(x)


def test_maps_of_noise_levels_pass_through() -> None:
    gray, v = GrayPrior(IndependentGrays()), 0.2**2
    x, sigma = torch.rand(2, 2, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigma = 0.1 + sigma
    exact = (0.5 / v + x / sigma**2) / (1 / v + 1 / sigma**2)
    assert gray.noise_maps and not GrayPrior(load_prior("gaussian")).noise_maps
    torch.testing.assert_close(gray.denoise(x, sigma), exact)
    torch.testing.assert_close(gray.score(x, sigma), (exact - x) / sigma**2)
    with pytest.raises(ValueError, match="needs a prior whose noise_maps is true"):
        GrayPrior(load_prior("gaussian")).denoise(x, sigma)
