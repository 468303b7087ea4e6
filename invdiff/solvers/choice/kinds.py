"""Kinds of problems, for which different solvers are best.

The kind follows from the structure of the operator and from the law of the noise, never from the measured values.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from ...operators.base import LinearOperator
from ...operators.spectrum import SEEN
from ...problem import Problem
from ...whitening import whitened
from ..common.pixel_levels import pixel_levels

EQUAL = 1.01
"""Greatest ratio of noise levels that count as equal."""
NEAR = 3.0
"""A missing pixel is scattered if an observed one is within this distance, in pixels; else it is in a hole."""
HOLES = 0.25
"""Fraction of the missing pixels further away than `NEAR` from which on a mask has holes."""
SPARSE = 0.8
"""Fraction of missing pixels from which on scattered ones leave only a few."""
SIMILAR = 2.0
"""Greatest ratio of singular values that count as similar; a frequency of a real image with its mirror image has
sqrt(2) times the one without."""
WIDE = 1 / 8
"""Share of the measured values to which one pixel contributes, from which on rows are global."""


class Kind(StrEnum):
    """Kinds of problems; the value is the name in the table of choices."""

    DENOISING = "denoising"  # one noise level
    UNEVEN = "uneven noise"  # a noise level for each pixel
    SCATTERED = "scattered pixels"  # missing pixels between observed ones
    FEW = "few pixels"  # most pixels missing, between observed ones
    HOLES = "holes"  # missing regions
    ORTHOGONAL = "orthogonal rows"  # equal singular values, data from a few pixels each: mosaics, averages
    TRANSFORM = "partial transform"  # similar singular values, data from the whole image: frequencies, projections
    SPECTRAL = "spectral"  # different singular values, in closed form: blurs, antialiased downsampling
    LINEAR = "linear"  # linear without a closed form: tomography, motion blur
    NONLINEAR = "nonlinear"
    LIKELIHOOD = "other noise"  # noise that is not Gaussian


def kind_of(problem: Problem) -> Kind:
    """Return the kind of a problem; Gaussian noise of unequal levels belongs to the operator, by whitening."""
    if not problem.noise.is_gaussian:
        return Kind.LIKELIHOOD
    problem = whitened(problem).problem
    operator = problem.operator
    if not isinstance(operator, LinearOperator):
        return Kind.NONLINEAR
    if (tau := pixel_levels(problem)) is not None:
        known = tau[torch.isfinite(tau)]
        if known.numel() < tau.numel():
            return mask_kind(torch.isfinite(tau).expand(1, *operator.in_shape[-2:])[0])
        return Kind.DENOISING if float(known.max()) <= EQUAL * float(known.min()) else Kind.UNEVEN
    gains = operator.pixel_gains
    if gains is not None:  # channels differ, as behind a colour filter array
        return mask_kind((gains != 0).expand(operator.in_shape).any(0))
    if operator.svd is None:
        return Kind.LINEAR
    s = operator.svd.s[operator.svd.s > SEEN * operator.svd.s.max()]
    ratio = float(s.max() / s.min()) if s.numel() else float("inf")
    if ratio <= SIMILAR and reach(operator, problem) >= WIDE * s.numel():
        return Kind.TRANSFORM
    return Kind.ORTHOGONAL if ratio <= EQUAL else Kind.SPECTRAL


def reach(operator: LinearOperator, problem: Problem) -> int:
    """Return the number of measured values that the pixel in the middle of the image has a part in."""
    point = problem.measurement.new_zeros((1, *operator.in_shape))
    point[:, 0, operator.in_shape[-2] // 2, operator.in_shape[-1] // 2] = 1.0
    seen = operator.forward(point).abs()
    return int((seen > SEEN * seen.max()).sum())


def mask_kind(known: Tensor) -> Kind:
    """Return whether missing pixels are scattered, leave only few or form holes.

    Args:
        known: `(H, W)`, true at observed pixels.
    """
    from scipy.ndimage import distance_transform_edt

    missing = ~known.cpu().numpy()
    if not missing.any():
        return Kind.SCATTERED
    far = distance_transform_edt(missing)[missing] > NEAR
    if far.mean() >= HOLES:
        return Kind.HOLES
    return Kind.FEW if missing.mean() >= SPARSE else Kind.SCATTERED
