"""Where in a photograph the kernel is estimated: its parts with the most texture, in linear light, one channel.

Values of a photograph are a power of the light, `light = value^gamma`, and the blur acts on the light.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError
from ..operators import GammaCurve, Grayscale
from .estimate import estimate_kernel
from .shapes import extent
from .variational import gradients

SMALLEST, LARGEST = 9, 63
"""Sides of a kernel that is guessed; at most an eighth of the picture besides."""

SIDE = 192
"""Least side of a part, in pixels, where the photograph is as large."""


def gray_light(image: Tensor, gamma: float) -> Tensor:
    """Return the light of a photograph `(1, C, H, W)` in one channel, `(H, W)`: its luma to the power `gamma`."""
    gray = image[0, 0] if image.shape[1] == 1 else Grayscale(tuple(image.shape[1:]))(image)[0, 0]
    return gray if gamma == 1 else GammaCurve((1, *gray.shape), gamma=gamma)(gray[None, None])[0, 0]


def textured_regions(light: Tensor, side: int, count: int) -> Tensor:
    """Return up to `count` squares of a picture `(H, W)` that do not overlap, `(P, side, side)`.

    They have the most texture: the largest mean of `min(|gradient|, its 95 % quantile)`, so that one strong edge does
    not decide.

    Args:
        light: the picture.
        side: of a square; the shorter side of the picture if that is smaller.
        count: largest number of squares.
    """
    h, w = light.shape
    side = min(side, h, w)
    strength = gradients(light[None]).square().sum(0).sqrt()
    strength = strength.clamp(max=float(strength.flatten()[:: max(1, strength.numel() // 10**6)].quantile(0.95)))
    pad = torch.nn.functional.pad(strength, (0, 1, 0, 1))
    step = max(1, side // 8)
    score = torch.nn.functional.avg_pool2d(pad[None], side, stride=step)[0]
    found: list[tuple[int, int]] = []
    while len(found) < count and float(score.max()) >= 0:
        i, j = divmod(int(score.argmax()), score.shape[1])
        found.append((i * step, j * step))
        rows = (torch.arange(score.shape[0]) * step - i * step).abs() < side
        columns = (torch.arange(score.shape[1]) * step - j * step).abs() < side
        score = score.masked_fill(rows[:, None] & columns, -1.0)
    return torch.stack([light[i : i + side, j : j + side] for i, j in found])


def guessed_size(light: Tensor, noise: float) -> int:
    """Return an odd side for the kernel of a picture `(H, W)`: a fifth more than the extent of a first estimate.

    The first estimate has a generous size on the picture at half resolution.

    Args:
        light: the picture.
        noise: standard deviation of its noise.

    Raises:
        ValueError: a picture of less than 30 pixels.
    """
    half = torch.nn.functional.avg_pool2d(light[None], 2)[0]
    largest = max(SMALLEST, min(LARGEST, min(light.shape) // 8))
    size = largest // 2 + 1 - largest // 2 % 2
    if min(half.shape) < 3 * size:
        raise UserError(f"size: expected a picture of at least 30 pixels, got {tuple(light.shape)}; state the size")
    part = textured_regions(half, SIDE, 1)
    found = 2 * extent(estimate_kernel(part, size, max(noise / 2, 1e-4), sweeps=25))
    side = int(1.2 * found) + 2
    return max(SMALLEST, min(side, largest - 1) // 2 * 2 + 1)
