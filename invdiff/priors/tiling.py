r"""Denoising of large images in tiles, with the numbers of the whole.

A pixel of a convolutional network's output depends on the input within some reach. The image is cut into rectangles;
each is denoised with a margin of that reach around it, inside the image, and the margin is cut off,

    denoise(x)[c_t] = denoise(x[m_t])[c_t],        J^T v = sum_t J_t^T v[c_t],

with the cores `c_t`, which partition the image, and the tiles `m_t` around them. Tiles begin at multiples of the
network's stride, so each tile has the same grid as the whole image. Both hold up to rounding, because the network uses
nothing else of the image. Products with the transposed Jacobian evaluate each tile again, so what autograd keeps is
bounded by one tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError

OVERLAP = 96
"""Margin of tiles, in pixels, for a network whose reach is not known."""

Denoise = Callable[[Tensor, Tensor], Tensor]

_watching: ContextVar[Callable[[int, int], None] | None] = ContextVar("watching", default=None)


class Span(NamedTuple):
    """One tile along an axis: its core, and the core with its margins."""

    core: slice
    tile: slice

    @property
    def inner(self) -> slice:
        """The core, counted from the tile's own start."""
        return slice(self.core.start - self.tile.start, self.core.stop - self.tile.start)


Tiles = tuple[tuple[Span, Span], ...]


@contextmanager
def watch_tiles(tell: Callable[[int, int], None]) -> Iterator[None]:
    """Call a function with (tiles done, tiles in all) after each tile of an evaluation in the `with` block."""
    token = _watching.set(tell)
    try:
        yield
    finally:
        _watching.reset(token)


def denoise_tiled(
    denoise: Denoise,
    x: Tensor,
    sigma: Tensor,
    *,
    stride: int,
    tile: int = 1024,
    pixels: int | None = None,
    reach: int = OVERLAP,
) -> Tensor:
    """Return `denoise(x, sigma)` computed tile by tile, differentiable once in `x`.

    Args:
        denoise: denoiser of `(B, C, h, w)` and a broadcastable noise level.
        x: noisy images, `(B, C, H, W)`.
        sigma: noise level, `()`, `(B, 1, 1, 1)` or `(B or 1, 1, H, W)`; a tile has its part of it.
        stride: tiles begin at multiples of this.
        tile: a tile has at most the pixels of a square of this side.
        pixels: the same as a number.
        reach: pixels within which the input determines an output pixel.

    Raises:
        ValueError: no tile of that size has a core.
    """
    tiles = plan((x.shape[-2], x.shape[-1]), pixels or tile**2, reach, stride)
    if x.requires_grad and torch.is_grad_enabled():
        out: Tensor = _Tiled.apply(x, sigma, denoise, tiles)
        return out
    return _assembled(denoise, x, sigma, tiles)


class _Tiled(torch.autograd.Function):
    """The tiled denoiser, whose transposed Jacobian is that of the tiles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sigma: Tensor, denoise: Denoise, tiles: Tiles) -> Tensor:
        ctx.save_for_backward(x, sigma)
        ctx.denoise, ctx.tiles = denoise, tiles
        return _assembled(denoise, x, sigma, tiles)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None]:
        x, sigma = ctx.saved_tensors
        total = torch.zeros_like(x)
        for rows, columns in _told(ctx.tiles):
            here = (..., rows.tile, columns.tile)
            with torch.enable_grad():
                leaf = x[here].detach().requires_grad_()
                core = ctx.denoise(leaf, _part(sigma, x, here))[..., rows.inner, columns.inner]
                (part,) = torch.autograd.grad(core, leaf, g[..., rows.core, columns.core])
            total[here] += part
        return total, None, None, None


def _assembled(denoise: Denoise, x: Tensor, sigma: Tensor, tiles: Tiles) -> Tensor:
    out = torch.empty_like(x)
    with torch.no_grad():
        for rows, columns in _told(tiles):
            here = (..., rows.tile, columns.tile)
            part = denoise(x[here], _part(sigma, x, here))
            out[..., rows.core, columns.core] = part[..., rows.inner, columns.inner]
    return out


def _part(sigma: Tensor, x: Tensor, here: tuple[Any, ...]) -> Tensor:
    return sigma[here] if sigma.shape[-2:] == x.shape[-2:] else sigma


def _told(tiles: Tiles) -> Iterator[tuple[Span, Span]]:
    tell = _watching.get()
    for k, tile in enumerate(tiles, 1):
        yield tile
        if tell is not None:
            tell(k, len(tiles))


@lru_cache(maxsize=16)
def plan(size: tuple[int, int], pixels: int, reach: int, stride: int) -> Tiles:
    """Return the tiles of an image: of all grids whose tiles are small enough, the one with the least work.

    Args:
        size: `(H, W)`.
        pixels: largest number of pixels of a tile.
        reach: margin around the cores, rounded up to the stride.
        stride: tiles begin at multiples of this.

    Raises:
        ValueError: no tile of that size has a core.
    """
    margin = -(-reach // stride) * stride
    best: tuple[int, list[Span], list[Span]] | None = None
    for count in range(1, -(-size[0] // stride) + 1):
        rows = _spans(size[0], count, margin, stride)
        widest = pixels // max(s.tile.stop - s.tile.start for s in rows)
        columns = _fitting(size[1], widest, margin, stride)
        if columns is None:
            continue
        work = sum(s.tile.stop - s.tile.start for s in rows) * sum(s.tile.stop - s.tile.start for s in columns)
        if best is None or work < best[0]:
            best = (work, rows, columns)
    if best is None:
        least = least_pixels(reach, stride)
        raise UserError(
            f"tile: expected at least {least} pixels, a core and a margin of {margin} around it, got {pixels}; give "
            "more memory or a larger tile"
        )
    return tuple((r, c) for r in best[1] for c in best[2])


def least_pixels(reach: int, stride: int) -> int:
    """Return the number of pixels of the smallest tile that `plan` takes for a large image."""
    margin = -(-reach // stride) * stride
    return (2 * margin + 2 * stride) ** 2


def _fitting(size: int, longest: int, margin: int, stride: int) -> list[Span] | None:
    """Return the fewest tiles along an axis that are short enough; `None` if a core would vanish."""
    if size <= longest:
        return _spans(size, 1, margin, stride)
    core = (longest - 2 * margin) // stride * stride - stride  # cores end at multiples, so some are a stride longer
    return None if core < stride else _spans(size, -(-size // core), margin, stride)


def _spans(size: int, count: int, margin: int, stride: int) -> list[Span]:
    """Return tiles of nearly equal cores along an axis."""
    cuts = sorted({round(k * size / count / stride) * stride for k in range(count)} | {size})
    cuts = [c for c in cuts if c <= size]
    return [Span(slice(a, b), slice(max(0, a - margin), min(size, b + margin))) for a, b in pairwise(cuts)]
