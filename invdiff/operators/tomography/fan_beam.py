"""Fan-beam X-ray projections, onto a straight row of detectors.

At angle `b`, with `n = (cos b, sin b)` and `d = (-sin b, cos b)`, the source is at `-R d` and the detector with
coordinate `u` at `D d + u n`. The ray between them is the line with

    tan g = u / (R + D),      theta = b - g,      t = R sin g

of the parallel geometry. With `s = u R / (R + D)`, the detector's coordinate on a row through the centre, filtered
back-projection over the full circle is

    x(p) = 1/2 integral over b of  (R / (R + p.d))^2  (|f| * (y R / sqrt(R^2 + s^2)))(b, R (p.n) / (R + p.d))
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import UserError
from ..shapes import image_shape
from .parallel import MEMORY, Filter, Projection, angular_weights, interpolated, positive, ramp_filtered, row

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class FanBeamTomography(Projection):
    """Projections from a point source onto a straight row of detectors, at any angles.

    Args:
        in_shape: shape of one image, `(C, H, W)`, any rectangle.
        angles_deg: angles `b` of the central ray in degrees, `(views,)`; 0 integrates along the columns.
        source_distance: distance `R` of the source from the image's centre, outside the image.
        detector_distance: distance `D` of the detectors from the centre; default: `source_distance`.
        pixel_size: side of a pixel.
        detectors: number of detectors in the row; default: enough for the image's diagonal.
        detector_spacing: distance between detectors; default: one pixel at the centre.
        detector_offset: shift of the row of detectors along `u`.
        memory: largest size in bytes of a stored matrix; a larger one is computed at each use, with the same numbers.

    Raises:
        ValueError: angles that are not finite or not a row; a size, count or distance that is not positive; a source
            inside the image.

    References:
        Principles of Computerized Tomographic Imaging (Kak, Slaney, 1988), https://doi.org/10.1137/1.9780898719277,
        section 3.4.2.

    Example:
        >>> FanBeamTomography((1, 8, 8), angles_deg=[0, 90], source_distance=20).out_shape
        (1, 2, 12)
    """

    name = "fan_beam"
    summary = "X-ray projections from a point source"

    def __init__(
        self,
        in_shape: tuple[int, ...],
        *,
        angles_deg: ArrayLike | Tensor,
        source_distance: float,
        detector_distance: float | None = None,
        pixel_size: float = 1.0,
        detectors: int | None = None,
        detector_spacing: float | None = None,
        detector_offset: float = 0.0,
        memory: int = MEMORY,
    ) -> None:
        owner = "FanBeamTomography"
        _, h, w = image_shape(owner, in_shape)
        self.angles_deg = row(owner, "angles_deg", angles_deg)
        pixel_size = positive(owner, "pixel_size", pixel_size)
        self.source_distance = positive(owner, "source_distance", source_distance)
        self.detector_distance = (
            self.source_distance
            if detector_distance is None
            else positive(owner, "detector_distance", detector_distance)
        )
        radius = math.hypot(h, w) / 2 * pixel_size
        if self.source_distance <= radius:
            raise UserError(
                f"{owner}: source_distance: expected more than {radius:g}, half the image's diagonal, "
                f"got {source_distance:g}; move the source away or make pixel_size smaller"
            )
        total = self.source_distance + self.detector_distance
        magnification = total / self.source_distance
        self.detector_spacing = (
            pixel_size * magnification
            if detector_spacing is None
            else positive(owner, "detector_spacing", detector_spacing)
        )
        if detectors is None:
            reach = total * radius / math.sqrt(self.source_distance**2 - radius**2)
            detectors = math.ceil(2 * reach / self.detector_spacing)
            detectors += (detectors - w) % 2
        if not isinstance(detectors, int) or detectors < 1:
            raise UserError(f"{owner}: detectors: expected a positive integer, got {detectors!r}")
        if not math.isfinite(detector_offset):
            raise UserError(f"{owner}: detector_offset: expected a finite length, got {detector_offset}")
        self.detector_offset = float(detector_offset)
        u = (torch.arange(detectors, dtype=torch.float64) - (detectors - 1) / 2) * self.detector_spacing
        g = torch.atan2(u + detector_offset, torch.tensor(total, dtype=torch.float64))
        theta = torch.deg2rad(self.angles_deg)[:, None] - g
        t = (self.source_distance * g.sin()).expand_as(theta)
        super().__init__(in_shape, theta=theta, t=t, pixel_size=pixel_size, memory=memory)

    def fbp(self, y: Tensor, *, filter: Filter = "ramp") -> Tensor:
        """Return the filtered back-projection; the angles should go around the full circle.

        Args:
            y: sinograms, `(B, C, views, detectors)`.
            filter: the window on the ramp: "ramp" for none, "shepp-logan", "cosine", "hamming" or "hann".

        Returns:
            Images `(B, C, H, W)`.

        Raises:
            ValueError: an unknown filter.
        """
        self._check(y, self.out_shape, "a measurement", "y")
        r = self.source_distance
        shrink = r / (r + self.detector_distance)
        spacing, offset = self.detector_spacing * shrink, self.detector_offset * shrink
        count = self.out_shape[-1]
        s = (torch.arange(count, dtype=torch.float64, device=y.device) - (count - 1) / 2) * spacing + offset
        filtered = ramp_filtered(y * (r / (r * r + s * s).sqrt()).to(y), spacing, filter)
        filtered = filtered * (0.5 * angular_weights(self.angles_deg, 360)).to(y)[:, None]
        rows = filtered.reshape(-1, *self.out_shape[1:])
        right, up = self._grid(y.device)
        out = y.new_zeros(len(rows), *self.in_shape[1:])
        for v, angle in enumerate(torch.deg2rad(self.angles_deg).tolist()):
            cos, sin = math.cos(angle), math.sin(angle)
            depth = r / (r + up * cos - right * sin)
            place = depth * (right * cos + up * sin)
            out += depth.to(y) ** 2 * interpolated(rows[:, v], (place - offset) / spacing)
        return out.reshape(-1, *self.in_shape)

    def _describe(self) -> str:
        return f"{len(self.angles_deg)} angles, source at {self.source_distance:g}"
