"""Operators in Fourier space, from options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...checks import number
from ...errors import UserError
from ..base import Operator
from ..mri import MRI, cartesian_mask
from ..nonlinear import PhaseRetrieval
from .base import Shape
from .files import mask_from_file


def mri(
    shape: Shape,
    *,
    acceleration: float | None = None,
    center_fraction: float = 0.08,
    mask: Tensor | str | None = None,
    seed: int = 0,
) -> Operator:
    """Build MRI with one coil: a mask, its file, or random columns of that acceleration."""
    if (mask is None) == (acceleration is None):
        raise UserError("mri: expected one of the options acceleration and mask, as in mri:acceleration=4")
    if isinstance(mask, str):
        mask = mask_from_file(mask)
    if mask is not None and mask.ndim == 3 and len(mask) and bool((mask == mask[:1]).all()):
        mask = mask[0]  # the same for real and imaginary part, or one channel
    if mask is None:
        assert acceleration is not None
        fraction = number("mri: center_fraction", center_fraction)
        acceleration = number("mri: acceleration", acceleration)
        mask = cartesian_mask(shape[1:], acceleration=acceleration, center_fraction=fraction, seed=seed)
    return MRI(shape, mask=mask)


def real_image(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the shape of a real image with these frequencies, given as real and imaginary part."""
    return 1, shape[1], shape[2]


def phase_retrieval(shape: Shape, *, oversampling: float = 2.0) -> Operator:
    """Build the magnitude of the oversampled Fourier transform; options as in `PhaseRetrieval`."""
    return PhaseRetrieval(shape, oversampling=number("phase_retrieval: oversampling", oversampling))


def unpadded_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the image's shape from that of its padded transform."""
    share = number("phase_retrieval: oversampling", options.get("oversampling", 2.0)) / 8
    sides = [next((n for n in range(1, m + 1) if n + 2 * int(share * n) == m), m) for m in shape[1:]]
    return shape[0], sides[0], sides[1]
