import math

import pytest
import scipy.stats
import torch

from invdiff import Problem, simulate
from invdiff.noise import Gaussian, Poisson
from invdiff.operators import Inpainting, LinearOperator
from invdiff.posterior import ExactPosterior, gaussian_mean
from invdiff.priors import GaussianPrior, MixturePrior, Prior, load_prior

D = 4


class Matrix(LinearOperator):
    """A dense operator, independent of those of the package."""

    def __init__(self, a: torch.Tensor) -> None:
        self.a = a
        self.in_shape, self.out_shape = (1, 2, 2), (len(a),)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.a.T.to(x)


def _randn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _mixture() -> MixturePrior:
    root = _randn(3, D, D, seed=1)
    return MixturePrior(torch.tensor([0.5, 0.3, 0.2]), 2 * _randn(3, 1, 2, 2, seed=0), root @ root.mT / D)


def _gaussian() -> GaussianPrior:
    mixture = _mixture()
    return GaussianPrior(mixture.means[0], mixture.covariances[0])


PRIORS = {
    "gaussian": _gaussian(),
    "mixture": _mixture(),
    "isotropic": MixturePrior(torch.ones(2), _mixture().means[:2], 0.4),
}


@pytest.fixture(params=list(PRIORS))
def prior(request: pytest.FixtureRequest) -> Prior:
    return PRIORS[request.param]


@pytest.fixture
def problem() -> Problem:
    return Problem(Matrix(_randn(2, D, seed=2)), Gaussian(0.3), _randn(3, 2, seed=3))


def _grid_moments(problem: Problem, prior: Prior) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Posterior mean, second moment and evidence by importance sampling from the prior, with 4 million draws."""
    x = prior.sample(4_000_000, torch.Generator().manual_seed(9), torch.float64)  # type: ignore[attr-defined]
    clean = problem.operator(x)
    y = problem.measurement[:1]
    w = Gaussian(0.3).log_likelihood(y.expand_as(clean), clean)
    log_evidence = w.logsumexp(0) - math.log(len(x))
    w = w.softmax(0)
    flat = x.flatten(1)
    mean = w @ flat
    effective = float(1 / (w**2).sum())
    error = ((w @ (flat - mean) ** 2) / effective).sqrt()
    assert effective > 10_000
    return mean, error, log_evidence


def test_mean_and_evidence_agree_with_importance_sampling(problem: Problem, prior: Prior) -> None:
    exact = ExactPosterior(problem, prior)
    mean, error, log_evidence = _grid_moments(problem, prior)
    assert bool(((exact.mean[0].flatten() - mean).abs() < 5 * error).all())
    assert float(exact.log_evidence[0]) == pytest.approx(float(log_evidence), abs=0.02)


def test_evidence_is_that_of_scipy() -> None:
    problem = Problem(Matrix(_randn(2, D, seed=2)), Gaussian(0.3), _randn(3, 2, seed=3))
    prior = _gaussian()
    a = _randn(2, D, seed=2)
    law = scipy.stats.multivariate_normal(a @ prior.mean.flatten(), a @ prior.covariance @ a.T + 0.09 * torch.eye(2))
    torch.testing.assert_close(
        ExactPosterior(problem, prior).log_evidence, torch.from_numpy(law.logpdf(problem.measurement))
    )


def test_samples_have_the_mean_and_covariance(problem: Problem, prior: Prior) -> None:
    exact = ExactPosterior(problem, prior)
    n = 40_000
    x = exact.sample(n, seed=5).flatten(2)
    z = x - exact.mean.flatten(1)[:, None]
    assert bool((z.mean(1).abs() < 4.5 * z.std(1) / n**0.5).all())
    products = torch.einsum("bni,bnj->bnij", z, z)
    assert bool(((products.mean(1) - exact.covariance).abs() < 4.5 * products.std(1) / n**0.5).all())
    torch.testing.assert_close(exact.std.flatten(1) ** 2, torch.diagonal(exact.covariance, dim1=1, dim2=2))


def test_unobserved_pixels_do_not_enter() -> None:
    mask = torch.tensor([[1, 0], [1, 1]])
    problem = Problem(Inpainting(mask), Gaussian(0.2), _randn(2, 1, 2, 2, seed=1))
    dense = Problem(
        Matrix(torch.eye(4, dtype=torch.float64)[[0, 2, 3]]),
        Gaussian(0.2),
        problem.measurement.flatten(1)[:, [0, 2, 3]],
    )
    a, b = ExactPosterior(problem, _mixture()), ExactPosterior(dense, _mixture())
    torch.testing.assert_close(a.mean, b.mean)
    torch.testing.assert_close(a.log_evidence, b.log_evidence)


def test_noiseless_data_are_met_exactly(prior: Prior) -> None:
    problem = Problem(Matrix(_randn(2, D, seed=2)), Gaussian(0.0), _randn(3, 2, seed=3))
    exact = ExactPosterior(problem, prior)
    x = exact.sample(50).flatten(0, 1)
    torch.testing.assert_close(problem.operator(x), problem.measurement.repeat_interleave(50, 0))


def test_conjugate_gradients_reach_the_closed_form_on_an_image() -> None:
    prior = load_prior("gaussian")
    mask = torch.rand(9, 11, generator=torch.Generator().manual_seed(0)) > 0.4
    x = prior.sample(2, (3, 9, 11), torch.Generator().manual_seed(1), torch.float64)  # type: ignore[attr-defined]
    problem = simulate(Inpainting(mask, channels=3), x, 0.05)
    mean = gaussian_mean(problem, prior, tolerance=1e-10)  # type: ignore[arg-type]
    torch.testing.assert_close(mean, ExactPosterior(problem, prior).mean, atol=1e-7, rtol=0)


def test_other_problems_are_refused(problem: Problem) -> None:
    with pytest.raises(ValueError, match="expected Gaussian, got Poisson"):
        ExactPosterior(Problem(problem.operator, Poisson(10.0), problem.measurement), _gaussian())
