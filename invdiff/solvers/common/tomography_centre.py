r"""The shift of the detectors of a parallel-beam sinogram, from the consistency of its moments.

A projection at the angle `a` of an object that it shows whole has the mass and the centroid

    sum_t y(a, t) = M,      sum_t t y(a, t) / M = u cos(a) + v sin(a)

with the object's mass `M` and centroid `(u, v)`. If the detectors are shifted by `o`, the centroids that are computed
without the shift are `u cos(a) + v sin(a) - o`: the constant of a regression on the cosine and the sine. The noise of a
centroid is `s sqrt(sum t^2) / M`.

References:
    The Radon transform on Euclidean spaces (Ludwig, 1966), https://doi.org/10.1002/cpa.3160190105: the conditions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ...noise import Gaussian
from ...operators.tomography.parallel import Tomography
from ...problem import Problem

SPAN = 150.0  # degrees that the angles must cover, else cosine and constant are too alike
TRUNCATED = 5.0  # standard deviations of the noise of a mass, beyond its rounding, by which masses may differ


class Centre(NamedTuple):
    """The shift of the detectors.

    Attributes:
        offset: its estimate, in the unit of `detector_offset`.
        std: its standard deviation.
    """

    offset: float
    std: float


def centre_of(problem: Problem) -> Centre | None:
    """Return the shift of the detectors of one sinogram; `None` for another operator, or a truncated object.

    Args:
        problem: of one sinogram, with Gaussian noise; the shift of its operator does not matter.
    """
    operator = problem.operator
    if not isinstance(operator, Tomography) or not isinstance(problem.noise, Gaussian):
        return None
    angles = torch.deg2rad(operator.angles_deg)
    if float(operator.angles_deg.max() - operator.angles_deg.min()) < SPAN or len(angles) < 8:
        return None
    y = problem.measurement[0].double().cpu().sum(0)  # (views, detectors)
    noise = max(problem.noise.std, 1e-6 * float(y.abs().max())) * math.sqrt(problem.measurement.shape[1])
    n = y.shape[1]
    t = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * operator.detector_spacing
    edge = y[:, [0, 1, -2, -1]].mean(0)  # an object that is shown whole leaves them empty
    if bool((edge.abs() > TRUNCATED * noise / math.sqrt(len(y))).any()):
        return None
    mass = y.sum(1).mean()
    if float(mass) <= TRUNCATED * noise * math.sqrt(n / len(y)):
        return None
    centroid = (y * t).sum(1) / mass
    design = torch.stack([torch.ones_like(angles), angles.cos(), angles.sin()], 1)
    precision = design.T @ design
    fitted = torch.linalg.solve(precision, design.T @ centroid)
    chance = float(noise * t.square().sum().sqrt() / mass)
    scatter = float((centroid - design @ fitted).square().sum() / max(len(angles) - 3, 1)) ** 0.5
    return Centre(-float(fitted[0]), max(chance, scatter) * float(torch.linalg.inv(precision)[0, 0]) ** 0.5)
