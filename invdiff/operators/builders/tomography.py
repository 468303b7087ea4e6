"""Projections along rays, from options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ...errors import UserError
from ...memory import check_fits
from ..base import Operator
from ..tomography.fan_beam import FanBeamTomography
from ..tomography.parallel import Tomography
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
) -> Operator:
    """Build parallel-beam projections.

    Args:
        shape: `(C, H, W)`.
        angles: their number, evenly spaced from `start` (included) to `stop` (excluded); or a list of degrees; or a
            file of one, `.npy` or text.
        start: first angle in degrees.
        stop: end of the angles in degrees.
        pixel_size: as in `Tomography`.
        detectors: as in `Tomography`.
        detector_spacing: as in `Tomography`.
        detector_offset: as in `Tomography`.
    """
    return Tomography(
        shape,
        angles_deg=angles_deg("tomography", angles, start, stop),
        pixel_size=pixel_size,
        detectors=detectors,
        detector_spacing=detector_spacing,
        detector_offset=detector_offset,
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
) -> Operator:
    """Build fan-beam projections; `angles`, `start` and `stop` as for `tomography`, other options as in the class."""
    return FanBeamTomography(
        shape,
        angles_deg=angles_deg("fan_beam", angles, start, stop),
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


def angles_deg(owner: str, angles: int | Sequence[float] | str | Tensor | None, start: float, stop: float) -> Any:
    """Return angles in degrees from their number, a list, or a file."""
    if angles is None:
        raise UserError(
            f"{owner}: angles: expected their number, or a list of degrees, as in {owner}:angles=60, got none"
        )
    if isinstance(angles, str):
        return read_array(f"{owner}: angles", angles)
    if isinstance(angles, int):
        if angles < 1:
            raise UserError(f"{owner}: angles: expected a positive number of them, got {angles}")
        check_fits(f"{owner}: angles", (angles, 1024), "choose fewer")  # rays of an angle
        return [start + (stop - start) * i / angles for i in range(angles)]
    return angles
