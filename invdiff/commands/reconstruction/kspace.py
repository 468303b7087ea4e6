"""Measured k-space: which frequencies were measured, and where frequency zero is."""

from __future__ import annotations

from torch import Tensor

from ...errors import UserError
from .request import Request

NEAR = 2
"""Pixels by which the strongest frequency may be off the corner."""
CLEAR = 4.0
"""Ratio of the strongest frequency to those around the centre from which on the corner is taken for frequency zero."""


def check_centre(request: Request, y: Tensor) -> None:
    """Raise a ValueError if frequency zero, the strongest one of an image, is in the corner of the array.

    Args:
        request: the request, for the message.
        y: k-space, `(1, 2, H, W)`.
    """
    size = y[0].square().sum(0).sqrt()
    h, w = size.shape
    row, column = divmod(int(size.argmax()), w)
    if min(row, h - row) > NEAR or min(column, w - column) > NEAR or min(h, w) <= 4 * NEAR:
        return
    middle = size[h // 2 - NEAR : h // 2 + NEAR + 1, w // 2 - NEAR : w // 2 + NEAR + 1]
    if float(size.max()) > CLEAR * float(middle.max()):
        raise UserError(
            f"{request.image}: mri: expected frequency zero in the centre, [{h // 2}, {w // 2}], but the strongest one "
            f"is [{row}, {column}], in the corner, as numpy.fft.fft2 has it; save numpy.fft.fftshift(k, axes=(-2, -1))"
        )


DRAWN = ("acceleration", "center_fraction")
"""Options that draw a mask."""


def mask_note(request: Request) -> tuple[str, ...]:
    """Return a note if a mask is asked for that is not drawn, because that of the measurement counts."""
    stated = request.operator.options
    given = ", ".join(f"{key}={stated[key]}" for key in DRAWN if key in stated)
    if request.operator.name != "mri" or request.simulate or "mask" in stated or not given:
        return ()
    return (f"the mask is that of the file, its frequencies that are not zero; {given} draws one for --simulate",)


def with_measured_mask(request: Request, options: dict[str, object], y: Tensor) -> dict[str, object]:
    """Return the options with the mask of measured frequencies, those that are not zero, instead of a random one."""
    measured = (y[0] != 0).flatten(0, -3).any(0)
    if bool(measured.all()):
        raise UserError(
            f"{request.image}: mri: expected to know which frequencies were measured, got none that is zero; give "
            "mri:mask=FILE, true where measured; acceleration draws a mask, for a clean image with --simulate"
        )
    return {**{k: v for k, v in options.items() if k not in DRAWN}, "mask": measured}
