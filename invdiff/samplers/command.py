"""What `invdiff sample` does: draw samples of a prior, and write them as one sheet.

A sheet is a grid of images in reading order, as near to a square as it can be, with one white pixel between them.
Intensities are clipped to [0, 1] and rounded to 8 bits; nothing else is done to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..atomic import atomic_path
from ..priors import Prior, load_prior
from ..registry import unknown
from . import SAMPLERS
from .base import Sampler, Samples, make_sampler

SIDE = 64  # of samples of priors that take any size


def sample(
    prior: Prior | str | Path,
    sampler: Sampler | str = "heun",
    *,
    out: str | Path | None = None,
    steps: int | None = None,
    eta: float | None = None,
    options: Mapping[str, object] | None = None,
    n: int = 16,
    seed: int = 0,
    shape: tuple[int, int, int] | None = None,
    device: str = "cpu",
    watch: Callable[[int, int], None] | None = None,
) -> Samples:
    """Draw samples of a prior, and write a sheet of them.

    Args:
        prior: the prior, or its name or path.
        sampler: the sampler, or its name, one of `SAMPLERS`.
        out: image file to write, whole or not at all; none unless given.
        steps: number of noise levels, for a sampler given by name; its own unless given.
        eta: share of the ancestral noise, for DDIM by name.
        options: further parameters of a sampler given by name.
        n: how many samples.
        seed: non-negative integer.
        shape: `(C, H, W)`, for a prior that takes any size; 64 x 64 unless given, of one channel where the prior takes
            any.
        device: where the prior runs.
        watch: called with (steps done, steps in all).

    Returns:
        The samples.

    Raises:
        ValueError: unknown sampler or parameter; the message names the nearest one.

    Example:
        >>> sample("gaussian", "ddim", steps=5, n=2, shape=(1, 8, 8)).samples.shape
        torch.Size([2, 1, 8, 8])
    """
    built = build_sampler(sampler, steps=steps, eta=eta, options=options) if isinstance(sampler, str) else sampler
    loaded = (prior if isinstance(prior, Prior) else load_prior(prior)).to(device)
    size = shape or default_shape(loaded)
    result = built(loaded, n, shape=size, seed=seed, device=device, watch=watch)
    if out is not None:
        write_sheet(result.samples, out)
    return result


def build_sampler(
    name: str, *, steps: int | None = None, eta: float | None = None, options: Mapping[str, object] | None = None
) -> Sampler:
    """Return a sampler by name, with its parameters.

    Args:
        name: one of `SAMPLERS`.
        steps: number of noise levels; the sampler's own unless given.
        eta: share of the ancestral noise, for DDIM.
        options: further parameters, by name.

    Raises:
        ValueError: unknown sampler or parameter; the message names the nearest one.
    """
    if name not in SAMPLERS:
        raise ValueError(unknown("sampler", name, SAMPLERS))
    given = {"steps": steps, "eta": eta, **(options or {})}
    return make_sampler(SAMPLERS[name], {k: v for k, v in given.items() if v is not None})


def default_shape(prior: Prior) -> tuple[int, int, int]:
    """Return the size of a prior's images, 64 pixels where it takes any and one channel where it takes any."""
    c, h, w = prior.shape
    return (1 if c is None else c, SIDE if h is None else h, SIDE if w is None else w)


def sheet(x: Tensor, gap: int = 1) -> Image.Image:
    """Return a grid of images, as near to a square as it can be.

    Args:
        x: images in [0, 1], `(n, C, H, W)`, of 1 or 3 channels.
        gap: white pixels between them.

    Raises:
        ValueError: not images of 1 or 3 channels.

    Example:
        >>> sheet(torch.zeros(5, 1, 4, 4)).size
        (14, 9)
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3) or len(x) == 0:
        raise ValueError(f"sheet: x: expected (n, 1 or 3, H, W), got {tuple(x.shape)}; show the channels one by one")
    n, c, h, w = x.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, c), 255, dtype=np.uint8)
    pixels = (x.detach().cpu().double().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for k, image in enumerate(pixels):
        top, left = k // columns * (h + gap), k % columns * (w + gap)
        grid[top : top + h, left : left + w] = image
    return Image.fromarray(grid[..., 0] if c == 1 else grid)


def write_sheet(x: Tensor, path: str | Path, *, pixels: int = 1024) -> None:
    """Write a grid of images, whole or not at all; small images are enlarged by whole factors, pixel by pixel.

    Args:
        x: images in [0, 1], `(n, C, H, W)`.
        path: file to write; its suffix names the format.
        pixels: longest side that enlarging may reach.
    """
    image = sheet(x)
    factor = max(1, pixels // max(image.size))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    with atomic_path(path) as temporary:
        image.save(temporary)
