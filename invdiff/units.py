"""Units of images: of a measurement, and of the values that a prior is a distribution of.

A prior states its units as text, `(HU + 1000) / 2000` for `ct`: a value `v` stands for `HU = 2000 v - 1000`. Hounsfield
units are attenuation relative to that of water,

    HU = 1000 (mu / mu_water - 1),      mu = mu_water (1 + HU / 1000),

so a value stands for `u = a v + b` in each of the units below; for `ct` in 1/cm, `a = 2 mu_water` and `b = 0`.

    HU       Hounsfield units: air -1000, water 0
    1/cm     linear attenuation; lengths, such as the side of a pixel, are in cm
    1/mm     the same, in mm
    1/m      the same, in m

References:
    Tables of X-Ray Mass Attenuation Coefficients (Hubbell, Seltzer, 2004), https://doi.org/10.18434/T4D01F: water has
    0.206 / cm at 60 keV, 0.193 / cm at 70 keV, 0.184 / cm at 80 keV.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .checks import number
from .errors import UserError
from .registry import unknown
from .specs import parse_spec

if TYPE_CHECKING:
    from torch import Tensor

DISPLAY = "display values 0 to 1"
"""The units of a prior of pictures."""

MU_WATER = 0.2  # per cm, of an effective energy of 60 to 70 keV
LENGTHS = {"1/cm": ("cm", 1.0), "1/mm": ("mm", 10.0), "1/m": ("m", 0.01)}
"""The units of attenuation: that of length, and their value in 1 / cm."""
NAMES = ("HU", *LENGTHS)

_HOUNSFIELD = re.compile(r"\(HU ([+-]) ([0-9.]+)\) / ([0-9.]+)")
_LEAST, _MOST = 0.05, 6.0  # mu_water per cm: water has 0.07 at 1 MeV and 5.3 at 10 keV


@dataclass(frozen=True)
class Request:
    """The units of a measurement.

    Attributes:
        name: one of `NAMES`.
        mu_water: attenuation of water in these units; `None` for Hounsfield units.
    """

    name: str
    mu_water: float | None = None

    @property
    def length(self) -> str:
        """The unit of lengths: of the side of a pixel and the distances of detectors; "" for Hounsfield units."""
        return LENGTHS[self.name][0] if self.name in LENGTHS else ""

    def __str__(self) -> str:
        return self.name if self.mu_water is None else f"{self.name}, water {self.mu_water:g}"


def parse_units(text: str) -> Request:
    """Return the units of a text.

    Args:
        text: one of `NAMES`; those of attenuation may have that of water in the same unit, as `1/cm:mu_water=0.19`.

    Raises:
        ValueError: other units or options, or a value that water does not have.

    Example:
        >>> parse_units("1/mm")
        Request(name='1/mm', mu_water=0.02)
    """
    spec = parse_spec(text)
    if spec.name not in NAMES:
        raise UserError(f"units: {unknown('unit', spec.name, NAMES)}; there are {', '.join(NAMES)}")
    allowed = ["mu_water"] if spec.name in LENGTHS else []
    for key in spec.options:
        if key not in allowed:
            raise UserError(f"units: {unknown(f'option of {spec.name}', key, allowed or ['none'])}")
    if spec.name not in LENGTHS:
        return Request(spec.name)
    factor = LENGTHS[spec.name][1]
    least, most = _LEAST / factor, _MOST / factor
    given = spec.options.get("mu_water", MU_WATER / factor)
    mu = number("units: mu_water", given, positive=True, expected=f"the attenuation of water in {spec.name}")
    if not least <= mu <= most:
        raise UserError(
            f"units: mu_water: expected the attenuation of water in {spec.name}, from {least:g} to {most:g}, got "
            f"{mu:g}; it is {0.206 / factor:.3g} at 60 keV and {0.184 / factor:.3g} at 80 keV"
        )
    return Request(spec.name, mu)


@dataclass(frozen=True)
class Units:
    """The units `u = slope v + offset` of the values `v` of a prior.

    Attributes:
        name: of the units.
        slope: `a`, positive.
        offset: `b`.

    Example:
        >>> find_units("1/cm", "(HU + 1000) / 2000", "ct")
        Units(name='1/cm', slope=0.4, offset=0.0)
    """

    name: str
    slope: float
    offset: float

    def to_values(self, u: Tensor) -> Tensor:
        """Return images in the values of the prior, `(u - b) / a`."""
        return ((u.double() - self.offset) / self.slope).to(u.dtype)

    def from_values(self, v: Tensor) -> Tensor:
        """Return images in these units, `a v + b`."""
        return (v.double() * self.slope + self.offset).to(v.dtype)


def hounsfield(units: str) -> tuple[float, float] | None:
    """Return `(a, b)` of Hounsfield units `a v + b` for a prior's units; `None` for a prior of something else."""
    match = _HOUNSFIELD.fullmatch(units)
    if match is None or float(match[3]) <= 0:
        return None
    shift = float(match[2]) * (1 if match[1] == "+" else -1)
    return float(match[3]), -shift


def find_units(text: str, units: str, name: str) -> Units:
    """Return the units of a measurement in terms of the values of a prior.

    Args:
        text: as in `parse_units`.
        units: of the prior, `Prior.units`.
        name: of the prior, for the message.

    Raises:
        ValueError: as in `parse_units`; or a prior whose values do not stand for attenuation.
    """
    wanted, found = parse_units(text), hounsfield(units)
    if found is None:
        stated = f"has {units}" if units else "states no units"
        raise UserError(
            f"units: {wanted.name}: expected a prior of Hounsfield units, but {name} {stated}; take the prior ct, or "
            "leave the units out"
        )
    slope, offset = found
    if wanted.mu_water is None:
        return Units(wanted.name, slope, offset)
    return Units(wanted.name, wanted.mu_water * slope / 1000, wanted.mu_water * (1 + offset / 1000))
