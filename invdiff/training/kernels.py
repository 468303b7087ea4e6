"""Drawn kernels of blurs: the training images of the prior `kernel`.

    python -m invdiff.training.kernels --out FOLDER [--count 20000] [--first 0]

Six of ten are paths of a camera that shakes, two are paths of a motion, one is out of focus, one is Gaussian. Half of
the paths and disks are smoothed by a Gaussian of 0.3 to 0.9 pixels. They are up to 30 pixels wide, centred up to one
and a half pixels, and their largest value is 0.6 to 1. Each has a random stream of its own, seeded by its index; the
paths have seeds from a million on, far from those of the studies.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..images import save_image
from ..operators import motion_kernel, shake_kernel

SIDE = 32
GRID = SIDE + 1  # odd, so that a kernel has a pixel in its middle; the last row and column are dropped
FIRST_PATH = 10**6

Array = npt.NDArray[np.float64]


def draw_kernel(index: int) -> Array:
    """Return the kernel of an index, `(32, 32)`, in [0, 1], multiples of 1/255.

    Example:
        >>> draw_kernel(0).shape
        (32, 32)
    """
    from scipy.ndimage import gaussian_filter, shift

    random = np.random.default_rng(index)
    kind = random.choice(4, p=[0.6, 0.2, 0.1, 0.1])
    k: Array
    if kind == 0:
        extent = _between(random, 2.0, 30)
        path = shake_kernel(GRID, extent=extent, smoothness=_between(random, 0.08, 0.7), seed=index + FIRST_PATH)
        k = path.numpy()
    elif kind == 1:
        length, angle = _between(random, 2.0, 30), float(random.uniform(0, 180))
        bend = float(random.choice([0, random.uniform(0, 1)]))
        k = motion_kernel(GRID, length=length, angle=angle, intensity=bend, seed=index + FIRST_PATH).numpy()
    elif kind == 2:
        radius, at = random.uniform(0.5, 8), (np.arange(GRID * 8) + 0.5) / 8 - GRID / 2
        disk = (at[:, None] ** 2 + at**2 <= radius**2).astype(float)
        k = disk.reshape(GRID, 8, GRID, 8).mean((1, 3))
    else:
        wide = _between(random, 0.4, 4.5)
        narrow, angle = wide * random.uniform(0.5, 1), random.uniform(0, math.pi)
        axis = np.arange(GRID, dtype=np.float64) - GRID // 2
        u = axis[:, None] * math.cos(angle) + axis * math.sin(angle)
        v = axis * math.cos(angle) - axis[:, None] * math.sin(angle)
        k = np.exp(-(u**2) / (2 * wide**2) - v**2 / (2 * narrow**2))
    if kind < 3 and random.random() < 0.5:
        k = gaussian_filter(k, float(random.uniform(0.3, 0.9)), mode="constant")
    k = shift(k, random.uniform(-0.5, 0.5, 2) + random.integers(-1, 2, 2), order=1).clip(0)
    k = k / k.max() * random.uniform(0.6, 1)
    out: Array = np.rint(255 * k[:SIDE, :SIDE]) / 255
    return out


def _between(random: np.random.Generator, low: float, high: float) -> float:
    """Return a number whose logarithm is uniform."""
    return math.exp(random.uniform(math.log(low), math.log(high)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the images."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.training.kernels", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the images; it is made")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0, help="index of the first")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for i in range(options.first, options.first + options.count):
        save_image(torch.from_numpy(draw_kernel(i))[None].float(), options.out / f"{i:06d}.png")


if __name__ == "__main__":
    main()
