"""Problems with noise of any law: the exact posterior and the solvers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invdiff import Problem, reconstruct, simulate
from invdiff.noise import (
    Gaussian,
    GaussianMap,
    Noise,
    Poisson,
    PoissonGaussian,
    Quantized,
    StackedNoise,
    TransmissionPoisson,
)
from invdiff.operators import (
    Blur,
    Downsample,
    GammaCurve,
    Identity,
    Inpainting,
    LinearOperator,
    Tomography,
    gaussian_kernel,
    stack,
)
from invdiff.posterior import ExactPosterior, gaussian_mean
from invdiff.priors import GaussianPrior, photograph_gaussian
from invdiff.registry import solvers
from invdiff.solvers import (
    DAPS,
    DPS,
    ILVR,
    MAP,
    MGPS,
    DiffPIR,
    MCGDiff,
    PnPDM,
    PseudoInverse,
    Solver,
    TwistedMultistep,
)
from invdiff.whitening import whitened

D = torch.float64
SHAPE = (1, 6, 7)


def image(count: int = 1, seed: int = 0) -> Tensor:
    return torch.rand((count, *SHAPE), generator=torch.Generator().manual_seed(seed), dtype=D) * 0.6 + 0.2


def uneven() -> Tensor:
    """A standard deviation that grows a hundredfold from left to right."""
    return torch.logspace(-2.5, -0.5, SHAPE[-1], dtype=D).expand(SHAPE)


def prior() -> GaussianPrior:
    d = math.prod(SHAPE)
    place = torch.cartesian_prod(torch.arange(6.0), torch.arange(7.0)).double()
    return GaussianPrior(
        torch.full(SHAPE, 0.5, dtype=D), 0.04 * torch.exp(-torch.cdist(place, place) / 2) + 1e-4 * torch.eye(d)
    )


def dense_posterior(a: LinearOperator, std: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, covariance and log evidence from the textbook's formulas on dense matrices."""
    p, d = prior(), math.prod(SHAPE)
    m = a(torch.eye(d, dtype=D).reshape(d, *SHAPE)).flatten(1).T
    seen = std.flatten() > 0
    m, s, v = m[seen], std.flatten()[seen], y.flatten()[seen]
    c = p.covariance
    total = m @ c @ m.T + torch.diag(s**2)
    gain = c @ m.T @ torch.linalg.inv(total)
    mean = p.mean.flatten() + gain @ (v - m @ p.mean.flatten())
    evidence = torch.distributions.MultivariateNormal(m @ p.mean.flatten(), total).log_prob(v)
    return mean, c - gain @ m @ c, evidence


@pytest.mark.parametrize("kind", ["identity", "inpainting", "blur", "stack"])
def test_exact_posterior_with_unequal_levels(kind: str) -> None:
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(3)) < 0.6
    noise: Noise = GaussianMap(uneven())
    std, a = uneven(), Identity(SHAPE)
    if kind == "inpainting":
        std, a = uneven() * mask, Inpainting(mask)  # type: ignore[assignment]
    elif kind == "blur":
        a = Blur(SHAPE, kernel=gaussian_kernel(0.8))  # type: ignore[assignment]
    elif kind == "stack":
        parts = [Identity(SHAPE), Blur(SHAPE, kernel=gaussian_kernel(2.0))]
        a, noise = stack(parts), StackedNoise((GaussianMap(uneven()), Gaussian(0.02)), (SHAPE, SHAPE))  # type: ignore[assignment]
        std = torch.cat([uneven().flatten(), torch.full((math.prod(SHAPE),), 0.02, dtype=D)])
    problem = simulate(a, image(), noise)
    exact = ExactPosterior(problem, prior())
    mean, covariance, evidence = dense_posterior(a, std, problem.measurement)
    torch.testing.assert_close(exact.mean.flatten(), mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(exact.covariance[0], covariance, rtol=0, atol=1e-9)
    torch.testing.assert_close(exact.log_evidence[0], evidence, rtol=0, atol=1e-7)
    iterated = gaussian_mean(problem, prior(), tolerance=1e-10, iterations=3000)
    torch.testing.assert_close(iterated.flatten(), mean, rtol=0, atol=1e-6)


def test_what_whitening_keeps() -> None:
    """Likelihoods up to a constant, closed forms where there are some, and equal levels as they are."""
    problem = simulate(Inpainting(torch.rand(SHAPE) < 0.5), image(2), GaussianMap(uneven()))
    white = whitened(problem)
    x = image(2, seed=5)
    torch.testing.assert_close(problem.log_likelihood(x), white.problem.log_likelihood(x) + white.log_volume)
    assert isinstance(white.problem.operator, LinearOperator) and white.problem.operator.svd is not None
    for mapped in (GaussianMap(torch.tensor(0.1, dtype=D)), Quantized(2, 0.0).gaussian(image()[:1])):
        same = whitened(Problem(Identity(SHAPE), mapped, image()))
        assert isinstance(same.problem.noise, Gaussian) and isinstance(same.problem.operator, Identity)
    with pytest.raises(ValueError, match=r"take problem\.gaussian\(\) first"):
        whitened(simulate(Identity(SHAPE), image(), Poisson(9.0)))


@pytest.mark.parametrize("solver", [PnPDM(steps=60), MCGDiff(steps=40, particles=300)], ids=["pnpdm", "mcgdiff"])
def test_solvers_weight_what_is_measured_well(solver: PnPDM | MCGDiff) -> None:
    """Their means are within 0.3 posterior standard deviations of the exact one, that for equal levels is not."""
    problem = simulate(
        Inpainting(torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.7), image(), GaussianMap(uneven())
    )
    exact = ExactPosterior(problem, prior())

    def bias(p: Problem) -> float:
        found = solver(p, prior(), samples=300).samples.mean(1)
        return float(((found - exact.mean) / exact.std).square().mean().sqrt())

    level = Gaussian(float((uneven() ** 2).mean().sqrt()))
    assert bias(problem) < 0.3 < bias(Problem(problem.operator, level, problem.measurement))


def test_evidence_is_in_the_units_of_the_measurement() -> None:
    small = GaussianPrior(torch.zeros(1, 1, 2, dtype=D), torch.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=D))
    noise = GaussianMap(torch.tensor([0.1, 2.0], dtype=D))
    problem = Problem(Identity((1, 1, 2)), noise, torch.tensor([[[[0.5, -1.0]]]], dtype=D))
    assert abs(whitened(problem).log_volume) > 1, "else there is nothing to see"
    found = TwistedMultistep(steps=30, particles=400)(problem, small, samples=400).log_evidence
    assert found is not None
    assert float(found - ExactPosterior(problem, small).log_evidence) == pytest.approx(0, abs=0.3)


def test_pseudo_inverse_of_a_stack_weights_its_parts() -> None:
    a, x = stack([Identity(SHAPE), Identity(SHAPE)]), image()
    problem = simulate(a, x, [0.1, GaussianMap(torch.full(SHAPE, 0.3, dtype=D))])
    one, two = a.split(problem.measurement)
    found = reconstruct(problem, photograph_gaussian(), PseudoInverse()).mean
    torch.testing.assert_close(found, (9 * one + two) / 10, rtol=0, atol=1e-5)


NOISES: list[Noise] = [Poisson(40.0), PoissonGaussian(40.0, 0.05), Quantized(8, 0.1)]


@pytest.mark.parametrize("noise", NOISES, ids=lambda n: type(n).__name__)
@pytest.mark.parametrize(
    "solver", [DAPS(steps=20, moves=20), PnPDM(steps=20, moves=30), MGPS(), MAP()], ids=lambda s: type(s).__name__
)
def test_solvers_that_use_the_likelihood(solver: Solver, noise: Noise) -> None:
    """At 20 photons a pixel the posterior is near that of the Gaussian law nearby, and so are their means.

    The mean of 6 samples is off by 0.4 posterior standard deviations; MGPS is by 0.4 on its own, and has 20.
    """
    x = gaussian_mean(simulate(Identity(SHAPE), image(), 0.1), prior())  # smooth, as the prior wants it
    problem = simulate(Identity(SHAPE), x, noise)
    result = solver(problem, prior(), samples=20 if isinstance(solver, MGPS) else 6)
    assert result.status in ("ok", "misfit")
    exact = ExactPosterior(problem.gaussian(), prior())
    for _ in range(3):  # weights from what the image says, not from the counts themselves, have no bias
        near = GaussianMap(noise.variance(exact.mean[0]).sqrt())  # type: ignore[attr-defined]
        exact = ExactPosterior(Problem(problem.operator, near, problem.measurement), prior())
    bias = ((result.mean - exact.mean) / exact.std).square().mean().sqrt()
    before = ((problem.measurement - exact.mean) / exact.std).square().mean().sqrt()
    assert bias < 0.7 < before


@pytest.mark.parametrize("name", [n for n in solvers if solvers[n].approximates])
def test_solvers_of_squares_take_the_gaussian_noise_nearby(name: str) -> None:
    problem = simulate(Identity(SHAPE), image(), Poisson(200.0))
    solver = solvers[name](steps=6)
    got, want = solver(problem, prior(), samples=2), solver(problem.gaussian(), prior(), samples=2)
    assert got.status in ("ok", "misfit")
    assert torch.equal(got.samples, want.samples)


def test_solvers_that_need_gaussian_noise_say_so_and_take_its_like() -> None:
    problem = simulate(Identity(SHAPE), image(2), Poisson(100.0))
    with pytest.raises(
        ValueError, match=r"DiffPIR needs Gaussian noise; got .*Poisson\(photons=100.0\); take the Gaus"
    ):
        DiffPIR()(problem, prior())
    with pytest.raises(ValueError, match="take them one by one"):
        problem.gaussian()
    near = problem[1].gaussian()
    assert DiffPIR(steps=5)(near, prior()).status == "ok"
    exact = ExactPosterior(near, prior()).mean
    found = DiffPIR()(near, prior(), samples=50).mean
    assert float((found - exact).abs().mean()) < 0.5 * float((near.measurement - exact).abs().mean())


@pytest.mark.parametrize("solver", [DPS(steps=5), ILVR(steps=5)], ids=["dps", "ilvr"])
def test_images_with_their_own_weights_do_not_depend_on_their_batch(solver: DPS | ILVR) -> None:
    problem = simulate(Identity(SHAPE), image(3), Poisson(50.0))
    reported: list[tuple[int, int]] = []
    together = solver(problem, prior(), samples=2, progress=lambda done, total: reported.append((done, total)))
    alone = solver(problem[1], prior(), samples=2)
    torch.testing.assert_close(together.samples[1:2], alone.samples, rtol=0, atol=1e-12)
    assert together.nfe == alone.nfe == 5
    assert reported == [(i + 1, 15) for i in range(15)]


def test_each_measurement_of_a_stack_has_its_own_noise() -> None:
    a = stack([Identity(SHAPE), GammaCurve(SHAPE)])
    problem = simulate(a, image(), [Poisson(100.0), 0.05])
    assert isinstance(problem.noise, StackedNoise)
    x = image(1, seed=4)
    parts = zip(problem.noise.parts, a.split(problem.measurement), a.split(a(x)), strict=True)
    torch.testing.assert_close(problem.log_likelihood(x), sum(n.log_likelihood(y, z) for n, y, z in parts))
    assert DPS(steps=20)(problem, prior()).status == "ok"
    with pytest.raises(ValueError, match="of 2 measurements, got 1"):
        simulate(a, image(), [0.1])
    with pytest.raises(TypeError, match="one for each operator of a stack, got list for Identity"):
        simulate(Identity(SHAPE), image(), [0.1])
    with pytest.raises(ValueError, match="broadcasts to measurements"):
        simulate(Downsample((1, 4, 4), factor=2), torch.rand(1, 1, 4, 4), GaussianMap(torch.ones(1, 4, 4)))


def test_sparse_view_tomography_of_few_photons() -> None:
    """With the photons' weights least squares is nearer to the truth than without."""
    c = torch.linspace(-1, 1, 24, dtype=D)
    x = ((c[:, None] ** 2 + c**2 < 0.8) * 0.5 + (c[:, None] ** 2 + (3 * c) ** 2 < 0.3) * 0.5).double()[None, None]
    a = Tomography((1, 24, 24), angles_deg=torch.arange(0, 180, 4.0), pixel_size=0.25)
    errors: dict[str, list[float]] = {"weighted": [], "not": []}
    for seed in range(4):
        problem = simulate(a, x, TransmissionPoisson(300.0), seed=seed)
        for name, p in (("weighted", problem.gaussian()), ("not", Problem(a, Gaussian(0.2), problem.measurement))):
            found = gaussian_mean(p, photograph_gaussian())
            errors[name].append(float((found - x).square().mean().sqrt()))
    assert sum(errors["weighted"]) < 0.9 * sum(errors["not"])
