"""Reading the parts of a problem from files and options: image, mask and angles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import UserError
from ...images import Kept, load_mask, open_image
from ...images.conversions import Ask, check_finite
from ...images.loading import MEASUREMENTS, read_measurement
from ...images.parts import split_part
from ...memory import check_fits
from ...registry import operators
from ..checks import check_exists
from .request import Request


@dataclass(frozen=True)
class Input:
    """The content of the input files.

    Attributes:
        image: the measurement, or with `--simulate` the clean image, with the batch axis in front.
        known: the known pixels, `(H, W)`, or `None` for all.
        notes: notes for the user about the reading of the file.
        kept: what the file holds besides its pixels, for results that are images of the same kind.
    """

    image: Tensor
    known: Tensor | None = None
    notes: tuple[str, ...] = ()
    kept: Kept | None = None


def read_input(request: Request) -> Input:
    """Read the image and, if the operator takes one, the mask.

    Raises:
        ValueError: files that cannot be read, a mask of another size, or no information about missing pixels.
    """
    kind = operators.facts(request.operator.name)
    image_like = request.simulate or kind.photographic
    ask = Ask(white=request.white_level, black=request.black_level)
    if not image_like and split_part(request.image)[0].name.lower().endswith(MEASUREMENTS):
        return Input(_read_array(request.image, ask, complex_valued=kind.complex_valued) * request.measurement_scale)
    painted = None if request.mask is None else load_mask(request.mask, invert=request.mask_invert)
    loaded = open_image(
        request.image,
        mode="gray" if request.gray else None,
        missing_color=request.missing_color,
        tolerance=request.missing_tolerance,
        white=request.white_level,
        black=request.black_level,
        scale=request.measurement_scale,
        known=painted,
        bounded=image_like,
        mosaic=not request.simulate and request.operator.name == "demosaic",
    )
    image, known, notes = loaded.image, loaded.known, loaded.notes
    kept = loaded.kept if image_like else None
    chosen = request.mask is not None or bool(request.operator.options)
    if not kind.takes_mask or (request.simulate and chosen and request.mask is None):
        if known is not None:
            notes += ("the image's transparency is ignored: its pixels are taken as they are",)
        return Input(image, None, notes, kept)
    if painted is not None:
        size = tuple(image.shape[-2:])
        if tuple(painted.shape) != size:
            raise UserError(
                f"{request.mask}: mask: expected {size[1]} x {size[0]} pixels, the size of {request.image}, "
                f"got {painted.shape[1]} x {painted.shape[0]}; resize the mask without smoothing"
            )
        known = painted if known is None else painted & known
        if not bool(known.any()):
            raise UserError(f"{request.mask}: mask: expected some known pixels, got none that are also opaque")
    if known is None and not request.operator.options:
        raise UserError(
            f"{request.image}: {request.operator.name}: expected to know which pixels are missing, got no mask; give "
            "--mask MASK.png, an image with transparent pixels, or --missing-color '#ff00ff'"
        )
    return Input(image, known, notes, kept)


def _read_array(path: Path, ask: Ask, *, complex_valued: bool) -> Tensor:
    """Return a measurement that is no photograph, unchanged, `(1, ...)`; a complex one as two channels."""
    array = read_measurement(path, ask, complex_valued=complex_valued)
    check_finite(array, path)
    y = torch.from_numpy(array)
    if complex_valued and y.ndim == 4 and y.shape[:2] == (2, 1):
        y = y[:, 0]  # one coil
    if y.ndim == 4 and y.shape[0] == 1:
        return y
    return y[None, None] if y.ndim == 2 else y[None]


def read_angles(text: str) -> tuple[float, ...]:
    """Return angles in degrees.

    Args:
        text: a count, for angles equally spaced over [0, 180); `start:stop:step`, without the stop; or a file of
            degrees, `.npy` or text.

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
    path = Path(text)
    if not path.exists():
        raise UserError(
            f"--angles: expected a count, start:stop:step in degrees, or a file, got {text!r}; no such file"
        )
    check_exists(path)
    try:
        values = (
            np.load(path, allow_pickle=False)
            if path.suffix.lower() == ".npy"
            else np.loadtxt(path, delimiter=_comma(path))
        )
        angles = np.asarray(values, dtype=np.float64).ravel()
    except (ValueError, OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: --angles: expected numbers in degrees: {str(error).splitlines()[0]}") from error
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


def _comma(path: Path) -> str | None:
    """Return the separator of a text file of numbers."""
    return "," if "," in path.read_text(errors="replace")[:4096] else None
