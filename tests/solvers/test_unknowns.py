"""Posteriors of unknown parameters against quadrature, on problems whose evidence has a closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from invdiff import Problem, Unknown, simulate
from invdiff.noise import Gaussian
from invdiff.operators import Blur, OperatorFamily, Tomography, gaussian_kernel
from invdiff.priors import GaussianPrior
from invdiff.solvers import Evidence, FastEM

SIDE = 6
SHAPE = (1, SIDE, SIDE)


def _prior() -> GaussianPrior:
    """Return a Gaussian with a spectrum as images have it, correlated over a few pixels."""
    t = torch.arange(SIDE, dtype=torch.float64)
    line = torch.exp(-(t[:, None] - t).abs() / 2)
    return GaussianPrior(torch.zeros(SHAPE), torch.kron(line, line))


def _blurred(sigma: float) -> Blur:
    return Blur(SHAPE, kernel=gaussian_kernel(sigma, 7))


PRIOR = _prior()
SIGMA = OperatorFamily(_blurred, sigma=Unknown(0.4, 2.0))
KNOWN = Blur(SHAPE, kernel=gaussian_kernel(1.0, 7))
LEVEL = Gaussian(Unknown(0.02, 0.5, "log_uniform"))  # type: ignore[arg-type]


def _by_quadrature(problem: Problem, nodes: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Return values of the only unknown and their posterior weights, by dense matrices and scipy."""
    ((name, unknown),) = problem.unknowns.items()
    values = np.array([unknown.value((i + 0.5) / nodes) for i in range(nodes)])
    y = problem.measurement.double().flatten().numpy()
    eye = torch.eye(SIDE * SIDE, dtype=torch.float64).reshape(-1, *SHAPE)
    log = []
    for value in values:
        fixed = problem.at({name: float(value)})
        a = fixed.operator(eye).flatten(1).T.numpy()
        assert isinstance(fixed.noise, Gaussian)
        covariance = a @ PRIOR.covariance.numpy() @ a.T + fixed.noise.std**2 * np.eye(len(y))
        log.append(multivariate_normal.logpdf(y, np.zeros(len(y)), covariance))
    weights = np.exp(np.array(log) - max(log))
    return values, weights / weights.sum()


def _case(kind: str, seed: int) -> tuple[Problem, str, float]:
    """Return a problem whose truth is drawn from its prior, the name of the unknown and its true value."""
    g = torch.Generator().manual_seed(seed)
    x = PRIOR.sample(1, g, torch.float64)
    u = float(torch.rand((), generator=g))
    if kind == "sigma":
        value = SIGMA.unknowns["sigma"].value(u)
        return simulate(SIGMA, x, 0.05, seed, parameters={"sigma": value}), "sigma", value
    value = Unknown(0.02, 0.5, "log_uniform").value(u)
    return simulate(KNOWN, x, LEVEL, seed, parameters={"noise": value}), "noise", value


@pytest.mark.parametrize("kind", ["sigma", "noise"])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_evidence_agrees_with_quadrature(kind: str, seed: int) -> None:
    problem, name, _ = _case(kind, seed)
    values, weights = _by_quadrature(problem, 400)
    mean = float(weights @ values)
    std = math.sqrt(float(weights @ (values - mean) ** 2))
    found = Evidence().infer(problem, PRIOR, 2000, np.random.default_rng(0))
    assert abs(found.mean[0] - mean) < 0.1 * std
    assert found.std[0] == pytest.approx(std, rel=0.1)
    drawn = np.array([problem.unknowns[name].value(u) for u in found.points[:, 0]])
    assert abs(drawn.mean() - mean) < 0.1 * std
    assert drawn.std() == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("kind", ["sigma", "noise"])
def test_intervals_of_the_evidence_cover_the_truth_as_often_as_they_say(kind: str) -> None:
    count, inside = 200, 0
    for seed in range(count):
        problem, name, truth = _case(kind, 100 + seed)
        found = Evidence(steps=11).infer(problem, PRIOR, 400, np.random.default_rng(seed))
        drawn = [problem.unknowns[name].value(u) for u in found.points[:, 0]]
        low, high = np.quantile(drawn, [0.05, 0.95])
        inside += bool(low <= truth <= high)
    assert 0.86 <= inside / count <= 0.94


@pytest.mark.parametrize("kind", ["sigma", "noise"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_expectation_maximisation_agrees_with_quadrature(kind: str, seed: int) -> None:
    """Without the evidence as a start: the posterior is the integral of the scores of exact samples of the image."""
    problem, _, _ = _case(kind, seed)
    values, weights = _by_quadrature(problem, 400)
    mean = float(weights @ values)
    std = math.sqrt(float(weights @ (values - mean) ** 2))
    found = FastEM(coarse=False, draws=4000, iterations=12).infer(problem, PRIOR, 500, np.random.default_rng(0))
    assert abs(found.mean[0] - mean) < 0.1 * std
    assert found.std[0] == pytest.approx(std, rel=0.15)


@pytest.mark.parametrize("offset", [-4.3, 0.4, 3.7])
def test_centre_of_rotation_is_found_within_a_tenth_of_a_pixel(offset: float) -> None:
    side = 64
    square = torch.zeros(1, 1, side, side)
    square[..., 20:40, 26:50] = 1
    angles = list(range(0, 180, 2))
    family = OperatorFamily(Tomography, (1, side, side), angles_deg=angles, detector_offset=Unknown(-5, 5))
    level = 0.01 * float(family.at(detector_offset=offset)(square).max())
    problem = simulate(family, square, level, seed=1, parameters={"detector_offset": offset})
    found = Evidence().infer(problem, PRIOR, 100, np.random.default_rng(0))
    assert abs(found.mean[0] - offset) < 0.1
    assert abs(found.mean[0] - offset) < 4 * found.std[0]


def test_result_of_an_unknown_level_has_its_samples_and_uses_them() -> None:
    problem, _, truth = _case("noise", 5)
    result = Evidence(image_solver="mmps:steps=4")(problem, PRIOR, samples=6, seed=1)
    found = result.parameters["noise"]
    assert found.samples.shape == (1, 6)
    assert found.mean.shape == found.std.shape == (1,)
    assert len(set(found.samples[0].tolist())) == 6
    assert abs(float(found.mean[0]) - truth) < 4 * float(found.std[0])
    again = Evidence(image_solver="mmps:steps=4")(problem, PRIOR, samples=6, seed=1)
    assert torch.equal(result.samples, again.samples)


def test_several_images_have_their_own_parameters() -> None:
    g = torch.Generator().manual_seed(0)
    x = PRIOR.sample(2, g, torch.float64)
    y = [simulate(SIGMA, x[i : i + 1], 0.05, i, parameters={"sigma": s}) for i, s in enumerate((0.5, 1.9))]
    both = Problem(SIGMA, Gaussian(0.05), torch.cat([p.measurement for p in y]))
    result = Evidence(image_solver="mmps:steps=4")(both, PRIOR, samples=3)
    assert result.samples.shape[:2] == result.parameters["sigma"].samples.shape == (2, 3)
    assert result.parameters["sigma"].mean[0] < result.parameters["sigma"].mean[1]
