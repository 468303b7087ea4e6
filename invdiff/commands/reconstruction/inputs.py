"""Reading the parts of a problem from files: image and mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import UserError
from ...images import Kept, check_finite, grow_mask, load_array, load_mask, open_image
from ...images.numbers import is_array_file
from ...registry import operators
from .found_noise import FoundNoise
from .request import Request
from .sinograms import is_transposed


@dataclass(frozen=True)
class Input:
    """The content of the input files.

    Attributes:
        image: the measurement, or with `--simulate` the clean image, with the batch axis in front.
        known: the known pixels, `(H, W)`, or `None` for all.
        notes: notes for the user about the reading of the file.
        kept: what the file holds besides its pixels, for results that are images of the same kind.
        noise: the noise that was found in the measurement, if it is not given.
    """

    image: Tensor
    known: Tensor | None = None
    notes: tuple[str, ...] = ()
    kept: Kept | None = None
    noise: FoundNoise | None = None


def read_input(request: Request) -> Input:
    """Read the image and, if the operator takes one, the mask.

    Raises:
        ValueError: files that cannot be read, a mask of another size, or no information about missing pixels.
    """
    kind = operators.facts(request.operator.name)
    image_like = request.simulate or kind.photographic
    if not image_like and is_array_file(request.image):
        array = _read_array(request, complex_valued=kind.complex_valued) * request.measurement_scale
        return Input(array.mT if is_transposed(request) else array)
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
        bounded=image_like and request.units is None,
        mosaic=not request.simulate and request.operator.name == "demosaic",
        stored=not request.simulate and request.operator.name == "jpeg",
    )
    image, known, notes = loaded.image, loaded.known, loaded.notes
    kept = loaded.kept if image_like else None
    if is_transposed(request):
        image = image.mT
    chosen = request.mask is not None or bool(request.operator.options)
    if not kind.takes_mask or (request.simulate and chosen and request.mask is None):
        if request.mask_grow:
            raise UserError("--mask-grow: grows a mask of pixels, got one of the operator's options; give --mask")
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
    if not request.simulate and request.operator.name == "inpainting" and "random" in request.operator.options:
        raise UserError(
            f"{request.image}: inpainting: random: draws a mask that the measured file does not have, and measured "
            "pixels would be thrown away; give --mask MASK.png, or --simulate for a clean image"
        )
    if known is None and not request.operator.options:
        raise UserError(
            f"{request.image}: {request.operator.name}: expected to know which pixels are missing, got no mask; give "
            "--mask MASK.png, an image with transparent pixels, or --missing-color '#ff00ff'"
        )
    if known is None and request.mask_grow:
        raise UserError(f"--mask-grow: expected a mask, but no pixel of {request.image} is missing; give --mask")
    if known is not None:
        known = grow_mask(known, request.mask_grow)
    return Input(image, known, notes, kept)


def _read_array(request: Request, *, complex_valued: bool) -> Tensor:
    """Return a measurement that is no photograph, unchanged, `(1, ...)`; a complex one as two channels."""
    array = load_array(
        request.image, complex_valued=complex_valued, white=request.white_level, black=request.black_level
    )
    check_finite(array, request.image)
    y = torch.from_numpy(array)
    if complex_valued and y.ndim == 4 and y.shape[:2] == (2, 1):
        y = y[:, 0]  # one coil
    if y.ndim == 4 and y.shape[0] == 1:
        return y
    return y[None, None] if y.ndim == 2 else y[None]
