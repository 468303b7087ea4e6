"""The geometry of a sinogram from options: its angles, its convention, its axes."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ...errors import UserError, first_line
from ...images.numbers import read_numbers
from ...images.parts import split_part
from ...memory import check_fits
from ...operators.tomography.conventions import find_convention, looks_transposed
from ...registry import operators
from ..checks import check_exists
from .request import Request


def is_transposed(request: Request) -> bool:
    """Return whether the first axis of the file is that of the detectors."""
    if request.simulate or not operators.facts(request.operator.name).sinogram:
        return False
    name = request.convention or request.operator.options.get("convention", "invdiff")
    return request.transpose != find_convention(str(name)).detectors_first


def stated_geometry(request: Request) -> dict[str, object]:
    """Return the options of an operator of sinograms that stand in options of the command."""
    angles = request.angles
    given = {
        "angles": angles if angles is None else int(angles) if _is_count(angles) else read_angles(angles),
        "pixel_size": request.pixel_size,
        "convention": request.convention,
    }
    return {key: value for key, value in given.items() if value is not None}


def _is_count(text: str) -> bool:
    return text.strip().isdigit()


def sinogram_options(request: Request, options: dict[str, object], image: Tensor) -> dict[str, object]:
    """Return the operator's options together with those of the command line.

    Args:
        request: the request.
        options: of the operator.
        image: the sinogram, `(1, C, angles, detectors)`, or with `--simulate` the clean image.

    Raises:
        ValueError: an option that is given twice, no angles, another number of angles than rows, or a sinogram whose
            columns belong to the angles.
    """
    for key, option, value in (
        ("angles", "--angles", request.angles),
        ("pixel_size", "--pixel-size", request.pixel_size),
        ("convention", "--convention", request.convention),
    ):
        if value is not None and key in options:
            raise UserError(f"{option}: given with the operator as well, {key}={options[key]}; leave one out")
        if value is not None and key != "angles":
            options[key] = value
    rows, columns = image.shape[-2:]
    if request.angles is not None:
        options["angles"] = _angles(request, rows, columns)
    elif "angles" not in options:
        count = "" if request.simulate else f"; {rows} equally spaced ones are --angles {rows}"
        raise UserError(f"--angles: expected degrees of the sinogram's rows, a count or a file, got none{count}")
    if not request.simulate and request.operator.name == "tomography" and looks_transposed(image):
        remedy = "leave out --transpose" if request.transpose else "add --transpose"
        raise UserError(
            f"{request.image}: sinogram: expected a row for each angle, and rows of equal sums, as projections have; "
            f"here the columns have equal sums: the sinogram is transposed; {remedy}"
        )
    return options


def _angles(request: Request, rows: int, columns: int) -> int | tuple[float, ...]:
    """Return the angles, one for each row; a count stays one, for the operator decides which turn it covers."""
    assert request.angles is not None
    angles = read_angles(request.angles)
    if not request.simulate and len(angles) != rows:
        hint = "transpose the sinogram with --transpose" if len(angles) == columns else "give one angle for each row"
        raise UserError(
            f"{request.image}: sinogram: expected {len(angles)} rows, one for each angle, "
            f"got {rows} rows of {columns} detectors; {hint}"
        )
    return int(request.angles) if _is_count(request.angles) else angles


def read_angles(text: str) -> tuple[float, ...]:
    """Return angles, in degrees unless the operator has another unit.

    Args:
        text: a count, for angles equally spaced over [0, 180); `start:stop:step`, without the stop; or a file of
            degrees, an array or text, `FILE#PART` for one of several.

    Raises:
        ValueError: anything else, no angles, or NaN or infinite ones.

    Example:
        >>> read_angles("4"), read_angles("0:90:30")
        ((0.0, 45.0, 90.0, 135.0), (0.0, 30.0, 60.0))
    """
    if text.strip().lstrip("+-").isdigit():
        count = int(text)
        if count < 1:
            raise UserError(f"--angles: expected at least 1 angle, got {count}")
        check_fits("--angles", (count, 1024), "choose fewer")  # rays of an angle
        return tuple(180.0 * i / count for i in range(count))
    parts = text.split(":")
    if len(parts) == 3 and all(_is_number(p) for p in parts):
        start, stop, step = map(float, parts)
        if step == 0 or not all(map(math.isfinite, (start, stop, step))) or (stop - start) / step <= 0:
            raise UserError(f"--angles: expected start:stop:step with a step towards the stop, got {text!r}")
        check_fits("--angles", (math.ceil((stop - start) / step), 1024), "choose a larger step")
        # The tolerance avoids an additional angle of 0:180:0.1 by rounding.
        return tuple(start + step * i for i in range(math.ceil((stop - start) / step - 1e-9)))
    path, _ = split_part(text)
    if not path.exists():
        raise UserError(
            f"--angles: expected a count, start:stop:step in degrees, or a file, got {text!r}; no such file"
        )
    check_exists(path)
    try:
        angles = np.asarray(read_numbers(text), dtype=np.float64).ravel()
    except (ValueError, TypeError, OSError) as error:
        raise UserError(f"{path}: --angles: expected numbers in degrees: {first_line(error)}") from error
    if angles.size == 0 or not np.isfinite(angles).all():
        raise UserError(
            f"{path}: --angles: expected finite numbers in degrees, got {angles.size} with NaN or infinite ones or none"
        )
    return tuple(angles.tolist())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
