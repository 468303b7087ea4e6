"""The exact posterior in 60 digits, where double precision takes care: little noise, gains, low rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mpmath
import pytest
import torch
from torch import Tensor

from invdiff import Problem
from invdiff.noise import Gaussian
from invdiff.operators import LinearOperator
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, MixturePrior

D = 12


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _covariance(seed: int) -> Tensor:
    """Eigenvalues from 0.3 down to 3e-5, in a random basis."""
    q, _ = torch.linalg.qr(_randn(D, D, seed=seed))
    c = (q * torch.logspace(-4, 0, D, dtype=torch.float64)) @ q.T
    out: Tensor = 0.15 * (c + c.T)
    return out


def _integers(*shape: int, seed: int) -> Tensor:
    """Small whole numbers, whose products have no rounding."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).double()


def _low_rank_prior() -> Tensor:
    root = _integers(D, 5, seed=4)
    return root @ root.T / 64


FULL = _randn(9, D, seed=1) / 4
RANK_6 = _randn(D, 6, seed=2) @ _randn(6, D, seed=3) / 4
TINY = torch.diag(10.0 ** -torch.arange(D, dtype=torch.float64))


@dataclass(frozen=True)
class Case:
    """A measurement matrix, a noise level, and whether the prior has full rank."""

    matrix: Tensor
    noise: float
    full: bool = True


CASES = {
    "ordinary": Case(FULL, 0.05),
    "rank 6 of 12": Case(RANK_6, 1e-6),
    "rank 6 of 12, nearly no noise": Case(RANK_6, 1e-9),
    "gain 100": Case(100 * RANK_6, 1e-4),
    "gain 0.01": Case(0.01 * FULL, 1e-8),
    "singular values down to 1e-11": Case(TINY, 1e-7),
    "singular values and noise down to 1e-11": Case(TINY, 1e-11),
    "more measurements than pixels": Case(_randn(20, D, seed=5), 1e-7),
    "prior of rank 5": Case(FULL, 1e-5, full=False),
    "heavy noise": Case(FULL, 5.0),
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def _measured(case: Case, covariance: Tensor) -> Tensor:
    """Two measurements of draws of the prior."""
    values, q = torch.linalg.eigh(covariance)
    x = 0.5 + (_randn(2, D, seed=6) * values.clamp(min=0).sqrt()) @ q.T
    y: Tensor = x @ case.matrix.T + case.noise * _randn(2, len(case.matrix), seed=7)
    return y


def _problem(case: Case, y: Tensor) -> Problem:
    return Problem(LinearOperator.from_matrix(case.matrix, (1, 3, 4)), Gaussian(case.noise), y)


class Reference:
    """The posterior of one Gaussian component, by the textbook's formulas, in 60 digits."""

    def __init__(self, case: Case, mean: Tensor, covariance: Tensor, y: Tensor) -> None:
        with mpmath.workdps(60):
            a, c, m = (mpmath.matrix(t.tolist()) for t in (case.matrix, covariance, mean))
            s = a * c * a.T + mpmath.mpf(case.noise) ** 2 * mpmath.eye(a.rows)
            inverse = s**-1
            r = mpmath.matrix(y.tolist()) - a * m
            lower = mpmath.cholesky(s)
            log_det = 2 * sum(mpmath.log(lower[i, i]) for i in range(a.rows))
            self.log_evidence = -((r.T * inverse * r)[0] + log_det + a.rows * mpmath.log(2 * mpmath.pi)) / 2
            self.mean = torch.tensor([float(v) for v in m + c * a.T * inverse * r], dtype=torch.float64)
            after = c - c * a.T * inverse * a * c
            self.covariance = torch.tensor([[float(v) for v in row] for row in after.tolist()], dtype=torch.float64)
            # What was measured, in units of its own deviation under the posterior: tiny where there is little noise.
            self.measured = torch.tensor([float(v) for v in a * (m + c * a.T * inverse * r)], dtype=torch.float64)
            diagonal = [float((a * after * a.T)[i, i]) for i in range(a.rows)]
            self.measured_variance = torch.tensor(diagonal, dtype=torch.float64)


def _slack(case: Case, covariance: Tensor) -> float:
    """The relative error that rounding of the covariance itself makes in a variance as small as the noise's."""
    scale = float(torch.linalg.matrix_norm(case.matrix @ covariance @ case.matrix.T, 2))
    return 1e-9 + (0 if case.full else 1e-15 * scale / case.noise**2)


def test_gaussian_posterior(case: Case) -> None:
    covariance = _covariance(0) if case.full else _low_rank_prior()
    prior = GaussianPrior(torch.full((1, 3, 4), 0.5, dtype=torch.float64), covariance)
    y = _measured(case, covariance)
    exact = ExactPosterior(_problem(case, y), prior)
    slack = _slack(case, covariance)
    # The residual y - A m itself is rounded, to 1e-16 of its terms, and that counts in units of the noise.
    rounding = 1e-15 * float(y.abs().max()) / case.noise
    for b in range(2):
        want = Reference(case, prior.mean.flatten(), covariance, y[b])
        error = abs(float(exact.log_evidence[b]) - float(want.log_evidence))
        assert error < 100 * (slack + rounding) * len(y[b])
        std = want.covariance.diagonal().sqrt()
        near = 1e-12 + 10 * (slack + rounding)
        assert float(((exact.mean[b].flatten() - want.mean) / std).abs().max()) < near + 1e-15 / float(std.min())
        gap = (exact.covariance[b] - want.covariance) / (std[:, None] * std)
        assert float(gap.abs().max()) < near + 1e-15 / float(std.min() ** 2)


def test_what_was_measured_is_known_as_well_as_it_should_be() -> None:
    """The direction in which the posterior is narrowest: 1e-6 of the prior's width, which a difference would lose."""
    case, covariance = Case(100 * FULL, 1e-4), _covariance(0)
    prior = GaussianPrior(torch.full((1, 3, 4), 0.5, dtype=torch.float64), covariance)
    y = _measured(case, covariance)
    problem = _problem(case, y)
    exact = ExactPosterior(problem, prior)
    want = Reference(case, prior.mean.flatten(), covariance, y[0])
    variance = (case.matrix @ exact.covariance[0] @ case.matrix.T).diagonal()
    torch.testing.assert_close(variance, want.measured_variance, rtol=1e-4, atol=0)
    std = want.measured_variance.sqrt()
    assert float(((problem.operator(exact.mean)[0] - want.measured) / std).abs().max()) < 1e-6
    n = 4000
    drawn = problem.operator(exact.sample(n)[0])
    assert bool(((drawn.var(0) / want.measured_variance - 1).abs() < 4.5 * math.sqrt(2 / n)).all())
    assert bool((((drawn.mean(0) - want.measured) / std).abs() < 4.5 / math.sqrt(n)).all())


def test_mixture_weights_and_evidence(case: Case) -> None:
    first = _covariance(0) if case.full else _low_rank_prior()
    # Two components of one shape, and one of another rank: what is dropped for it changes the weights.
    covariances = torch.stack(
        [first, first, torch.diag(torch.tensor([0.25] * 3 + [0.0] * 9)).double() + 0.0625 * first]
    )
    means = torch.stack([torch.full((D,), 0.5), torch.full((D,), 0.5), torch.full((D,), 0.25)]).double()
    means[1] += 3 * case.noise * (torch.linalg.pinv(case.matrix, rtol=1e-3) @ _randn(len(case.matrix), seed=8))
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    prior = MixturePrior(weights, means.reshape(3, 1, 3, 4), covariances)
    y = _measured(case, first)
    exact = ExactPosterior(_problem(case, y), prior)
    slack = 100 * (_slack(case, first) + 1e-15 * float(y.abs().max()) / case.noise) * D
    for b in range(2):
        parts = [Reference(case, m, c, y[b]) for m, c in zip(means, covariances, strict=True)]
        with mpmath.workdps(60):
            joint = [mpmath.mpf(float(w)) * mpmath.exp(p.log_evidence) for w, p in zip(weights, parts, strict=True)]
            log_evidence = float(mpmath.log(sum(joint)))
            posterior = torch.tensor([float(j / sum(joint)) for j in joint], dtype=torch.float64)
        assert float(exact.log_evidence[b]) == pytest.approx(log_evidence, abs=slack, rel=1e-10)
        torch.testing.assert_close(exact.weights[b], posterior, atol=slack, rtol=slack)


def test_components_of_another_rank_have_no_weights_without_noise() -> None:
    """Their densities are over spaces of different dimension."""
    covariances = torch.stack([torch.eye(2), torch.diag(torch.tensor([1.0, 0.0]))]).double()
    prior = MixturePrior(torch.ones(2), torch.zeros(2, 1, 1, 2), covariances)
    problem = Problem(LinearOperator.from_matrix(torch.eye(2), (1, 1, 2)), Gaussian(0.0), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="noise: expected a positive level"):
        ExactPosterior(problem, prior)
