"""The options of each built-in operator, as one function each: keyword arguments in plain values and names of files.

A builder takes the image's shape, then its options. Where the image's shape does not follow from a measurement's by
being equal, a second function says what it is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..registry import unknown
from .base import Operator
from .blur import Blur, Border
from .color import Demosaic, Grayscale
from .downsample import Downsample
from .fan_beam import FanBeamTomography
from .files import kernel_from_file, mask_from_file, read_array
from .identity import Identity
from .inpainting import Inpainting, box_mask, random_mask
from .kernels import gaussian_kernel, motion_kernel, uniform_kernel
from .mri import MRI, cartesian_mask
from .nonlinear import NonlinearBlur, PhaseRetrieval
from .space_varying_blur import SpaceVaryingBlur, tile_weights
from .tomography import Tomography
from .values import integer, number, pair

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Builder:
    """How a built-in operator is made of options.

    Attributes:
        build: from the image's shape and the options.
        image_shape: the image's shape from that of a measurement and the options.
        implicit: what `build` takes beside the options: "mask", "seed".
    """

    build: Callable[..., Operator]
    image_shape: Callable[..., Shape]
    implicit: frozenset[str] = frozenset()

    def options(self) -> list[str]:
        """Return the names of the options."""
        names = [p.name for p in inspect.signature(self.build).parameters.values() if p.kind is p.KEYWORD_ONLY]
        return [n for n in names if n not in self.implicit]


def same_shape(shape: Shape, options: dict[str, Any]) -> Shape:
    """Return the measurement's shape: the image has it too."""
    return shape


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
    """Build an operator with missing pixels, given in one of three ways.

    Args:
        shape: `(C, H, W)`.
        box: True for a box of half the image's sides, or its side in pixels, or as a fraction below 1, or `[h, w]`.
        corner: row and column of the box's top left pixel; default: centred.
        random: share of pixels that are missing.
        mask: a mask, or the file of one: an image, bright or opaque where pixels are known, or an array.
        seed: seed of a random mask.
    """
    _, h, w = shape
    given = [n for n, v in (("box", box), ("random", random), ("mask", mask)) if v is not None and v is not False]
    if len(given) != 1:
        raise ValueError(
            "inpainting: expected one of the options box, random and mask, or a mask with the image, "
            f"got {' and '.join(given) or 'none'}"
        )
    if corner is not None and given != ["box"]:
        raise ValueError("inpainting: corner: goes with the option box")
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
        return Inpainting(
            random_mask((h, w), missing=number("inpainting", "random", random), seed=seed), channels=shape[0]
        )
    known = mask_from_file(mask) if isinstance(mask, str) else mask
    assert known is not None
    if tuple(known.shape[-2:]) != (h, w):
        raise ValueError(
            f"inpainting: mask: expected {h} x {w} pixels, as the image has, "
            f"got {' x '.join(map(str, known.shape[-2:]))}; resize the mask"
        )
    return Inpainting(known, channels=None if known.ndim == 3 and len(known) > 1 else shape[0])


def blur_kernel(
    *,
    sigma: float | Sequence[float] | None = None,
    kernel: str | Tensor | None = None,
    size: int | None = None,
    length: float | None = None,
    angle: float | None = None,
    intensity: float | None = None,
    seed: int = 0,
) -> Tensor:
    """Return the kernel of a blur, `(h, w)`.

    Args:
        sigma: standard deviation of a Gaussian in pixels.
        kernel: "gaussian" (with `sigma`, `size`), "uniform" (with `size`), "motion" (with `size`, `length`, `angle`,
            `intensity`), or a file: an array in `.npy` as it stands, or an image, made gray and divided by its sum.
        size: side in pixels; default: 4 sigma each way, or the motion's length and a margin.
        length: length of the motion in pixels.
        angle: direction of the motion in degrees, drawn if not given.
        intensity: how strongly the motion turns, in [0, 1].
        seed: seed of the motion's path.
    """
    kind = ("gaussian" if sigma is not None else None) if kernel is None else kernel
    if kind is None:
        raise ValueError(
            "blur: expected the option sigma or kernel, as in blur:sigma=3 or blur:kernel=motion, got neither"
        )
    fits = {"gaussian": {"sigma", "size"}, "uniform": {"size"}, "motion": {"size", "length", "angle", "intensity"}}
    given = {"sigma": sigma, "size": size, "length": length, "angle": angle, "intensity": intensity}
    allowed = fits.get(kind, set()) if isinstance(kind, str) else set()
    for option, value in given.items():
        if value is not None and option not in allowed:
            raise ValueError(f"blur: {option}: does not go with kernel={kind}; leave one of the two out")
    if isinstance(kind, Tensor):
        return kind
    if kind == "gaussian":
        if sigma is None:
            raise ValueError("blur: sigma: expected with kernel=gaussian, as in blur:sigma=3")
        std = (
            (number("blur", "sigma", sigma),) * 2
            if isinstance(sigma, (int, float))
            else pair("blur", "sigma", sigma, float)
        )
        return gaussian_kernel((float(std[0]), float(std[1])), size)
    if kind == "uniform":
        if size is None:
            raise ValueError("blur: size: expected with kernel=uniform, as in blur:kernel=uniform,size=9")
        return uniform_kernel(integer("blur", "size", size))
    if kind == "motion":
        side = (math.ceil(length or 30) // 2 * 2 + 1) if size is None else integer("blur", "size", size)
        return motion_kernel(side, length=length, angle=angle, intensity=intensity or 0.0, seed=seed)
    return kernel_from_file(kind)


def blur(
    shape: Shape,
    *,
    sigma: float | Sequence[float] | None = None,
    kernel: str | Tensor | None = None,
    size: int | None = None,
    length: float | None = None,
    angle: float | None = None,
    intensity: float | None = None,
    border: Border = "reflect",
    seed: int = 0,
) -> Operator:
    """Build a blur; the options of `blur_kernel`, and what stands outside the image."""
    k = blur_kernel(sigma=sigma, kernel=kernel, size=size, length=length, angle=angle, intensity=intensity, seed=seed)
    return Blur(shape, kernel=k, border=border)


def blurred_shape(shape: Shape, options: dict[str, Any]) -> Shape:
    """Return the image's shape from that of a blurred one."""
    if options.get("border") != "valid":
        return shape
    k = blur_kernel(**{n: v for n, v in options.items() if n != "border"})
    return shape[0], shape[1] + k.shape[-2] - 1, shape[2] + k.shape[-1] - 1


def downsample(shape: Shape, *, factor: int | None = None, kernel: str = "bicubic") -> Operator:
    """Build a reduction of pixels.

    Args:
        shape: `(C, H, W)`.
        factor: positive integer.
        kernel: "bicubic", "average", or a file as in `blur_kernel`.
    """
    if factor is None:
        raise ValueError("downsample: factor: expected, as in downsample:factor=4, got none")
    if kernel == "bicubic":
        return Downsample(shape, factor=factor, kernel="bicubic")
    if kernel == "average":
        return Downsample(shape, factor=factor, kernel="average")
    if not Path(str(kernel)).suffix:
        raise ValueError(f"downsample: {unknown('kernel', str(kernel), ['average', 'bicubic'])}, or name a file")
    return Downsample(shape, factor=factor, kernel=kernel_from_file(kernel))


def enlarged_shape(shape: Shape, options: dict[str, Any]) -> Shape:
    """Return the image's shape from that of a downsampled one: `factor` times as large."""
    factor = options.get("factor")
    return (shape[0], shape[1] * factor, shape[2] * factor) if isinstance(factor, int) and factor > 0 else shape


def tomography(
    shape: Shape,
    *,
    angles: int | Sequence[float] | str | None = None,
    start: float = 0.0,
    stop: float = 180.0,
    pixel_size: float = 1.0,
    detectors: int | None = None,
    detector_spacing: float | None = None,
    detector_offset: float = 0.0,
) -> Operator:
    """Build parallel-beam projections.

    Args:
        shape: `(C, H, W)`.
        angles: how many, evenly spaced from `start` (included) to `stop` (left out); or a list of degrees; or the file
            of one, `.npy` or text.
        start: first angle in degrees.
        stop: end of the angles in degrees.
        pixel_size: as in `Tomography`.
        detectors: as in `Tomography`.
        detector_spacing: as in `Tomography`.
        detector_offset: as in `Tomography`.
    """
    return Tomography(
        shape,
        angles_deg=angles_deg("tomography", angles, start, stop),
        pixel_size=pixel_size,
        detectors=detectors,
        detector_spacing=detector_spacing,
        detector_offset=detector_offset,
    )


def sinogram_shape(shape: Shape, options: dict[str, Any]) -> Shape:
    """Return a square as wide as the row of detectors, whose number is that of the sinogram's columns."""
    options.setdefault("detectors", shape[2])
    return shape[0], shape[2], shape[2]


def angles_deg(owner: str, angles: int | Sequence[float] | str | Tensor | None, start: float, stop: float) -> Any:
    """Return angles in degrees from their number, themselves or a file."""
    if angles is None:
        raise ValueError(
            f"{owner}: angles: expected their number, or a list of degrees, as in {owner}:angles=60, got none"
        )
    if isinstance(angles, str):
        return read_array(f"{owner}: angles", angles)
    if isinstance(angles, int):
        if angles < 1:
            raise ValueError(f"{owner}: angles: expected a positive number of them, got {angles}")
        return [start + (stop - start) * i / angles for i in range(angles)]
    return angles


def fan_beam(
    shape: Shape,
    *,
    angles: int | Sequence[float] | str | None = None,
    source_distance: float | None = None,
    start: float = 0.0,
    stop: float = 360.0,
    detector_distance: float | None = None,
    pixel_size: float = 1.0,
    detectors: int | None = None,
    detector_spacing: float | None = None,
    detector_offset: float = 0.0,
) -> Operator:
    """Build fan-beam projections; `angles`, `start` and `stop` as for `tomography`, the rest as in the class."""
    return FanBeamTomography(
        shape,
        angles_deg=angles_deg("fan_beam", angles, start, stop),
        source_distance=2.0 * max(shape[1:]) * pixel_size if source_distance is None else source_distance,
        detector_distance=detector_distance,
        pixel_size=pixel_size,
        detectors=detectors,
        detector_spacing=detector_spacing,
        detector_offset=detector_offset,
    )


def mri(
    shape: Shape,
    *,
    acceleration: float | None = None,
    center_fraction: float = 0.08,
    mask: Tensor | str | None = None,
    seed: int = 0,
) -> Operator:
    """Build MRI with one coil: a mask, its file, or random columns of that acceleration."""
    if (mask is None) == (acceleration is None):
        raise ValueError("mri: expected one of the options acceleration and mask, as in mri:acceleration=4")
    if isinstance(mask, str):
        mask = mask_from_file(mask)
    if mask is None:
        assert acceleration is not None
        fraction = number("mri", "center_fraction", center_fraction)
        acceleration = number("mri", "acceleration", acceleration)
        mask = cartesian_mask(shape[1:], acceleration=acceleration, center_fraction=fraction, seed=seed)
    return MRI(shape, mask=mask)


def real_image(shape: Shape, options: dict[str, Any]) -> Shape:
    """Return the shape of a real image with these frequencies, given as real and imaginary part."""
    return 1, shape[1], shape[2]


def grayscale(shape: Shape, *, weights: Sequence[float] | None = None) -> Operator:
    """Build a weighted sum of the channels; options as in `Grayscale`."""
    return Grayscale(shape, weights=weights)


def demosaic(shape: Shape, *, pattern: str = "rggb") -> Operator:
    """Build a Bayer mosaic; options as in `Demosaic`."""
    return Demosaic(shape, pattern=pattern)


def phase_retrieval(shape: Shape, *, oversampling: float = 2.0) -> Operator:
    """Build the magnitude of the oversampled Fourier transform; options as in `PhaseRetrieval`."""
    return PhaseRetrieval(shape, oversampling=number("phase_retrieval", "oversampling", oversampling))


def unpadded_shape(shape: Shape, options: dict[str, Any]) -> Shape:
    """Return the image's shape from that of its padded transform."""
    share = number("phase_retrieval", "oversampling", options.get("oversampling", 2.0)) / 8
    sides = [next((n for n in range(1, m + 1) if n + 2 * int(share * n) == m), m) for m in shape[1:]]
    return shape[0], sides[0], sides[1]


def colour_image(shape: Shape, options: dict[str, Any]) -> Shape:
    """Return the shape of a colour image of that size."""
    return 3, shape[1], shape[2]


def space_varying_blur(
    shape: Shape, *, sigma: Sequence[float] = (0.5, 4.0), tiles: int = 5, border: Border = "reflect"
) -> Operator:
    """Build a Gaussian blur whose standard deviation goes from `sigma[0]` on the left to `sigma[1]` on the right."""
    low, high = pair("space_varying_blur", "sigma", sigma, float)
    if integer("space_varying_blur", "tiles", tiles) < 2:
        raise ValueError(f"space_varying_blur: tiles: expected 2 or more, got {tiles}")
    side = 2 * math.ceil(4 * max(low, high)) + 1
    kernels = torch.stack([gaussian_kernel(low + (high - low) * i / (tiles - 1), side) for i in range(tiles)])
    return SpaceVaryingBlur(shape, kernels=kernels, weights=tile_weights(shape[1:], (1, tiles)), border=border)


def nonlinear_blur(
    shape: Shape,
    *,
    sigma: float | Sequence[float] | None = None,
    kernel: str | Tensor | None = None,
    size: int | None = None,
    length: float | None = None,
    angle: float | None = None,
    intensity: float | None = None,
    gamma: float = 2.2,
    border: Border = "reflect",
    seed: int = 0,
) -> Operator:
    """Build a blur in linear light; the options of `blur_kernel`, the tone curve, and what stands outside the image."""
    k = blur_kernel(sigma=sigma, kernel=kernel, size=size, length=length, angle=angle, intensity=intensity, seed=seed)
    return NonlinearBlur(shape, kernel=k, gamma=gamma, border=border)


BUILDERS: dict[str, Builder] = {
    "identity": Builder(identity, same_shape),
    "inpainting": Builder(inpainting, same_shape, frozenset({"seed"})),
    "blur": Builder(blur, blurred_shape, frozenset({"seed"})),
    "downsample": Builder(downsample, enlarged_shape),
    "tomography": Builder(tomography, sinogram_shape),
    "fan_beam": Builder(fan_beam, sinogram_shape),
    "grayscale": Builder(grayscale, colour_image),
    "demosaic": Builder(demosaic, colour_image),
    "phase_retrieval": Builder(phase_retrieval, unpadded_shape),
    "mri": Builder(mri, real_image, frozenset({"seed"})),
    "space_varying_blur": Builder(space_varying_blur, same_shape),
    "nonlinear_blur": Builder(nonlinear_blur, same_shape, frozenset({"seed"})),
}
