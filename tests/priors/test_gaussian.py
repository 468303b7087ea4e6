import math

import pytest
import scipy.fft
import scipy.stats
import torch

from invdiff.dct import dct2, idct2
from invdiff.priors import ColourSpectrum, GaussianPrior, PowerLaw, Prior, load_prior, photograph_gaussian


def _dense(c: int = 2, h: int = 2, w: int = 3) -> GaussianPrior:
    g = torch.Generator().manual_seed(0)
    d = c * h * w
    root = torch.randn(d, d, generator=g, dtype=torch.float64)
    return GaussianPrior(torch.randn(c, h, w, generator=g, dtype=torch.float64), root @ root.T / d)


def _covariance(prior: Prior, shape: tuple[int, int, int]) -> torch.Tensor:
    """The covariance that a Gaussian denoiser implies: its Jacobian at sigma = 1 is C (C + I)^-1."""
    d = math.prod(shape)
    zero = prior.denoise(torch.zeros(1, *shape, dtype=torch.float64), 1.0)
    j = (prior.denoise(torch.eye(d, dtype=torch.float64).reshape(d, *shape), 1.0) - zero).flatten(1).T
    out: torch.Tensor = torch.linalg.solve(torch.eye(d, dtype=torch.float64) - j, j)
    return out


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 8), (7, 7)])
def test_cosine_transform_is_that_of_scipy(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = scipy.fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho")
    torch.testing.assert_close(dct2(x), torch.from_numpy(expected))
    torch.testing.assert_close(idct2(dct2(x)), x)


def test_dense_denoiser_is_the_conditional_mean() -> None:
    prior = _dense()
    x = torch.randn(4, *prior.mean.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for sigma in (1e-3, 0.3, 5.0):
        m, c = prior.mean.flatten(), prior.covariance
        gain = c @ torch.linalg.inv(c + sigma**2 * torch.eye(len(c), dtype=c.dtype))
        expected = m + (x.flatten(1) - m) @ gain.T
        torch.testing.assert_close(prior.denoise(x, sigma).flatten(1), expected)


def test_one_noise_level_for_each_image() -> None:
    prior = _dense()
    x = torch.randn(3, *prior.mean.shape, dtype=torch.float64)
    levels = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    each = torch.cat([prior.denoise(x[i : i + 1], float(levels[i])) for i in range(3)])
    torch.testing.assert_close(prior.denoise(x, levels), each)


def test_log_prob_is_that_of_scipy_and_its_gradient_is_the_score() -> None:
    prior = _dense()
    x = torch.randn(5, *prior.mean.shape, dtype=torch.float64, requires_grad=True)
    total = prior.covariance + 0.49 * torch.eye(len(prior.covariance))
    expected = scipy.stats.multivariate_normal(prior.mean.flatten(), total).logpdf(x.detach().flatten(1))
    value = prior.log_prob(x, 0.7)
    torch.testing.assert_close(value.detach(), torch.from_numpy(expected))
    (gradient,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(gradient, prior.score(x.detach(), 0.7))


def test_samples_have_the_mean_and_covariance() -> None:
    prior = _dense()
    n = 20000
    x = prior.sample(n, torch.Generator().manual_seed(0), torch.float64).flatten(1)
    c = prior.covariance
    assert bool(((x.mean(0) - prior.mean.flatten()).abs() < 4.5 * (c.diagonal() / n).sqrt()).all())
    # Var of an empirical covariance entry of a Gaussian: (c_ii c_jj + c_ij^2) / n.
    se = ((c.diagonal()[:, None] * c.diagonal() + c**2) / n).sqrt()
    assert bool(((torch.cov(x.T) - c).abs() < 4.5 * se).all())


@pytest.mark.parametrize("channels", [1, 3])
def test_photograph_prior_is_a_proper_gaussian_at_odd_sizes(channels: int) -> None:
    prior = load_prior("gaussian")
    shape = (channels, 5, 7)
    c = _covariance(prior, shape)
    torch.testing.assert_close(c, c.T)
    assert float(torch.linalg.eigvalsh(c).min()) > 0
    x = prior.sample(20000, shape, torch.Generator().manual_seed(0), torch.float64).flatten(1)  # type: ignore[attr-defined]
    se = ((c.diagonal()[:, None] * c.diagonal() + c**2) / len(x)).sqrt()
    assert bool(((torch.cov(x.T) - c).abs() < 4.5 * se).all())


@pytest.mark.parametrize("channels", [1, 3])
def test_small_photographs_have_the_spread_of_large_ones(channels: int) -> None:
    """The spectrum alone would give the mean of 8 x 8 pixels a deviation of 1.3, and images from -2.8 on."""
    prior = photograph_gaussian()
    for n in (1, 2, 8, 16, 32, 64):
        shape = (channels, n, n)
        x = prior.sample(4000, shape, torch.Generator().manual_seed(n), torch.float64)
        assert 0.2 < float(x.var(0).mean().sqrt()) < 0.3
        # A mean of pixels varies less than a pixel does.
        assert float(x[:, 0].flatten(1).mean(1).var()) <= float(x[:, 0].var(0).mean()) * (1 + 1e-9)


def test_small_photographs_are_crops_of_the_size_that_was_fitted() -> None:
    prior, n = photograph_gaussian(), 3000
    large = prior.sample(n, (1, 96, 96), torch.Generator().manual_seed(0), torch.float64)
    places = torch.randint(0, 89, (n, 2), generator=torch.Generator().manual_seed(1)).tolist()
    crops = torch.stack([x[:, i : i + 8, j : j + 8] for x, (i, j) in zip(large, places, strict=True)])
    mean, variance = prior.moments((1, 8, 8), crops)
    square = dct2(crops - mean).square()
    assert bool(((square.mean(0) - variance).abs() < 4.5 * square.std(0) / n**0.5).all())


def test_from_the_fitted_size_on_the_spectrum_is_the_power_law() -> None:
    prior = photograph_gaussian()
    (power,) = prior.spectra[1].powers
    f2 = (torch.arange(96).double() / 192)[:, None] ** 2 + (torch.arange(200).double() / 400) ** 2
    torch.testing.assert_close(prior.moments((1, 96, 200), f2)[1][0], power(f2))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 1, 24), (1, 40, 120), (1, 128, 128)])
def test_std_is_that_of_the_shape(shape: tuple[int, int, int]) -> None:
    prior = photograph_gaussian().at(shape)
    assert prior.shape == shape
    x = prior.sample(400, shape, torch.Generator().manual_seed(0), torch.float64)
    squares = (x - prior.moments(shape, x)[0]).square().flatten(1).mean(1)
    assert abs(float(squares.mean()) - prior.std**2) < 4.5 * float(squares.std()) / 400**0.5
    # With the size open it is that of large photographs in colour.
    assert photograph_gaussian().std == pytest.approx(photograph_gaussian().at((3, 256, 256)).std)


def test_a_prior_for_one_shape_takes_no_other() -> None:
    prior = photograph_gaussian().at((1, 8, 8))
    torch.testing.assert_close(
        prior.denoise(torch.ones(1, 1, 8, 8), 0.1), load_prior("gaussian").denoise(torch.ones(1, 1, 8, 8), 0.1)
    )
    with pytest.raises(ValueError, match=r"expected images of shape \(1, 8, 8\), got \(1, 8, 9\); call at\(shape\)"):
        prior.denoise(torch.ones(1, 1, 8, 9), 0.1)
    with pytest.raises(ValueError, match=r"shape: expected \(C, H, W\), each at least 1, got \(8, 8\)"):
        prior.at((8, 8))
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        prior.at((2, 8, 8))


def test_photograph_prior_prefers_photographs_to_noise_of_the_same_colours() -> None:
    from skimage import data

    x = torch.from_numpy(data.astronaut()[:128, :128] / 255.0).permute(2, 0, 1)[None]
    order = torch.randperm(128 * 128, generator=torch.Generator().manual_seed(0))
    shuffled = x.flatten(2)[:, :, order].reshape(x.shape)
    prior = load_prior("gaussian")
    assert float(prior.log_prob(x)) > float(prior.log_prob(shuffled)) + 1e4  # type: ignore[attr-defined]


def test_photograph_prior_denoises_a_photograph() -> None:
    from skimage import data

    x = torch.from_numpy(data.chelsea()[:200, :151] / 255.0).permute(2, 0, 1)[None]
    noisy = x + 0.1 * torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    error = (load_prior("gaussian").denoise(noisy, 0.1) - x).square().mean().sqrt()
    assert float(error) < 0.05


def test_bad_arguments_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"covariance: expected shape \(4, 4\)"):
        GaussianPrior(torch.zeros(1, 2, 2), torch.eye(3))
    with pytest.raises(ValueError, match="symmetric"):
        GaussianPrior(torch.zeros(1, 1, 2), torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="no negative eigenvalue"):
        GaussianPrior(torch.zeros(1, 1, 2), torch.diag(torch.tensor([1.0, -1.0])))
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        load_prior("gaussian").denoise(torch.zeros(1, 2, 4, 4), 1.0)
    with pytest.raises(ValueError, match="did you mean 'gaussian'"):
        load_prior("gausian")
    with pytest.raises(ValueError, match="orthonormal"):
        ColourSpectrum((0.0,), ((2.0,),), (PowerLaw(1, 1, 1),))
    with pytest.raises(ValueError, match="one noise level for each image"):
        load_prior("gaussian").denoise(torch.zeros(2, 1, 4, 4), torch.ones(3))
