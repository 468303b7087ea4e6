"""The default solver: what it takes for which problem, and that its answer is the one it promises."""

from __future__ import annotations

import pytest
import skimage
import torch
from torch import Tensor

from invdiff import Problem, load_prior, reconstruct, simulate
from invdiff.metrics import psnr
from invdiff.noise import GaussianMap, Poisson
from invdiff.operators import (
    MRI,
    Blur,
    CompressedSensing,
    Demosaic,
    Downsample,
    HighDynamicRange,
    Identity,
    Inpainting,
    LinearOperator,
    Operator,
    Tomography,
    box_mask,
    cartesian_mask,
    gaussian_kernel,
    motion_kernel,
    random_mask,
)
from invdiff.solvers import Auto
from invdiff.solvers.base import solver_of
from invdiff.solvers.choice.ensemble import blend
from invdiff.solvers.choice.kinds import Kind, kind_of
from invdiff.solvers.choice.table import EFFORTS, SAMPLES, choices
from invdiff.testing import exact_problems, grade_solver

SHAPE = (3, 16, 16)
MATRIX = torch.randn(5, 3 * 16 * 16, generator=torch.Generator().manual_seed(0))
OPERATORS: dict[str, tuple[Operator, Kind]] = {
    "identity": (Identity(SHAPE), Kind.DENOISING),
    "half": (2 * Identity(SHAPE), Kind.DENOISING),
    "random": (Inpainting(random_mask((16, 16), missing=0.7, seed=0), channels=3), Kind.SCATTERED),
    "few": (Inpainting(random_mask((16, 16), missing=0.85, seed=0), channels=3), Kind.FEW),
    "box": (Inpainting(box_mask((16, 16), size=(14, 14), corner=(1, 1)), channels=3), Kind.HOLES),
    "mosaic": (Demosaic(SHAPE), Kind.ORTHOGONAL),
    "averages": (Downsample(SHAPE, factor=4, kernel="average"), Kind.ORTHOGONAL),
    "frequencies": (MRI((1, 16, 16), mask=cartesian_mask((16, 16), acceleration=4)), Kind.TRANSFORM),
    "projections": (CompressedSensing(SHAPE, ratio=0.25), Kind.TRANSFORM),
    "blur": (Blur(SHAPE, kernel=gaussian_kernel(1.0, 5), border="circular"), Kind.SPECTRAL),
    "x2": (Downsample(SHAPE, factor=2, kernel="bicubic"), Kind.SPECTRAL),
    "motion": (Blur(SHAPE, kernel=motion_kernel(7, seed=1), border="reflect"), Kind.LINEAR),
    "rays": (Tomography((1, 16, 16), angles_deg=(0.0, 45.0, 90.0)), Kind.LINEAR),
    "clipped": (HighDynamicRange(SHAPE), Kind.NONLINEAR),
}


def problem(operator: Operator, noise: float = 0.05) -> Problem:
    x = torch.rand(1, *operator.in_shape, generator=torch.Generator().manual_seed(1))
    return simulate(operator, x, noise)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_kind_follows_from_the_operator(name: str) -> None:
    operator, kind = OPERATORS[name]
    assert kind_of(problem(operator)) == kind


def test_the_kind_follows_from_the_noise() -> None:
    x = torch.rand(1, *SHAPE)
    uneven = torch.linspace(0.05, 0.2, 16).expand(SHAPE)
    assert kind_of(simulate(Identity(SHAPE), x, GaussianMap(uneven))) == Kind.UNEVEN
    assert kind_of(simulate(Identity(SHAPE), x, GaussianMap(torch.full(SHAPE, 0.1)))) == Kind.DENOISING
    assert kind_of(simulate(Identity(SHAPE), x, Poisson(30.0))) == Kind.LIKELIHOOD


def test_the_table_has_a_choice_for_every_kind_and_effort_and_every_prior() -> None:
    for kind in Kind:
        for effort in EFFORTS:
            rows = choices()[kind, effort]
            assert {None} <= {r.maps for r in rows} or {True, False} <= {r.maps for r in rows}, (kind, effort)
            for row in rows:
                assert solver_of(row.sampler).point is False
                for weights in (row.mean, row.estimate):
                    assert sum(weights.values()) == pytest.approx(1) and min(weights.values()) > 0
                assert SAMPLES not in row.estimate


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("effort", ["fast", "normal"])
def test_every_kind_of_problem_is_solved_within_its_evaluations(name: str, effort: str) -> None:
    p, prior = problem(OPERATORS[name][0]), load_prior("photo" if OPERATORS[name][0].in_shape[0] == 3 else "ct")
    solver = Auto(effort=effort)
    result = solver(p, prior, samples=4)
    assert result.samples.shape == (1, 4, *p.operator.in_shape)
    assert result.nfe <= {"fast": 15, "normal": 60}[effort]
    assert abs(result.nfe - solver.declared_evaluations(p, prior, 4)) <= 1
    _, choice = solver.choose(p, prior)
    assert choice.sampler in result.method and str(OPERATORS[name][1]) in result.method


def test_the_samples_are_those_of_the_sampler_and_the_mean_is_the_weighted_one() -> None:
    p, prior = problem(OPERATORS["blur"][0]), load_prior("photo")
    result = Auto(effort="fast")(p, prior, samples=3, seed=5)
    _, choice = Auto(effort="fast").choose(p, prior)
    drawn = solver_of(choice.sampler)(p, prior, samples=3, seed=5)
    assert torch.equal(result.samples, drawn.samples)
    means: dict[str, Tensor] = {SAMPLES: drawn.mean}
    for name in set(choice.mean) - {SAMPLES}:
        solver = solver_of(name)
        means[name] = solver(p, prior, samples=1 if solver.point else 3, seed=5).mean
    assert torch.equal(result.mean, blend(means, choice.mean))


@pytest.mark.parametrize("effort", ["fast", "normal"])
def test_a_hole_in_a_sky_is_filled_with_sky(effort: str) -> None:
    """Levels for each pixel gave the mean colour of all photographs, a gray patch."""
    sky = torch.stack([torch.linspace(low, high, 64) for low, high in ((0.1, 0.2), (0.25, 0.4), (0.5, 0.7))])
    x = sky[None, :, :, None].expand(1, 3, 64, 64)
    hole = Inpainting(box_mask((64, 64), size=(32, 32), corner=(16, 16)), channels=3)
    result = Auto(effort=effort)(simulate(hole, x, 0.025, seed=0), load_prior("photo"), samples=2)
    error = (result.mean - x)[..., 16:48, 16:48].square().mean().sqrt()
    assert float(error) < 0.05


def test_an_estimate_is_one_image() -> None:
    p, prior = problem(OPERATORS["blur"][0]), load_prior("photo")
    solver = Auto(goal="estimate", effort="fast")
    assert solver.point and not Auto().point
    result = solver(p, prior, samples=2)
    assert torch.equal(result.samples[:, 0], result.samples[:, 1]) and torch.equal(result.samples[:, 0], result.mean)


def test_it_is_the_default() -> None:
    p = problem(OPERATORS["identity"][0])
    assert torch.equal(reconstruct(p).samples, Auto()(p, load_prior("photo")).samples)


def test_progress_goes_from_nothing_to_all() -> None:
    seen: list[tuple[int, int]] = []
    p = problem(OPERATORS["blur"][0])
    Auto(effort="fast")(p, load_prior("photo"), samples=1, progress=lambda done, total: seen.append((done, total)))
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    assert len({t for _, t in seen}) == 1 and seen[-1][0] == seen[-1][1]


def test_unknown_goals_and_efforts_are_refused() -> None:
    with pytest.raises(ValueError, match="goal: expected samples or estimate, got 'mean'"):
        Auto(goal="mean")
    with pytest.raises(ValueError, match="effort: expected fast or normal or best, got 'slow'"):
        Auto(effort="slow")


class Opaque(Operator):
    """A map without gradients."""

    in_shape = out_shape = (3, 16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy() ** 2)


def test_a_problem_that_no_solver_of_the_table_can_do_is_refused() -> None:
    with pytest.raises(ValueError, match="Auto needs an operator whose output has a gradient"):
        Auto()(problem(Opaque()), load_prior("photo"))


def test_noise_of_unequal_levels_is_whitened_first() -> None:
    levels = torch.where(torch.arange(16) < 8, 0.05, 0.2).expand(SHAPE)
    p = simulate(Identity(SHAPE), torch.rand(1, *SHAPE), GaussianMap(levels))
    for prior in ("photo", "gaussian"):
        assert Auto(effort="fast")(p, load_prior(prior), samples=2).status in ("ok", "misfit")


def test_linear_operators_of_users_are_solved() -> None:
    a = LinearOperator.from_matrix(MATRIX, SHAPE)
    assert kind_of(problem(a)) in (Kind.SPECTRAL, Kind.TRANSFORM, Kind.LINEAR)
    assert Auto(effort="fast")(problem(a), load_prior("photo"), samples=2).samples.isfinite().all()


@pytest.mark.parametrize("name", ["inpainting", "deblurring", "modes"])
def test_intervals_hold_the_truth_on_exact_problems(name: str) -> None:
    p, prior = exact_problems()[name]
    grade = grade_solver(Auto(), p, prior, samples=400)
    # 400 samples: the coverage of the pixels' quantiles has a Monte Carlo error below .01.
    assert 0.87 < grade.coverage_90 < 0.93
    assert 0.9 < grade.variance_ratio < 1.1
    assert grade.bias < 0.15


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2, 0.3])
def test_denoising_is_the_networks_own_estimate_with_honest_intervals(noise: float) -> None:
    x = torch.from_numpy(skimage.data.chelsea()[40:104, 120:184].copy()).permute(2, 0, 1)[None] / 255
    p, prior = simulate(Identity((3, 64, 64)), x, noise), load_prior("photo")
    result = Auto()(p, prior, samples=4)
    one_step = float(psnr(prior.denoise(p.measurement, noise).clamp(0, 1), x))
    assert float(psnr(result.mean.clamp(0, 1), x)) > one_step - 0.1
    assert 0.8 < float(result.coverage(x)) < 0.97
