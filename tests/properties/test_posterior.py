"""Properties of the exact posterior, for any small matrix, prior and noise level."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from drawn import SEEDS, Drawn, levels, matrices, normal, problem_of, problems, repeatable
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior, MixturePrior

Prior = GaussianPrior | MixturePrior


def parts(prior: Prior) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights `(K,)`, means `(K, d)` and covariances `(K, d, d)`."""
    if isinstance(prior, GaussianPrior):
        return torch.ones(1, dtype=torch.float64), prior.mean.reshape(1, -1), prior.covariance[None]
    return prior.weights, prior.means.flatten(1), prior.covariances


def changed(prior: Prior, matrix: Tensor, shift: Tensor) -> Prior:
    """Return the law of `M x + b`."""
    weights, means, c = parts(prior)
    moved, spread = (means @ matrix.T + shift).reshape(len(means), 1, 1, -1), matrix @ c @ matrix.T
    spread = (spread + spread.mT) / 2
    return GaussianPrior(moved[0], spread[0]) if len(weights) == 1 else MixturePrior(weights, moved, spread)


def assert_alike(one: ExactPosterior, other: ExactPosterior, volume: float = 0.0) -> None:
    """Hold two posteriors of one image against each other, the second with another unit of volume in `y`."""
    unit = float(one.std.max()) + 1e-3 * float(one.mean.abs().max()) + 1e-9
    torch.testing.assert_close(one.mean, other.mean, rtol=0, atol=1e-6 * unit)
    torch.testing.assert_close(one.covariance, other.covariance, rtol=0, atol=1e-6 * unit**2)
    torch.testing.assert_close(one.weights, other.weights, rtol=0, atol=1e-6)
    assert other.log_evidence.tolist() == pytest.approx((one.log_evidence + volume).tolist(), rel=1e-7, abs=1e-6)


@repeatable(150)
@given(problems(noise=levels(1e-2, 10.0)))
def test_it_is_the_textbooks_formula(drawn: Drawn) -> None:
    exact = ExactPosterior(drawn.problem, drawn.prior)
    a, s, y = drawn.matrix, drawn.noise, drawn.y
    log_joint, means, spreads = [], [], []
    for w, m, c in zip(*parts(drawn.prior), strict=True):
        total = (a @ c @ a.T + s**2 * torch.eye(len(a))).numpy()
        gain = torch.from_numpy(scipy.linalg.solve(total, (a @ c).numpy(), assume_a="pos")).T
        law = scipy.stats.multivariate_normal((a @ m).numpy(), total)
        log_joint.append(math.log(w) + np.atleast_1d(law.logpdf(y.numpy())))
        means.append(m + (y - a @ m) @ gain.T)
        spreads.append(c - gain @ a @ c)
    joint = torch.from_numpy(np.stack(log_joint, 1))
    weights = joint.softmax(1)
    mean = torch.einsum("bk,bkd->bd", weights, torch.stack(means, 1))
    gap = torch.stack(means, 1) - mean[:, None]
    covariance = torch.einsum("bk,kij->bij", weights, torch.stack(spreads)) + torch.einsum(
        "bk,bki,bkj->bij", weights, gap, gap
    )
    torch.testing.assert_close(exact.log_evidence, joint.logsumexp(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(exact.weights, weights, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(exact.mean.flatten(1), mean, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(exact.covariance, covariance, rtol=1e-5, atol=1e-8)


@repeatable(120)
@given(problems(noise=levels(1e-7, 10.0), full=True), levels(1e-3, 1e3), st.sampled_from([1.0, -1.0]))
def test_units_of_the_measurement_do_not_matter(drawn: Drawn, gain: float, sign: float) -> None:
    """`c A`, `c y` and `c s` are the same problem; the density of `c y` is that of `y` over `|c|^m`."""
    a, c = drawn.matrix, sign * gain
    one = ExactPosterior(drawn.problem, drawn.prior)
    other = ExactPosterior(problem_of(c * a, c * drawn.y, gain * drawn.noise), drawn.prior)
    assert_alike(one, other, volume=-len(a) * math.log(gain))


@repeatable(120)
@given(problems(), levels(1e-3, 1e3), st.sampled_from([1.0, -1.0]))
def test_units_of_the_image_only_scale_the_posterior(drawn: Drawn, scale: float, sign: float) -> None:
    k, d = sign * scale, drawn.matrix.shape[1]
    one = ExactPosterior(drawn.problem, drawn.prior)
    prior = changed(drawn.prior, k * torch.eye(d, dtype=torch.float64), torch.zeros(d))
    other = ExactPosterior(problem_of(drawn.matrix / k, drawn.y, drawn.noise), prior)
    unit = float(one.std.max()) + 1e-3 * float(one.mean.abs().max()) + 1e-9
    torch.testing.assert_close(other.mean / k, one.mean, rtol=0, atol=1e-6 * unit)
    torch.testing.assert_close(other.covariance / k**2, one.covariance, rtol=0, atol=1e-6 * unit**2)
    torch.testing.assert_close(other.log_evidence, one.log_evidence, rtol=1e-7, atol=1e-6)


@repeatable(120)
@given(problems(), st.randoms(use_true_random=False))
def test_pixels_may_be_permuted(drawn: Drawn, order: object) -> None:
    d = drawn.matrix.shape[1]
    at = list(range(d))
    order.shuffle(at)  # type: ignore[attr-defined]
    one = ExactPosterior(drawn.problem, drawn.prior)
    swap = torch.eye(d, dtype=torch.float64)[at]
    other = ExactPosterior(
        problem_of(drawn.matrix[:, at], drawn.y, drawn.noise), changed(drawn.prior, swap, torch.zeros(d))
    )
    torch.testing.assert_close(other.mean, one.mean[..., at], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(other.covariance, one.covariance[:, at][:, :, at], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(other.log_evidence, one.log_evidence, rtol=1e-7, atol=1e-6)


@repeatable(100)
@given(problems(noise=levels(1e-7, 10.0), full=True), SEEDS)
def test_measurements_may_be_rotated_and_images_shifted(drawn: Drawn, seed: int) -> None:
    a, d = drawn.matrix, drawn.matrix.shape[1]
    one = ExactPosterior(drawn.problem, drawn.prior)
    q, _ = torch.linalg.qr(normal(seed, len(a), len(a)))
    assert_alike(one, ExactPosterior(problem_of(q @ a, drawn.y @ q.T, drawn.noise), drawn.prior))
    b = normal(seed + 1, d)
    shifted = ExactPosterior(
        problem_of(a, drawn.y + a @ b, drawn.noise), changed(drawn.prior, torch.eye(d, dtype=torch.float64), b)
    )
    torch.testing.assert_close(shifted.mean.flatten(1) - b, one.mean.flatten(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(shifted.covariance, one.covariance, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(shifted.log_evidence, one.log_evidence, rtol=1e-6, atol=1e-5)


@repeatable(100)
@given(problems(components=1, noise=levels(1e-2, 10.0)), st.data())
def test_two_measurements_one_after_the_other_are_both_at_once(drawn: Drawn, data: st.DataObject) -> None:
    """The posterior of the first is the prior of the second, and log evidences add."""
    a, s, y = drawn.matrix, drawn.noise, drawn.y[:1]
    second = data.draw(matrices(a.shape[1]))
    z = normal(len(second), 1, len(second))
    first = ExactPosterior(problem_of(a, y, s), drawn.prior)
    after = GaussianPrior(first.mean[0], (first.covariance[0] + first.covariance[0].T) / 2)
    then = ExactPosterior(problem_of(second, z, s), after)
    both = ExactPosterior(problem_of(torch.cat([a, second]), torch.cat([y, z], 1), s), drawn.prior)
    unit = float(first.std.max()) + 1e-6
    torch.testing.assert_close(then.mean, both.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(then.covariance, both.covariance, rtol=1e-5, atol=1e-7 * unit)
    assert float(first.log_evidence + then.log_evidence) == pytest.approx(float(both.log_evidence), rel=1e-6, abs=1e-5)


@repeatable(100)
@given(problems())
def test_the_posterior_is_no_wider_than_the_prior_and_samples_keep_to_it(drawn: Drawn) -> None:
    """Each component's covariance lies between zero and the prior's; samples stay within its range."""
    exact = ExactPosterior(drawn.problem, drawn.prior)
    for k, (m, c) in enumerate(zip(*parts(drawn.prior)[1:], strict=True)):
        after = exact.component_covariance(k)
        scale = float(c.diagonal().max())
        assert float(torch.linalg.eigvalsh(after).min()) > -1e-12 * scale
        assert float(torch.linalg.eigvalsh(c - after).min()) > -1e-9 * scale
        if exact.weights.shape[1] == 1:
            x = exact.sample(3).flatten(2) - m
            outside = x - x @ torch.linalg.pinv(c, rtol=1e-9, hermitian=True) @ c
            assert float(outside.abs().max()) < 1e-6
