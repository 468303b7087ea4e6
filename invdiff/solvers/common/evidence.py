"""The evidence `log p(y | theta)` of the unknown parameters of one image, up to a constant.

- exact: a Gaussian or mixture prior of a small image and a linear operator, in closed form, see `invdiff.posterior`.
- spectral: convolutions of photographs, from the power spectrum, see `spectral_evidence`.
- moments: the shift of the detectors of a parallel-beam sinogram that shows the whole object, from the centroids of the
  projections, see `tomography_centre`.
- energy: other linear operators, other sinograms above all: `-J / 2` with the least energy of an image,

      J = min_x ||y - A x||^2 / s^2 + (x - m)^T C^-1 (x - m)

  under the Gaussian of photographs; the determinant of the measurement's covariance counts as constant, which it nearly
  is for a shift of the detectors.

References:
    Bayesian interpolation (MacKay, 1992), https://doi.org/10.1162/neco.1992.4.3.415, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...noise import Gaussian, NoiseFamily, measure_noise
from ...operators.base import LinearOperator
from ...operators.family import OperatorFamily
from ...posterior import ExactPosterior, gaussian_mean
from ...priors import GaussianPrior, MixturePrior, Prior, StationaryGaussianPrior, photograph_gaussian
from ...problem import Problem
from .parameters import Array, LogDensity, values_at
from .spectral_evidence import SpectralEvidence
from .tomography_centre import centre_of

EXACT = 1600
"""Largest number of measured entries for the closed form, whose cost grows with its cube."""

OFFSET = "detector_offset"
"""The unknown of `moments`."""

NOISE_ERROR = 0.03
"""Relative standard deviation of a noise level measured in the data."""


def evidence_of(problem: Problem, prior: Prior) -> LogDensity | None:
    """Return the log evidence as a function of a point of the box; `None` for a problem that has none of the forms.

    Args:
        problem: of one image, with unknowns.
        prior: the prior.
    """
    operator, noise = problem.typical.operator, problem.typical.noise
    if not isinstance(operator, LinearOperator) or not noise.is_gaussian:
        return None
    if is_closed(problem, prior) and problem.observations <= EXACT:
        return lambda point: float(ExactPosterior(_at(problem, point), prior).log_evidence)
    if not isinstance(noise, Gaussian):
        return None
    if SpectralEvidence.suits(operator):
        return _spectral(problem)
    if list(problem.unknowns) == [OFFSET] and (centre := centre_of(problem.typical)) is not None:
        return lambda point: -0.5 * ((values_at(problem.unknowns, point)[OFFSET] - centre.offset) / centre.std) ** 2
    return _energy(problem) if operator.in_shape[0] in (1, 3) and len(operator.in_shape) == 3 else None


def is_closed(problem: Problem, prior: Prior) -> bool:
    """Return whether the evidence of a problem, or of those in a family, has a closed form."""
    typical = problem.typical
    gaussian = isinstance(prior, GaussianPrior | MixturePrior | StationaryGaussianPrior)
    return gaussian and isinstance(typical.operator, LinearOperator) and typical.noise.is_gaussian


def _at(problem: Problem, point: Sequence[float] | Array) -> Problem:
    return problem.at(values_at(problem.unknowns, point))


def _spectral(problem: Problem) -> LogDensity:
    evidence = SpectralEvidence(problem.measurement[0].cpu())

    def log_density(point: Sequence[float] | Array) -> float:
        fixed = _at(problem, point)
        assert isinstance(fixed.noise, Gaussian)
        return evidence.log_density(fixed.operator.to("cpu"), fixed.noise.std)

    return log_density


def _energy(problem: Problem) -> LogDensity:
    """Return `-J / 2`, and for an unknown noise level the density of the level that is measured in the data."""
    unknowns = problem.unknowns
    measured: float | None = None
    if isinstance(problem.noise, NoiseFamily):
        measured = measure_noise(problem.measurement).std
    gaussian = photograph_gaussian()
    known: dict[tuple[float, ...], float] = {}
    geometry = [i for i, name in enumerate(unknowns) if _of_operator(problem, name)]

    def log_density(point: Sequence[float] | Array) -> float:
        fixed = _at(problem, point)
        assert isinstance(fixed.noise, Gaussian)
        level, prefix = fixed.noise.std, 0.0
        if measured is not None:
            prefix = -0.5 * (math.log(max(level, 1e-300) / max(measured, 1e-300)) / NOISE_ERROR) ** 2
            fixed = Problem(fixed.operator, Gaussian(measured), fixed.measurement, fixed.image_index)
        place = tuple(float(point[i]) for i in geometry)
        if place not in known:
            known[place] = _least_energy(fixed, gaussian)
        return prefix - 0.5 * known[place]

    return log_density


def _of_operator(problem: Problem, name: str) -> bool:
    return isinstance(problem.operator, OperatorFamily) and name in problem.operator.unknowns


def _least_energy(problem: Problem, prior: StationaryGaussianPrior) -> float:
    """Return `J`."""
    x = gaussian_mean(problem, prior, tolerance=1e-4, iterations=40)
    mean, variance = prior.moments(problem.operator.in_shape, x)
    assert isinstance(problem.noise, Gaussian)
    std = max(problem.noise.std, 1e-3 * prior.std * problem.gain)
    misfit = problem.residual(x).double().square().sum() / std**2
    return float(misfit + (prior.analyse(x - mean).double() ** 2 / variance.double()).sum())
