"""Conventions of other libraries for parallel-beam sinograms: which axis, unit of angles, centre of rotation.

    library                  axes of the array       angles    centre of the image and of the detectors
    invdiff                  angles, detectors       degrees   (n - 1) / 2
    skimage (`radon`)        detectors, angles       degrees   pixel n // 2
    astra ("parallel")       angles, detectors       radians   (n - 1) / 2
    odl (Parallel2dGeometry) angles, detectors       radians   (n - 1) / 2

All of them integrate along `x cos(theta) + y sin(theta) = t`, `x` to the right and `y` upwards. ODL stores the image as
`f[x, y]`; here the row is the second, downward axis, as ODL draws it.

About a centre in pixel `n // 2`, positions are smaller by `d(n) = n // 2 - (n - 1) / 2`, which is 1/2 for even `n`. In
positions from the middle the line of detector `k` of `D` is

    x cos(theta) + y sin(theta) = k - (D - 1) / 2 + o,      o = d(W) cos(theta) - d(H) sin(theta) - d(D)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import UserError
from ...registry import unknown

MOST_RADIANS = 2 * torch.pi * 1.001  # a full turn, and a little for rounding


@dataclass(frozen=True)
class Convention:
    """A convention of sinograms.

    Attributes:
        detectors_first: whether the first axis of the array is that of the detectors.
        radians: whether angles are in radians.
        on_pixel: whether the centre is that of pixel `n // 2`.
    """

    detectors_first: bool = False
    radians: bool = False
    on_pixel: bool = False

    def offset(self, size: tuple[int, int], detectors: int, angles_deg: Tensor) -> Tensor | float:
        """Return the shift `o` of the detectors in pixels for each angle, `(views,)`, or 0.

        Args:
            size: height and width of the image.
            detectors: their number `D`.
            angles_deg: angles in degrees, `(views,)`.
        """
        shift = [n // 2 - (n - 1) / 2 for n in (*size, detectors)]
        if not self.on_pixel or not any(shift):
            return 0.0
        theta = torch.deg2rad(angles_deg)
        return shift[1] * theta.cos() - shift[0] * theta.sin() - shift[2]


CONVENTIONS = {
    "invdiff": Convention(),
    "skimage": Convention(detectors_first=True, on_pixel=True),
    "astra": Convention(radians=True),
    "odl": Convention(radians=True),
}


def find_convention(name: str) -> Convention:
    """Return the convention of that name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in CONVENTIONS:
        raise UserError(f"convention: {unknown('convention', name, CONVENTIONS)}")
    return CONVENTIONS[name]


def in_degrees(owner: str, angles: Tensor, unit: str | None, convention: Convention) -> Tensor:
    """Return angles in degrees.

    Args:
        owner: name of the operator, for messages.
        angles: in the unit.
        unit: "degrees" or "radians"; by default that of the convention.
        convention: of the sinogram.

    Raises:
        ValueError: an unknown unit; or, without a unit, angles whose largest value is that of the other one.
    """
    if unit not in (None, "degrees", "radians"):
        raise UserError(f"{owner}: angle_unit: {unknown('unit', str(unit), ['degrees', 'radians'])}")
    if unit is None:
        unit = "radians" if convention.radians else "degrees"
        seen = "radians" if len(angles) > 1 and 0 < float(angles.abs().max()) <= MOST_RADIANS else "degrees"
        if len(angles) > 1 and seen != unit:
            raise UserError(
                f"{owner}: angles: expected {unit}, got {len(angles)} from {float(angles.min()):.4g} to "
                f"{float(angles.max()):.4g}, which look like {seen}; write {owner}:angle_unit={seen}, or "
                f"angle_unit={unit} if they are {unit}"
            )
    return torch.rad2deg(angles) if unit == "radians" else angles


def looks_transposed(sinogram: Tensor) -> bool:
    """Return whether the columns of a parallel-beam sinogram, not its rows, belong to the angles.

    Each projection integrates to the sum of the image, so the sums of the rows are equal. Sums over the detectors of
    one place are not: at the ends they are near zero.

    Args:
        sinogram: `(..., n, m)`.
    """
    total = sinogram.double().reshape(-1, *sinogram.shape[-2:]).sum(0)
    rows, columns = (_variation(total.sum(axis)) for axis in (1, 0))
    return rows > 0.1 and columns < rows / 4


def _variation(sums: Tensor) -> float:
    """Return the standard deviation of sums over their mean."""
    mean = float(sums.mean().abs())
    return float(sums.std()) / mean if mean > 0 else 0.0
