"""Gray images under a prior of colour images."""

from __future__ import annotations

import math

import pytest
import torch

from invdiff.metrics import psnr
from invdiff.priors import GrayPrior, MixturePrior, load_prior


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
