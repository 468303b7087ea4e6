"""The residual of samples against its distribution, and the status "misfit"."""

from dataclasses import dataclass

import pytest
import scipy.stats
import torch
from torch import Tensor

from invdiff import Problem, Reconstruction, fit, simulate
from invdiff.fit import checked, likely_causes, measure_fit
from invdiff.noise import Gaussian, GaussianMap, Noise, Poisson, PoissonGaussian, Quantized
from invdiff.operators import Blur, Identity, Inpainting, LinearOperator, Operator, Tomography
from invdiff.posterior import ExactPosterior
from invdiff.priors import GaussianPrior
from invdiff.solvers import Solver
from invdiff.solvers.common.run import Run
from invdiff.streams import generator

SHAPE = (1, 4, 4)
ROWS = torch.randn(10, 16, generator=generator(5), dtype=torch.float64) / 4
MATRIX = LinearOperator.from_matrix(ROWS, SHAPE)
IMAGES = 400


def prior() -> GaussianPrior:
    p = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
    return GaussianPrior(torch.full(SHAPE, 0.5), 0.02 * torch.exp(-torch.cdist(p, p) / 1.5))


def drawn(count: int = IMAGES) -> Tensor:
    return prior().sample(count, generator(1), torch.float64)


def test_exact_samples_have_the_distribution_of_chi_square() -> None:
    problem = simulate(MATRIX, drawn(), 0.05, seed=2)
    found = measure_fit(problem, ExactPosterior(problem, prior()).sample(1, seed=3))
    assert found is not None and found.entries == 10
    assert scipy.stats.kstest(found.figures[:, 0].numpy() * 10, "chi2", args=(10,)).pvalue > 1e-3
    assert found.limit == pytest.approx(scipy.stats.chi2.ppf(0.999, 10) / 10)


@pytest.mark.parametrize(
    "noise",
    [
        GaussianMap(torch.linspace(0.01, 0.5, 4).double()),
        Poisson(200.0),
        Poisson(5.0),
        PoissonGaussian(50.0, 0.02),
        Quantized(16, std=0.05),
        Quantized(16),
    ],
    ids=repr,
)
@pytest.mark.parametrize("masked", [False, True])
def test_the_truth_fits_under_any_noise(noise: Noise, masked: bool) -> None:
    operator = Inpainting(torch.rand(4, 4, generator=generator(9)) < 0.7) if masked else Identity(SHAPE)
    problem = simulate(operator, drawn().clamp(0.05, 0.95), noise, seed=2)
    found = measure_fit(problem, drawn().clamp(0.05, 0.95)[:, None])
    assert found is not None
    m = int(operator.observed.sum()) if operator.observed is not None else 16
    assert found.entries == m
    assert float(found.figures.mean()) == pytest.approx(1, abs=4 * (2 / m / IMAGES) ** 0.5 + 0.03)
    variance = 0.8 / m if noise == Quantized(16) else 2 / m  # a uniform error has kurtosis 1.8
    assert float(found.figures.var()) == pytest.approx(variance, rel=0.4)
    assert float(found.misfit.double().mean()) < 0.02
    away = measure_fit(problem, 1 - drawn().clamp(0.05, 0.95)[:, None])
    assert away is not None and float(away.figures.mean()) > float(found.figures.mean()) + (2 / m) ** 0.5


def test_figures_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = simulate(MATRIX, drawn(3), 0.05, seed=2)
    samples = ExactPosterior(problem, prior()).sample(7, seed=3)
    whole = measure_fit(problem, samples)
    monkeypatch.setattr(fit, "VALUES", 64)
    parts = measure_fit(problem, samples)
    assert whole is not None and parts is not None
    torch.testing.assert_close(parts.figures, whole.figures, rtol=1e-12, atol=0)
    alone = measure_fit(problem[1], samples[1:2])
    assert alone is not None
    torch.testing.assert_close(alone.figures[0], whole.figures[1], rtol=1e-12, atol=0)


class Counted(Operator):
    """The identity; it counts the images that it acts on."""

    in_shape = out_shape = SHAPE

    def __init__(self) -> None:
        self.images = 0

    def forward(self, x: Tensor) -> Tensor:
        self.images += len(x)
        return x


def test_it_costs_one_application_of_the_operator_for_each_sample() -> None:
    operator = Counted()
    problem = Problem(operator, Gaussian(0.1), torch.zeros(2, *SHAPE))
    measure_fit(problem, torch.zeros(2, 6, *SHAPE))
    assert operator.images == 12


@pytest.mark.parametrize(
    "problem",
    [
        Problem(Identity(SHAPE), Gaussian(0), torch.zeros(1, *SHAPE)),
        Problem(Inpainting(torch.zeros(4, 4)), Gaussian(0.1), torch.zeros(1, *SHAPE)),
        Problem(Identity(SHAPE), Gaussian(0.1), torch.zeros(0, *SHAPE)),
    ],
    ids=["no noise", "no data", "no images"],
)
def test_there_is_no_figure_without_a_distribution(problem: Problem) -> None:
    assert measure_fit(problem, torch.ones(len(problem), 3, *SHAPE)) is None
    result = Reconstruction(torch.ones(len(problem), 3, *SHAPE))
    assert checked(problem, result, "X") is result


def shifted(shifts: list[float], noise: float = 0.1) -> tuple[Problem, Reconstruction]:
    """Return a measurement of zeros, and samples that are `shifts` standard deviations of the noise away."""
    problem = Problem(Identity(SHAPE), Gaussian(noise), torch.zeros(1, *SHAPE))
    values = torch.tensor(shifts) * noise
    return problem, Reconstruction(values.reshape(1, -1, 1, 1, 1).expand(-1, -1, *SHAPE).clone())


@pytest.mark.parametrize(
    ("shifts", "status"),
    [
        ([1.0] * 20, "ok"),
        ([0.0] * 20, "ok"),  # a residual that is too small
        ([1.0] * 19 + [3.0], "ok"),  # fewer than a tenth of the samples
        ([1.0] * 18 + [3.0] * 2, "misfit"),
        ([1.0] * 99 + [100.0], "misfit"),  # the mean
        ([1.7], "misfit"),
        ([1.5], "ok"),
    ],
)
def test_when_samples_do_not_fit(shifts: list[float], status: str) -> None:
    assert 1.5**2 < scipy.stats.chi2.ppf(0.999, 16) / 16 < 1.7**2
    problem, result = shifted(shifts)
    found = checked(problem, result, "Name")
    assert found.status == status
    assert float(found.trace["chi_square"]) == pytest.approx(sum(s * s for s in shifts) / len(shifts), rel=1e-6)
    if status == "misfit":
        assert found.message.startswith("Name: the residual of the samples is ")
        assert "take more steps, a lower last noise level or another solver" in found.message
        assert f"{float(found.trace['chi_square']):.4g}, expected 1, at most 2.453 likely" in found.message


@pytest.mark.parametrize(("wrong", "status"), [(1.0, "ok"), (1.04, "ok"), (1.1, "misfit")])
def test_a_noise_level_that_is_off_by_a_few_per_cent_is_no_misfit(wrong: float, status: str) -> None:
    x = torch.full((1, 1, 100, 100), 0.5)  # the limit of 10 000 entries without a tolerance is 1.04
    problem = simulate(Identity((1, 100, 100)), x, 0.05 * wrong, seed=1)
    believed = Problem(problem.operator, Gaussian(0.05), problem.measurement)
    assert checked(believed, Reconstruction(x[:, None]), "Test").status == status


def test_a_diverged_result_stays_diverged() -> None:
    problem, result = shifted([100.0])
    gone = Reconstruction(result.samples, status="diverged", message="at step 3")
    assert checked(problem, gone, "X") is gone


def test_a_note_about_a_linear_solve_is_kept() -> None:
    problem, result = shifted([100.0])
    noted = Reconstruction(result.samples, message="X: a linear solve stopped at its limit")
    found = checked(problem, noted, "X")
    assert found.status == "misfit" and "a linear solve stopped at its limit" in found.message


def test_likely_causes_are_those_of_the_operator() -> None:
    x = 0.2 + 0.6 * torch.rand(1, 1, 16, 16, generator=generator(4))
    ct = Tomography((1, 16, 16), angles_deg=[0.0, 50.0, 110.0])
    assert likely_causes(Problem(ct, Gaussian(0.1), ct(x)), x[:, None]) == [
        "likely here: angles in radians, a transposed sinogram, or another centre of rotation"
    ]
    scaled = likely_causes(Problem(ct, Gaussian(0.1), 2 * ct(x)), x[:, None])
    assert scaled[0].startswith("the measurement is 2 times what the operator makes of the samples")
    blur = Blur((1, 16, 16), kernel=torch.ones(3, 3))
    assert likely_causes(Problem(blur, Gaussian(0.1), blur(x)), x[:, None]) == ["the kernel's sum is 9, not 1"]
    mask = Inpainting(torch.eye(16) < 0.5)
    assert likely_causes(Problem(mask, Gaussian(0.1), mask(x)), x[:, None]) == ["likely here: an inverted mask"]


def test_values_as_fine_as_rounding_fit() -> None:
    problem = Problem(Identity(SHAPE), Gaussian(1e-9), torch.full((1, *SHAPE), 0.7))
    found = measure_fit(problem, torch.full((1, 1, *SHAPE), 0.7 + 1e-7))
    assert found is not None and not bool(found.misfit.any())


@dataclass(frozen=True, kw_only=True)
class Shifted(Solver):
    """The measurement of an identity, shifted."""

    by: float = 0.0

    def draw(self, run: Run) -> Tensor:
        return run.problem.measurement.reshape(-1, *SHAPE) + self.by


@pytest.mark.parametrize("noise", [Gaussian(0.1), GaussianMap(torch.full((4, 4), 0.1)), Poisson(100.0)], ids=repr)
def test_solvers_say_so(noise: Noise) -> None:
    problem = simulate(Identity(SHAPE), drawn(2).float().clamp(0.2, 0.8), noise, seed=2)
    assert Shifted()(problem, prior(), samples=3).status == "ok"
    result = Shifted(by=0.5)(problem, prior(), samples=3)
    assert result.status == "misfit" and result.message.startswith("Shifted: ")
    assert float(result.trace["chi_square"]) > 3
