"""The hard problems with a closed-form posterior: each is what it says, and its posterior agrees with plain algebra."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from torch import Tensor

from invdiff.noise import Gaussian
from invdiff.operators.base import LinearOperator
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, MixturePrior, StationaryGaussianPrior
from invdiff.testing import hard_problems
from invdiff.testing.exact import ExactProblem
from invdiff.testing.hard import HARD

PROBLEMS = hard_problems()


@pytest.fixture(params=list(HARD))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _dense(problem: ExactProblem) -> tuple[Tensor, Tensor, float]:
    """Return the observed rows of the matrix, their measurements, and the noise level."""
    operator, noise = problem[0].operator, problem[0].noise
    assert isinstance(operator, LinearOperator) and isinstance(noise, Gaussian)
    d = math.prod(operator.in_shape)
    a = operator(torch.eye(d, dtype=torch.float64).reshape(d, *operator.in_shape)).flatten(1).T
    y = problem[0].measurement[0].flatten()
    if operator.observed is not None:
        keep = operator.observed.expand(operator.out_shape).flatten()
        a, y = a[keep], y[keep]
    return a, y, noise.std


def _components(problem: ExactProblem) -> list[tuple[float, Tensor, Tensor]]:
    """Return weight, mean and dense covariance of each component of the prior."""
    prior, shape = problem[1], problem[0].operator.in_shape
    d = math.prod(shape)
    if isinstance(prior, MixturePrior):
        eye = torch.eye(d, dtype=torch.float64)
        parts = zip(prior.weights.tolist(), prior.means.flatten(1), prior.covariances, strict=True)
        return [(w, m, c * eye) for w, m, c in parts]
    assert isinstance(prior, GaussianPrior | StationaryGaussianPrior)
    eye = torch.eye(d, dtype=torch.float64).reshape(d, *shape)
    mean = prior.moments(shape, eye)[0].expand(shape).flatten()
    return [(1.0, mean, prior.covariance_product(eye).flatten(1))]


def _conditioned(c: Tensor, a: Tensor, r: Tensor, s: float) -> tuple[Tensor, Tensor, float]:
    """Return the shift of the mean, the covariance and the log density of a residual, from S in 50 digits."""
    with mpmath.workdps(50):
        mc, ma, mr = (mpmath.matrix(t.tolist()) for t in (c, a, r))
        total = ma * mc * ma.T + mpmath.mpf(s) ** 2 * mpmath.eye(len(r))
        inverse = total**-1
        gain = mc * ma.T * inverse
        covariance = mc - gain * ma * mc
        square = (mr.T * inverse * mr)[0]
        log_density = -(square + mpmath.log(mpmath.det(total)) + len(r) * mpmath.log(2 * mpmath.pi)) / 2
        shift = torch.tensor([float(v) for v in gain * mr], dtype=torch.float64)
        return (
            shift,
            torch.tensor([[float(v) for v in row] for row in covariance.tolist()]).double(),
            float(log_density),
        )


def test_posterior_agrees_with_plain_linear_algebra(name: str) -> None:
    """`S = A C A^T + s^2 I`, `m + C A^T S^-1 (y - A m)`, `C - C A^T S^-1 A C`, for each component, in 50 digits."""
    problem = PROBLEMS[name]
    exact = ExactPosterior(*problem)
    a, y, s = _dense(problem)
    logs, means, covariances = [], [], []
    for weight, m, c in _components(problem):
        shift, covariance, log_density = _conditioned(c, a, y - a @ m, s)
        logs.append(math.log(weight) + log_density)
        means.append(m + shift)
        covariances.append(covariance)
    joint = torch.tensor(logs, dtype=torch.float64)
    weights = joint.softmax(0)
    mean = sum((w * m for w, m in zip(weights, means, strict=True)), torch.zeros_like(means[0]))
    spread = [c + torch.outer(m - mean, m - mean) for c, m in zip(covariances, means, strict=True)]
    covariance = sum((w * c for w, c in zip(weights, spread, strict=True)), torch.zeros_like(spread[0]))
    scale = covariance.diagonal().clamp(min=1e-20).sqrt()
    assert float(exact.log_evidence[0]) == pytest.approx(float(joint.logsumexp(0)), rel=1e-9, abs=1e-9)
    torch.testing.assert_close(exact.weights[0], weights, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(exact.mean[0].flatten() / scale, mean / scale, rtol=0, atol=1e-6)
    torch.testing.assert_close(exact.covariance[0] / scale / scale[:, None], covariance / scale / scale[:, None],
                               rtol=0, atol=1e-6)  # fmt: skip


def test_problems_are_the_same_each_time_and_in_double_precision(name: str) -> None:
    problem, prior = hard_problems()[name]
    assert torch.equal(problem.measurement, PROBLEMS[name][0].measurement)
    assert problem.measurement.dtype == torch.float64 and len(problem) == 1
    assert prior.shape == problem.operator.in_shape
    assert list(PROBLEMS) == list(HARD)


def _posterior(name: str) -> ExactPosterior:
    return ExactPosterior(*PROBLEMS[name])


def test_each_is_hard_for_the_stated_reason() -> None:
    """The facts in the sentences of `HARD`."""
    assert int(torch.linalg.matrix_rank(_dense(PROBLEMS["low-rank"])[0])) == 6
    (_, _, c), *_ = _components(PROBLEMS["low-rank-prior"])
    assert int(torch.linalg.matrix_rank(c, rtol=1e-9)) == 6
    assert _dense(PROBLEMS["tiny-noise"])[2] == 1e-4
    a, _, s = _dense(PROBLEMS["heavy-noise"])
    assert s == 5 and a.shape == (16, 16)
    weights = _posterior("one-mode").weights[0]
    assert weights[2] > 0.999, "two modes are excluded"
    torch.testing.assert_close(_posterior("three-modes").weights[0], torch.tensor([0.45, 0.45, 0.1]).double())
    assert _posterior("one-pixel").std.shape == (1, 1, 1, 1)
    assert PROBLEMS["ct-5-views"][0].operator.out_shape == (1, 5, 12)


def test_gain_and_scale_do_not_change_the_posterior() -> None:
    """The measurement's units cancel; images ten times as large have a posterior ten times as large."""
    plain = _posterior("plain")
    for name in ("gain-0.01", "gain-100"):
        other = _posterior(name)
        torch.testing.assert_close(other.mean, plain.mean, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(other.covariance, plain.covariance, rtol=1e-9, atol=1e-15)
    scale = PROBLEMS["scale-10"][1].std / PROBLEMS["plain"][1].std
    other = _posterior("scale-10")
    torch.testing.assert_close(other.mean, scale * plain.mean, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(other.covariance, scale**2 * plain.covariance, rtol=1e-9, atol=1e-15)
