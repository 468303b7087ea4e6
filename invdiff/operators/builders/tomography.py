"""Projections along rays, from options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError
from ...memory import check_fits
from ..base import Operator
from ..tomography.conventions import Convention, find_convention, in_degrees
from ..tomography.fan_beam import FanBeamTomography
from ..tomography.parallel import Tomography, row
from .base import Shape
from .files import read_array


def tomography(
    shape: Shape,
    *,
    angles: int | Sequence[float] | str | None = None,
    start: float = 0.0,
    stop: float = 180.0,
    pixel_size: float = 1.0,
    detectors: int | None = None,
    detector_spacing: float | None = None,
    detector_offset: float = 0.0,
    angle_unit: str | None = None,
    convention: str = "invdiff",
) -> Operator:
    """Build parallel-beam projections.

    Args:
        shape: `(C, H, W)`.
        angles: their number, evenly spaced from `start` (included) to `stop` (excluded); or a list of them; or a file
            of one, `.npy` or text.
        start: first angle in degrees.
        stop: end of the angles in degrees.
        pixel_size: as in `Tomography`.
        detectors: as in `Tomography`.
        detector_spacing: as in `Tomography`.
        detector_offset: as in `Tomography`.
        angle_unit: "degrees" or "radians", of listed angles; by default that of the convention, and angles that look
            like the other one are refused.
        convention: "invdiff", "skimage", "astra" or "odl": the centre of rotation, and the unit of angles. The sinogram
            itself is `(C, angles, detectors)` here, so transpose that of skimage first.
    """
    kind = find_convention(convention)
    offset: float | Tensor = detector_offset
    degrees = angles_deg("tomography", angles, start, stop, angle_unit, kind)
    if kind.on_pixel:
        detectors = shape[2] if detectors is None else detectors
        if detector_spacing not in (None, pixel_size):
            raise UserError(
                f"tomography: convention: {convention} has detectors as wide as a pixel, got "
                f"detector_spacing={detector_spacing} and pixel_size={pixel_size}; leave one of the two out"
            )
        offset = detector_offset + pixel_size * kind.offset(shape[1:], detectors, degrees)
    return Tomography(
        shape,
        angles_deg=degrees,
        pixel_size=pixel_size,
        detectors=detectors,
        detector_spacing=detector_spacing,
        detector_offset=offset,
    )


def fan_beam(
    shape: Shape,
    *,
    angles: int | Sequence[float] | str | None = None,
    source_distance: float | None = None,
    start: float = 0.0,
    stop: float = 360.0,
    detector_distance: float | None = None,
    pixel_size: float = 1.0,
    detectors: int | None = None,
    detector_spacing: float | None = None,
    detector_offset: float = 0.0,
    angle_unit: str | None = None,
) -> Operator:
    """Build fan-beam projections; angles and their unit as for `tomography`, other options as in the class."""
    return FanBeamTomography(
        shape,
        angles_deg=angles_deg("fan_beam", angles, start, stop, angle_unit, Convention()),
        source_distance=2.0 * max(shape[1:]) * pixel_size if source_distance is None else source_distance,
        detector_distance=detector_distance,
        pixel_size=pixel_size,
        detectors=detectors,
        detector_spacing=detector_spacing,
        detector_offset=detector_offset,
    )


def sinogram_options(shape: Shape) -> Mapping[str, Any]:
    """Return the number of detectors: that of the sinogram's columns."""
    return {"detectors": shape[2]}


def angles_deg(
    owner: str,
    angles: int | Sequence[float] | str | Tensor | None,
    start: float,
    stop: float,
    unit: str | None,
    convention: Convention,
) -> Tensor:
    """Return angles in degrees, `(views,)`, from their number, a list, or a file."""
    if angles is None:
        raise UserError(
            f"{owner}: angles: expected their number, or a list of degrees, as in {owner}:angles=60, got none"
        )
    if isinstance(angles, int):
        if angles < 1:
            raise UserError(f"{owner}: angles: expected a positive number of them, got {angles}")
        check_fits(f"{owner}: angles", (angles, 1024), "choose fewer")  # rays of an angle
        if unit not in (None, "degrees"):
            raise UserError(f"{owner}: angle_unit: goes with a list of angles, got angles={angles}; leave it out")
        return torch.tensor([start + (stop - start) * i / angles for i in range(angles)], dtype=torch.float64)
    listed = read_array(f"{owner}: angles", angles) if isinstance(angles, str) else angles
    return in_degrees(owner, row(owner, "angles", listed), unit, convention)
