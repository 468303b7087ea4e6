"""Noise levels that differ from pixel to pixel, for networks that take a map of them.

A map has one of four forms: constant; two levels on a random set of pixels, as for a mask of missing pixels; two levels
inside and outside of a box; a smooth transition between two levels. The lower level has the ordinary distribution of
noise levels. The higher level is the highest one of the training (a pixel that was not measured), or log-uniform
between the two.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from ..errors import UserError

_MISSING_SHARE = 0.35  # fraction of the maps whose higher level is that of unmeasured pixels
_GRID = 4  # smooth maps interpolate a random grid of this side


@dataclasses.dataclass(frozen=True)
class NoiseMapConfig:
    """Fractions of the forms; the remaining maps are constant.

    Attributes:
        pixels: fraction of the maps with two levels on a random set of pixels.
        boxes: fraction with two levels, one in a box.
        smooth: fraction with a smooth transition.
    """

    pixels: float = 0.0
    boxes: float = 0.0
    smooth: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.pixels, self.boxes, self.smooth)
        if min(shares) < 0 or sum(shares) > 1:
            raise UserError(f"noise_maps: expected shares >= 0 that sum to at most 1, got {shares}; correct them")

    @property
    def used(self) -> bool:
        """Whether any map is not constant."""
        return self.pixels + self.boxes + self.smooth > 0

    def draw(
        self, low: NDArray[np.float64], highest: float, side: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return one map for each level.

        Args:
            low: the lower levels, `(B,)`.
            highest: the highest level of the training.
            side: side of the crops, in pixels.
            rng: generator.

        Returns:
            Levels, `(B, 1, side, side)`.
        """
        maps = np.empty((len(low), 1, side, side), np.float32)
        for out, level in zip(maps[:, 0], low, strict=True):
            form = rng.random()
            ratio = highest / level
            if rng.random() >= _MISSING_SHARE:
                ratio **= rng.random()
            if form < self.pixels:
                out[:] = level * np.where(rng.random((side, side)) < rng.uniform(0.05, 0.97), ratio, 1.0)
            elif form < self.pixels + self.boxes:
                out[:] = level * np.where(_box(side, rng), ratio, 1.0)
            elif form < self.pixels + self.boxes + self.smooth:
                grid = zoom(rng.random((_GRID, _GRID)), side / _GRID, order=3, grid_mode=True, mode="nearest")
                out[:] = level * ratio ** grid.clip(0.0, 1.0)
            else:
                out[:] = level
        return maps


def _box(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask that is true in a box of random place and size, or outside of it."""
    inside = np.zeros((side, side), bool)
    height, width = rng.integers(max(1, side // 10), max(2, side * 5 // 8), size=2)
    top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
    inside[top : top + height, left : left + width] = True
    return inside if rng.random() < 0.8 else ~inside
