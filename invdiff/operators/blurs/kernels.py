"""Point-spread functions of blurs, each of sum one, in float64.

Gaussian    k[i, j] ~ exp(-(i^2 + j^2) / (2 std^2)),       i, j from the centre
uniform     k[i, j] ~ 1
motion      the path of the light during the exposure, distributed bilinearly on the grid
shake       the same of a camera that shakes: the path is a Gaussian process
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...checks import integer, number
from ...errors import UserError
from ...memory import check_fits


def gaussian_kernel(std: float | tuple[float, float], size: int | tuple[int, int] | None = None) -> Tensor:
    """Return a sampled Gaussian.

    Args:
        std: standard deviation in pixels, positive; or those of rows and of columns.
        size: side, or height and width; default: up to 4 standard deviations each way, as in scipy.ndimage.

    Returns:
        Kernel `(h, w)` of sum one.

    Raises:
        ValueError: `std` is not positive and finite, or `size` is not positive.

    Example:
        >>> gaussian_kernel(3.0, 61).shape
        torch.Size([61, 61])
    """
    stds = (std, std) if isinstance(std, (int, float)) else std
    sizes = (size, size) if isinstance(size, int) or size is None else size
    axes: list[Tensor] = []
    for s, n in zip(stds, sizes, strict=True):
        number("gaussian_kernel: std", s, positive=True, expected="a positive number of pixels")
        count = _size("gaussian_kernel", 2 * int(4 * s + 0.5) + 1 if n is None else n)
        check_fits("gaussian_kernel: std", (count, *map(len, axes)), f"choose fewer than {s:g} pixels")
        t = torch.arange(count, dtype=torch.float64) - (count - 1) / 2
        g = torch.exp(-(t**2) / (2 * s * s))
        axes.append(g / g.sum())
    return torch.outer(axes[0], axes[1])


def uniform_kernel(size: int | tuple[int, int]) -> Tensor:
    """Return a box of equal weights.

    Args:
        size: side, or height and width.

    Returns:
        Kernel `(h, w)` of sum one.

    Raises:
        ValueError: the size is not positive.

    Example:
        >>> uniform_kernel(2)[0, 0]
        tensor(0.2500, dtype=torch.float64)
    """
    h, w = (size, size) if isinstance(size, int) else size
    return torch.full((_size("uniform_kernel", h), _size("uniform_kernel", w)), 1 / (h * w), dtype=torch.float64)


def motion_kernel(
    size: int,
    *,
    length: float | None = None,
    angle: float | None = None,
    intensity: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """Return the blur of a moving camera: a straight line, or a random path that turns.

    The path is `length` pixels long, the first and the last included, and starts at `angle`; at `intensity` 0 it is
    straight, at 1 its direction follows Brownian motion over about half a turn, with sudden jumps. Its centroid lies in
    the centre.

    Args:
        size: side of the kernel in pixels.
        length: length of the path in pixels; default: half of `size`.
        angle: direction in degrees, 0 = along the rows, 90 = upwards; default: drawn at random.
        intensity: curvature of the path, in [0, 1].
        seed: seed of the random numbers.

    Returns:
        Kernel `(size, size)` of sum one.

    Raises:
        ValueError: the size is not positive, the path does not fit into it, or the intensity lies outside [0, 1].

    Example:
        >>> motion_kernel(5, length=3, angle=0)[2].round(decimals=2)
        tensor([0.0000, 0.2500, 0.5000, 0.2500, 0.0000], dtype=torch.float64)
    """
    _size("motion_kernel", size)
    extent = size / 2 if length is None else float(length)
    number("motion_kernel: intensity", intensity, 0, 1)
    if not 0 < extent <= size:
        raise UserError(
            f"motion_kernel: length: expected pixels in (0, {size}], got {extent}; enlarge size or shorten the path"
        )
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand((), generator=generator, dtype=torch.float64) * 360
    direction = math.radians(float(start) if angle is None else angle)
    count = max(64 * size, 2)
    steps = torch.randn(count, generator=generator, dtype=torch.float64) * (math.pi / math.sqrt(count))
    jerks = torch.rand(count, generator=generator, dtype=torch.float64) < 1.5 / count
    jumps = torch.where(jerks, torch.randn(count, generator=generator, dtype=torch.float64) * (math.pi / 2), 0.0)
    heading = direction + intensity * (steps + jumps).cumsum(0)
    stride = max(extent - 1, 0.0) / (count - 1)
    row, column = (-heading.sin() * stride).cumsum(0), (heading.cos() * stride).cumsum(0)
    return path_kernel(row, column, size)


def shake_kernel(size: int, *, extent: float | None = None, smoothness: float = 0.3, seed: int = 0) -> Tensor:
    """Return the blur of a camera that shakes: a smooth random path.

    Both coordinates of the path are Gaussian processes in the time `t` of the exposure, from 0 to 1, with Matern's
    covariance of exponent 3/2,

        cov(t, t') = (1 + r) exp(-r),      r = sqrt(3) |t - t'| / smoothness.

    The path is scaled to `extent`. The light is distributed bilinearly on the grid; its centroid lies in the centre.

    Args:
        size: side of the kernel in pixels.
        extent: longer side of the box around the path, in pixels, the first and the last included; default: 0.7 `size`.
        smoothness: correlation time of the path as a share of the exposure, positive.
        seed: seed of the random numbers.

    Returns:
        Kernel `(size, size)` of sum one.

    Raises:
        ValueError: the size is not positive, the path does not fit into it, or the smoothness is not positive.

    References:
        Learning to Deblur (Schuler, Hirsch, Harmeling, Scholkopf, 2016), https://arxiv.org/abs/1406.7444, section 4.1.
        Differs: the extent is given, where the paper draws it with the path.

    Example:
        >>> shake_kernel(15, seed=3).shape
        torch.Size([15, 15])
    """
    _size("shake_kernel", size)
    span = max(0.7 * size, 1.0) if extent is None else float(extent)
    if not 0 < span <= size:
        raise UserError(
            f"shake_kernel: extent: expected pixels in (0, {size}], got {span:g}; enlarge size or shrink it"
        )
    number("shake_kernel: smoothness", smoothness, positive=True, expected="a positive share of the exposure")
    generator = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, 128, dtype=torch.float64)
    r = math.sqrt(3) * (t[:, None] - t[None, :]).abs() / smoothness
    root = torch.linalg.cholesky((1 + r) * torch.exp(-r) + 1e-8 * torch.eye(len(t), dtype=torch.float64))
    knots = root @ torch.randn(len(t), 2, generator=generator, dtype=torch.float64)
    path = torch.nn.functional.interpolate(knots.T[None], size=max(64 * size, 512), mode="linear", align_corners=True)[
        0
    ]
    low, high = path.min(1).values, path.max(1).values
    path = path * ((span - 1) / float((high - low).max())) if span > 1 else torch.zeros_like(path)
    reach = (path - path.mean(1, keepdim=True)).abs().max()  # the centroid may be far from the middle of the box
    if float(reach) > (size - 1) / 2:
        path = path * ((size - 1) / 2 / float(reach))
    return path_kernel(path[0], path[1], size)


def path_kernel(row: Tensor, column: Tensor, size: int) -> Tensor:
    """Return the kernel of light that moves along a path at equal times, with its centroid in the centre.

    Args:
        row: positions in pixels, `(T,)`; only differences count.
        column: the same across.
        size: side of the kernel; light that leaves it is lost.

    Returns:
        Kernel `(size, size)` of sum one.
    """
    centre = (size - 1) / 2
    row, column = row - row.mean() + centre, column - column.mean() + centre
    kernel = torch.zeros(size + 2, size + 2, dtype=torch.float64)
    r, c = row.clamp(-1, size).floor(), column.clamp(-1, size).floor()
    for dr in (0, 1):
        for dc in (0, 1):
            weight = (1 - (row - r - dr).abs()).clamp(min=0) * (1 - (column - c - dc).abs()).clamp(min=0)
            i, j = (r + dr + 1).long().clamp(0, size + 1), (c + dc + 1).long().clamp(0, size + 1)
            kernel.index_put_((i, j), weight, accumulate=True)
    inside = kernel[1:-1, 1:-1]
    return (inside / inside.sum()).contiguous()


def _size(owner: str, n: int) -> int:
    return integer(f"{owner}: size", n, 1, expected="a positive integer")
