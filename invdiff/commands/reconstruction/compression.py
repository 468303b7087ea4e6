"""`jpeg:auto`: the compression of the JPEG file that is restored."""

from __future__ import annotations

import dataclasses

from ...errors import UserError
from .request import Request


def is_own_file(request: Request) -> bool:
    """Return whether the compression is read from the file."""
    return request.operator.name == "jpeg" and bool(request.operator.options.get("auto"))


def with_compression(request: Request) -> tuple[Request, str]:
    """Return the request with the tables, the subsampling and the orientation of the file, and a line about them.

    Raises:
        ValueError: no JPEG file, or one that is simulated.
    """
    if not is_own_file(request):
        return request, ""
    if request.simulate:
        raise UserError(
            "jpeg:auto: reads the compression of a measured JPEG file, got --simulate; give a quality and the "
            "subsampling, as in jpeg:quality=10,subsampling=4:2:0"
        )
    from ...noise.estimate import ROUNDING
    from ...operators.builders.compression import read_compression

    found = read_compression(request.image)
    stated = {k: v for k, v in request.operator.options.items() if k != "auto"}
    if "quality" in stated or "tables" in stated:
        raise UserError("jpeg:auto: reads the tables from the file, got them too; leave auto out")
    operator = dataclasses.replace(request.operator, options={**found.options(), **stated})
    noise = request.noise or f"{ROUNDING:.3g}"  # all that a JPEG file adds to its own compression
    return dataclasses.replace(request, operator=operator, noise=noise), found.describe()
