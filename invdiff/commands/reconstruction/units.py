"""The units of a measurement in `invdiff reconstruct`: their check, their notes and their entry of the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import UserError
from ...priors.base import Prior
from ...problem import Problem
from ...registry import operators
from ...units import Units, hounsfield, parse_units
from .inputs import Input
from .request import Request

LEAST_RANGE = 2.0  # of a picture in Hounsfield units: air and fat differ by 900


def check_range(request: Request, given: Input) -> None:
    """Raise a ValueError for a picture that is said to be in Hounsfield units, with values from 0 to 1."""
    if request.simulate or operators.facts(request.operator.name).photographic:
        check_hounsfield(request.units, given.image, request.image)


def check_hounsfield(units: str | None, image: Tensor, path: Path) -> None:
    """Raise a ValueError for an image that is said to be in Hounsfield units, with values from 0 to 1."""
    if units is None or parse_units(units).name != "HU":
        return
    low, high = float(image.min()), float(image.max())
    if high - low <= LEAST_RANGE:
        raise UserError(
            f"{path}: --units HU: expected Hounsfield units, from -1000 for air to 0 for water and above, got "
            f"values from {low:.4g} to {high:.4g}; for a window of a scan leave --units out, and state the window with "
            "--black-level and --white-level"
        )


def units_notes(request: Request, problem: Problem, prior: Prior) -> list[str]:
    """Return what the user should know about the units of the images."""
    known = hounsfield(prior.units) is not None
    if request.units is not None:
        return [f"images are in {parse_units(request.units)}; pictures show the prior's values, {prior.units}"]
    if known and problem.operator.sinogram and not request.simulate:
        return [
            f"the sinogram is taken as one of {prior.units}, the values of the prior; --units 1/cm, 1/mm or 1/m "
            "converts one of attenuation"
        ]
    return []


def units_record(request: Request, units: Units | None, prior: Prior) -> dict[str, Any]:
    """Return the entries of the units in `result.json`: those of the prior, and those of the arrays in `result.npz`."""
    if request.units is None or units is None:
        return {"prior_units": prior.units or None, "units": None}
    water = parse_units(request.units).mu_water
    stated = {"name": units.name, "mu_water": water, "slope": units.slope, "offset": units.offset}
    return {"prior_units": prior.units, "units": stated}
