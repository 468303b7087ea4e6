"""Resampling, weights and tilted transitions, against their definitions."""

import math

import pytest
import torch
from torch import Tensor

from invdiff.noise import Gaussian
from invdiff.operators import Blur, Inpainting
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior
from invdiff.problem import Problem
from invdiff.solvers import Run
from invdiff.solvers.common import particles as pf
from invdiff.streams import Streams, generator
from invdiff.testing.exact import MatrixOperator

SCHEMES = (pf.multinomial, pf.stratified, pf.systematic, pf.residual)
REPEATS = 10_000


def _weights() -> Tensor:
    w = torch.tensor([0.31, 0.0, 0.02, 0.27, 0.125, 0.125, 0.1, 0.05], dtype=torch.float64)
    return (w / w.sum()).expand(REPEATS, 8)


def _counts(resample: pf.Resampling) -> Tensor:
    u = torch.rand(REPEATS, 8, generator=generator(5), dtype=torch.float64)
    index = resample(_weights(), u)
    return torch.nn.functional.one_hot(index, 8).double().sum(1)


@pytest.mark.parametrize("resample", SCHEMES)
def test_resampling_is_unbiased(resample: pf.Resampling) -> None:
    counts, expected = _counts(resample), 8 * _weights()[0]
    error = (counts.var(0) / REPEATS).sqrt()
    assert bool(((counts.mean(0) - expected).abs() <= 5 * error + 1e-12).all())
    assert float(counts[:, 1].max()) == 0


def test_order_of_the_variances() -> None:
    """Of a smooth function's mean over the survivors: systematic and stratified < residual < multinomial."""
    f = torch.linspace(-1, 2, 8, dtype=torch.float64)
    var = {s.__name__: float((_counts(s) @ f / 8).var()) for s in SCHEMES}
    w = _weights()[0]
    theory = float((w @ f**2) - (w @ f) ** 2) / 8
    assert var["multinomial"] == pytest.approx(theory, rel=5 * math.sqrt(2 / REPEATS))
    assert var["stratified"] < 0.6 * var["residual"]
    assert var["residual"] < 0.6 * var["multinomial"]
    assert var["systematic"] < 0.6 * var["residual"]


@pytest.mark.parametrize("resample", [pf.systematic, pf.residual])
def test_numbers_of_copies_differ_from_their_means_by_less_than_one_where_they_must(resample: pf.Resampling) -> None:
    counts, expected = _counts(resample), 8 * _weights()[0]
    assert bool((counts >= expected.floor()).all())
    if resample is pf.systematic:
        assert bool((counts <= expected.ceil()).all())


@pytest.mark.parametrize("resample", [pf.stratified, pf.systematic, pf.residual])
def test_equal_weights_lose_no_particle(resample: pf.Resampling) -> None:
    w = torch.full((3, 7), 1 / 7, dtype=torch.float64)
    index = resample(w, torch.rand(3, 7, generator=generator(1), dtype=torch.float64))
    assert torch.equal(index.sort(1).values, torch.arange(7).expand(3, 7))


@pytest.mark.parametrize("resample", SCHEMES)
def test_systems_are_resampled_separately(resample: pf.Resampling) -> None:
    w = torch.rand(4, 9, generator=generator(2), dtype=torch.float64)
    w = w / w.sum(1, keepdim=True)
    u = torch.rand(4, 9, generator=generator(3), dtype=torch.float64)
    alone = torch.cat([resample(w[i : i + 1], u[i : i + 1]) for i in range(4)])
    assert torch.equal(resample(w, u), alone)


@pytest.mark.parametrize("resample", SCHEMES)
def test_the_largest_uniform_number_picks_a_particle_with_weight(resample: pf.Resampling) -> None:
    w = torch.tensor([[0.5, 0.5, 0.0, 0.0]], dtype=torch.float64)
    assert int(resample(w, torch.full((1, 4), 1 - 2**-53, dtype=torch.float64)).max()) <= 1


def test_weights_of_any_size() -> None:
    """Logarithms far beyond float64's exponents, no weight at all, an infinite one, and NaN."""
    inf = math.inf
    log_w = torch.tensor([[-9e5, -9e5 + math.log(3)], [-inf, -inf], [inf, 0.0], [math.nan, 2.0]], dtype=torch.float64)
    expected = torch.tensor([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(pf.normalized(log_w), expected)
    torch.testing.assert_close(pf.effective_sample_size(log_w), torch.tensor([1.6, 2.0, 1.0, 1.0]).double())
    assert float(pf.log_mean(log_w)[0]) == pytest.approx(-9e5 + math.log(2))


def test_float32_logarithms_keep_small_differences() -> None:
    assert pf.normalized(torch.zeros(1, 3)).dtype == torch.float64


@pytest.mark.parametrize("noisy", [True, False])
def test_tilted_transition_is_bayes_rule(noisy: bool) -> None:
    """One transition and one potential make a linear Gaussian problem, whose posterior is known."""
    g = generator(4)
    u, _, vt = torch.linalg.svd(torch.randn(2, 5, generator=g, dtype=torch.float64), full_matrices=False)
    operator = MatrixOperator(u, torch.tensor([1.5, 0.4], dtype=torch.float64), vt.T)
    y = torch.randn(1, 2, generator=g, dtype=torch.float64)
    m = torch.randn(1, 1, 5, 1, 1, generator=g, dtype=torch.float64)
    s, std = 0.7, 0.3 if noisy else 0.0
    problem = Problem(operator, Gaussian(std), y)
    run = Run(
        problem, GaussianPrior(m[0, 0], s**2 * torch.eye(5, dtype=torch.float64)), (1.0, 0.0), Streams([generator(6)])
    )
    exact = ExactPosterior(problem, GaussianPrior(m[0, 0], s**2 * torch.eye(5, dtype=torch.float64)))
    spectrum, a, tau = run.data_levels
    p = 40_000
    mean = m.expand(1, p, 5, 1, 1)
    z = pf.coefficients(spectrum, mean)
    moved, after = pf.tilted_draw(spectrum, mean, z, s, a, tau**2, run.randn(mean))
    torch.testing.assert_close(after, pf.coefficients(spectrum, moved))
    x = moved[0].flatten(1)
    total = float(pf.log_potential(z, a, s**2 + tau**2)[0, 0] + pf.log_outside(run, spectrum, tau)[0])
    assert total == pytest.approx(float(exact.log_evidence), abs=1e-9)
    error = (exact.covariance[0].diagonal() / p).sqrt()
    assert bool(((x.mean(0) - exact.mean[0].flatten()).abs() < 5 * error + 1e-9).all())
    torch.testing.assert_close(torch.cov(x.T), exact.covariance[0], rtol=0, atol=5 * s**2 * (2 / p) ** 0.5)


def test_what_no_image_explains_is_counted_as_noise() -> None:
    """Zero singular values, and entries that are not observed: the evidence is that of the exact posterior."""
    prior = GaussianPrior(torch.zeros(1, 3, 3), torch.eye(9, dtype=torch.float64))
    mask = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 1, 1]])
    flat_kernel = torch.ones(3, 3) / 9  # its transfer function vanishes
    for operator in (Inpainting(mask), Blur((1, 3, 3), kernel=flat_kernel, border="circular")):
        y = torch.randn(2, 1, 3, 3, generator=generator(8), dtype=torch.float64)
        problem = Problem(operator, Gaussian(0.4), y)
        run = Run(problem, prior, (1.0, 0.0), Streams([generator(0), generator(1)]))
        spectrum, a, tau = run.data_levels
        zero = torch.zeros_like(a)[:, None]
        got = pf.log_potential(zero, a, 1 + tau**2)[:, 0] + pf.log_outside(run, spectrum, tau)
        torch.testing.assert_close(got, ExactPosterior(problem, prior).log_evidence)


def test_levels_are_moved_onto_those_wanted() -> None:
    levels = torch.tensor([100.0, 10.0, 1.0, 0.5, 0.1, 0.01, 0.0], dtype=torch.float64)
    moved = pf.with_levels(levels, torch.tensor([0.12, 7.0, 500.0, 0.0, math.inf], dtype=torch.float64))
    torch.testing.assert_close(moved, torch.tensor([100.0, 7.0, 1.0, 0.5, 0.12, 0.01, 0.0], dtype=torch.float64))
    assert torch.equal(pf.with_levels(levels, torch.linspace(0.02, 5, 50, dtype=torch.float64)), levels)
    two = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert torch.equal(pf.with_levels(two, torch.tensor([0.5], dtype=torch.float64)), two)
    tau = torch.tensor([0.0, 0.001, 0.11, 300.0, math.inf], dtype=torch.float64)
    got = pf.on_levels(tau, tuple(levels.tolist()))
    torch.testing.assert_close(got, torch.tensor([0.0, 0.01, 0.1, math.inf, math.inf], dtype=torch.float64))
