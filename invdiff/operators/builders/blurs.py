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
from ..blurs.kernels import gaussian_kernel
from ..blurs.space_varying import SpaceVaryingBlur, tile_weights
from ..downsample import Downsample
from ..nonlinear import NonlinearBlur
from .base import Shape, noted
from .files import kernel_from_file
from .kernels import blur_kernel, with_kernel
from .values import pair


@with_kernel
def blur(shape: Shape, kernel: Tensor, *, border: Border = "reflect") -> Operator:
    """Build a blur; the options are those of `blur_kernel`, and the border."""
    return Blur(shape, kernel=kernel, border=border)


def blurred_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the image's shape from that of a blurred one."""
    if options.get("border") != "valid":
        return shape
    k = blur_kernel(**{n: v for n, v in options.items() if n != "border"}).values
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
    k, notes = kernel_from_file(kernel, normalize=False)  # it is normalised over every pixel
    if any((n - factor) % 2 for n in k.shape):
        notes += (
            f"the kernel in {kernel} has {k.shape[0]} x {k.shape[1]} pixels, which have no centre in common with "
            f"blocks of {factor}: it is half a pixel to the left or above; take {['even', 'odd'][factor % 2]} sizes",
        )
    return noted(Downsample(shape, factor=factor, kernel=k), notes)


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


@with_kernel
def nonlinear_blur(shape: Shape, kernel: Tensor, *, gamma: float = 2.2, border: Border = "reflect") -> Operator:
    """Build a blur in linear light; the options are those of `blur_kernel`, the tone curve, and the border."""
    return NonlinearBlur(shape, kernel=kernel, gamma=gamma, border=border)
