import pytest
import torch

from invdiff.priors import GaussianPrior, MixturePrior


def _means(k: int = 3) -> torch.Tensor:
    return 2 * torch.randn(k, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _dense(k: int = 3) -> MixturePrior:
    root = torch.randn(k, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return MixturePrior(torch.arange(1.0, k + 1), _means(k), root @ root.mT / 4)


def test_one_component_is_a_gaussian() -> None:
    mixture = _dense(1)
    gaussian = GaussianPrior(mixture.means[0], mixture.covariances[0])
    x = torch.randn(6, 1, 2, 2, dtype=torch.float64)
    for sigma in (0.01, 1.0, 30.0):
        torch.testing.assert_close(mixture.denoise(x, sigma), gaussian.denoise(x, sigma))
        torch.testing.assert_close(mixture.log_prob(x, sigma), gaussian.log_prob(x, sigma))
    assert mixture.std == pytest.approx(gaussian.std)


def test_isotropic_and_dense_forms_agree() -> None:
    variance = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    weights = torch.tensor([0.2, 0.3, 0.5])
    isotropic = MixturePrior(weights, _means(), variance)
    dense = MixturePrior(weights, _means(), variance[:, None, None] * torch.eye(4, dtype=torch.float64))
    x = 3 * torch.randn(6, 1, 2, 2, dtype=torch.float64)
    for sigma in (1e-3, 0.5, torch.linspace(0.1, 5, 6)):
        torch.testing.assert_close(isotropic.denoise(x, sigma), dense.denoise(x, sigma))
        torch.testing.assert_close(isotropic.log_prob(x, sigma), dense.log_prob(x, sigma))
    assert isotropic.std == pytest.approx(dense.std)


def test_score_is_the_gradient_of_log_prob() -> None:
    prior = _dense()
    x = (2 * torch.randn(8, 1, 2, 2, dtype=torch.float64)).requires_grad_()
    (gradient,) = torch.autograd.grad(prior.log_prob(x, 0.6).sum(), x)
    torch.testing.assert_close(prior.score(x.detach(), 0.6), gradient)


def test_samples_have_the_moments() -> None:
    prior = _dense()
    n = 40000
    x = prior.sample(n, torch.Generator().manual_seed(0), torch.float64).flatten(1)
    m, w = prior.means.flatten(1), prior.weights
    mean = w @ m
    c = torch.einsum("k,ki,kj->ij", w, m - mean, m - mean) + torch.einsum("k,kij->ij", w, prior.covariances)
    assert bool(((x.mean(0) - mean).abs() < 4.5 * (c.diagonal() / n).sqrt()).all())
    products = torch.einsum("ni,nj->nij", x - mean, x - mean)
    assert bool(((products.mean(0) - c).abs() < 4.5 * products.std(0) / n**0.5).all())
    assert prior.std == pytest.approx(float(c.diagonal().mean().sqrt()))


def test_denoiser_is_differentiable() -> None:
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    prior = MixturePrior(torch.ones(3), _means(), 0.3)
    assert torch.autograd.gradcheck(lambda x: prior.denoise(x, 0.8), x)


def test_bad_arguments_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="3 positive numbers"):
        MixturePrior(torch.tensor([1.0, -1.0, 1.0]), _means(), 1.0)
    with pytest.raises(ValueError, match=r"expected a number, shape \(3,\) or \(3, 4, 4\)"):
        MixturePrior(torch.ones(3), _means(), torch.ones(2))
    with pytest.raises(ValueError, match="negative variance"):
        MixturePrior(torch.ones(3), _means(), torch.tensor([1.0, 1.0, -1.0]))
    with pytest.raises(ValueError, match=r"images of shape \(1, 2, 2\)"):
        MixturePrior(torch.ones(3), _means(), 1.0).denoise(torch.zeros(1, 1, 3, 3), 1.0)
