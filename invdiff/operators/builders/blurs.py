"""Blurs, and downsampling, from options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...checks import integer, number
from ...errors import UserError
from ...registry import unknown
from ..base import Operator
from ..blurs.blur import Blur
from ..blurs.borders import Border
from ..blurs.kernels import gaussian_kernel, motion_kernel, uniform_kernel
from ..blurs.space_varying import SpaceVaryingBlur, tile_weights
from ..downsample import Downsample
from ..nonlinear import NonlinearBlur
from .base import Shape
from .files import kernel_from_file
from .values import pair


def blur_kernel(
    *,
    sigma: float | Sequence[float] | None = None,
    kernel: str | Tensor | None = None,
    size: int | None = None,
    length: float | None = None,
    angle: float | None = None,
    intensity: float | None = None,
    normalize: bool = True,
    seed: int = 0,
) -> Tensor:
    """Return the kernel of a blur, `(h, w)`.

    Args:
        sigma: standard deviation of a Gaussian in pixels.
        kernel: "gaussian" (with `sigma`, `size`), "uniform" (with `size`), "motion" (with `size`, `length`, `angle`,
            `intensity`), or a file: an array, or an image, converted to gray.
        size: side in pixels; default: 4 sigma each way, or the motion's length and a margin.
        length: length of the motion in pixels.
        angle: direction of the motion in degrees; default: random.
        intensity: curvature of the path, in [0, 1].
        normalize: whether a kernel from a file is divided by its sum.
        seed: seed of the motion's path.
    """
    kind = ("gaussian" if sigma is not None else None) if kernel is None else kernel
    if kind is None:
        raise UserError(
            "blur: expected the option sigma or kernel, as in blur:sigma=3 or blur:kernel=motion, got neither"
        )
    fits = {"gaussian": {"sigma", "size"}, "uniform": {"size"}, "motion": {"size", "length", "angle", "intensity"}}
    given = {"sigma": sigma, "size": size, "length": length, "angle": angle, "intensity": intensity}
    allowed = fits.get(kind, set()) if isinstance(kind, str) else set()
    for option, value in given.items():
        if value is not None and option not in allowed:
            raise UserError(f"blur: {option}: does not go with kernel={kind}; leave one of the two out")
    if isinstance(kind, Tensor):
        return kind
    if kind == "gaussian":
        if sigma is None:
            raise UserError("blur: sigma: expected with kernel=gaussian, as in blur:sigma=3")
        std = pair("blur", "sigma", sigma, float)
        for s in std:
            number("blur: sigma", s, positive=True, expected="a positive number of pixels")
        if size is not None:
            integer("blur: size", size, 1, expected="a positive number of pixels")
        return gaussian_kernel((float(std[0]), float(std[1])), size)
    if kind == "uniform":
        if size is None:
            raise UserError("blur: size: expected with kernel=uniform, as in blur:kernel=uniform,size=9")
        return uniform_kernel(integer("blur: size", size))
    if kind == "motion":
        side = (math.ceil(length or 30) // 2 * 2 + 1) if size is None else integer("blur: size", size)
        return motion_kernel(side, length=length, angle=angle, intensity=intensity or 0.0, seed=seed)
    return kernel_from_file(kind, normalize=normalize)


def blur(
    shape: Shape,
    *,
    sigma: float | Sequence[float] | None = None,
    kernel: str | Tensor | None = None,
    size: int | None = None,
    length: float | None = None,
    angle: float | None = None,
    intensity: float | None = None,
    normalize: bool = True,
    border: Border = "reflect",
    seed: int = 0,
) -> Operator:
    """Build a blur; the options are those of `blur_kernel`, and the border."""
    path = {"length": length, "angle": angle, "intensity": intensity}
    k = blur_kernel(sigma=sigma, kernel=kernel, size=size, normalize=normalize, seed=seed, **path)
    return Blur(shape, kernel=k, border=border)


def blurred_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the image's shape from that of a blurred one."""
    if options.get("border") != "valid":
        return shape
    k = blur_kernel(**{n: v for n, v in options.items() if n != "border"})
    return shape[0], shape[1] + k.shape[-2] - 1, shape[2] + k.shape[-1] - 1


def downsample(shape: Shape, *, factor: int | None = None, kernel: str = "bicubic") -> Operator:
    """Build a downsampling operator.

    Args:
        shape: `(C, H, W)`.
        factor: positive integer.
        kernel: "bicubic", "average", or a file as in `blur_kernel`.
    """
    if factor is None:
        raise UserError("downsample: factor: expected, as in downsample:factor=4, got none")
    if kernel == "bicubic":
        return Downsample(shape, factor=factor, kernel="bicubic")
    if kernel == "average":
        return Downsample(shape, factor=factor, kernel="average")
    if not Path(str(kernel)).suffix:
        raise UserError(f"downsample: {unknown('kernel', str(kernel), ['average', 'bicubic'])}, or name a file")
    return Downsample(shape, factor=factor, kernel=kernel_from_file(kernel))


def enlarged_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the image's shape from that of a downsampled one: `factor` times as large."""
    factor = options.get("factor")
    return (shape[0], shape[1] * factor, shape[2] * factor) if isinstance(factor, int) and factor > 0 else shape


def space_varying_blur(
    shape: Shape, *, sigma: Sequence[float] = (0.5, 4.0), tiles: int = 5, border: Border = "reflect"
) -> Operator:
    """Build a Gaussian blur with standard deviation `sigma[0]` on the left to `sigma[1]` on the right."""
    low, high = pair("space_varying_blur", "sigma", sigma, float)
    for s in (low, high):
        number("space_varying_blur: sigma", s, positive=True, expected="two positive numbers of pixels")
    integer("space_varying_blur: tiles", tiles, 2)
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
    normalize: bool = True,
    gamma: float = 2.2,
    border: Border = "reflect",
    seed: int = 0,
) -> Operator:
    """Build a blur in linear light; the options are those of `blur_kernel`, the tone curve, and the border."""
    path = {"length": length, "angle": angle, "intensity": intensity}
    k = blur_kernel(sigma=sigma, kernel=kernel, size=size, normalize=normalize, seed=seed, **path)
    return NonlinearBlur(shape, kernel=k, gamma=gamma, border=border)
