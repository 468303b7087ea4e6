"""Operators that act on pixels and colours, from options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ...checks import number
from ...errors import UserError
from ..base import Operator
from ..color import Demosaic, Grayscale
from ..identity import Identity
from ..inpainting import Inpainting, box_mask, random_mask
from .base import Shape
from .files import mask_from_file
from .values import pair


def identity(shape: Shape) -> Operator:
    """Build the identity; no options."""
    return Identity(shape)


def inpainting(
    shape: Shape,
    *,
    box: bool | float | Sequence[int] | None = None,
    corner: Sequence[int] | None = None,
    random: float | None = None,
    mask: Tensor | str | None = None,
    seed: int = 0,
) -> Operator:
    """Build an operator with missing pixels, in one of three forms.

    Args:
        shape: `(C, H, W)`.
        box: True for a box of half the image's sides, or its side in pixels, or as a fraction below 1, or `[h, w]`.
        corner: row and column of the box's top left pixel; default: centred.
        random: fraction of missing pixels.
        mask: a mask, or a file: an image, bright or opaque where pixels are known, or an array.
        seed: seed of a random mask.
    """
    _, h, w = shape
    given = [n for n, v in (("box", box), ("random", random), ("mask", mask)) if v is not None and v is not False]
    if len(given) != 1:
        raise UserError(
            "inpainting: expected one of the options box, random and mask, or a mask with the image, "
            f"got {' and '.join(given) or 'none'}"
        )
    if corner is not None and given != ["box"]:
        raise UserError("inpainting: corner: goes with the option box")
    if box is not None and box is not False:
        sides: tuple[int, int]
        if box is True:
            sides = h // 2, w // 2
        elif isinstance(box, (int, float)):
            sides = (int(box), int(box)) if box >= 1 else (round(box * h), round(box * w))
        else:
            sides = pair("inpainting", "box", box)
        place = None if corner is None else pair("inpainting", "corner", corner)
        return Inpainting(box_mask((h, w), size=sides, corner=place), channels=shape[0])
    if random is not None:
        missing = number("inpainting: random", random)
        if missing == 1:
            raise UserError("inpainting: random: expected some pixels to be known, got 1.0, all of them missing")
        return Inpainting(random_mask((h, w), missing=missing, seed=seed), channels=shape[0])
    known = mask_from_file(mask) if isinstance(mask, str) else mask
    assert known is not None
    if tuple(known.shape[-2:]) != (h, w):
        raise UserError(
            f"inpainting: mask: expected {h} x {w} pixels, as the image has, "
            f"got {' x '.join(map(str, known.shape[-2:]))}; resize the mask"
        )
    return Inpainting(known, channels=None if known.ndim == 3 and len(known) > 1 else shape[0])


def grayscale(shape: Shape, *, weights: Sequence[float] | None = None) -> Operator:
    """Build a weighted sum of the channels; options as in `Grayscale`."""
    return Grayscale(shape, weights=weights)


def demosaic(shape: Shape, *, pattern: str = "rggb") -> Operator:
    """Build a Bayer mosaic; options as in `Demosaic`."""
    return Demosaic(shape, pattern=pattern)


def colour_image(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the shape of a colour image of that size."""
    return 3, shape[1], shape[2]
