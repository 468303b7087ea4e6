"""Synthetic sections of a body, in place of computed tomography scans, which this package cannot include.

Values are `v = HU / 2000 + 1/2` with Hounsfield units HU: 0 is air, 0.5 is water, 1 is dense bone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def body(size: int, index: int) -> Tensor:
    """Return a synthetic section of a chest, `(1, size, size)`: tissue, lungs, spine, ribs and lesions as ellipses.

    Edges are antialiased: the section is drawn four times as large, then reduced.

    Args:
        size: side in pixels.
        index: number of the section; each is different.
    """
    rng = np.random.default_rng((20261122, index))
    n = 4 * size
    row, column = np.meshgrid(*[(np.arange(n) + 0.5) / n * 2 - 1] * 2, indexing="ij")
    image = np.zeros((n, n), dtype=np.float32)

    def ellipse(y: float, x: float, h: float, w: float, value: float, turn: float = 0.0) -> None:
        c, s = np.cos(turn), np.sin(turn)
        u, v = (column - x) * c + (row - y) * s, (row - y) * c - (column - x) * s
        image[(u / w) ** 2 + (v / h) ** 2 < 1] = value

    def about(value: float, spread: float) -> float:
        return value * (1 + spread * float(rng.uniform(-1, 1)))

    h, w = about(0.62, 0.08), about(0.86, 0.06)
    ellipse(0, 0, h, w, about(0.46, 0.02))  # fat
    ellipse(0, 0, h - 0.06, w - 0.06, about(0.525, 0.01))  # muscle
    for side in (-1, 1):
        ellipse(about(-0.02, 1), side * about(0.42, 0.1), about(0.40, 0.1), about(0.25, 0.15), 0.09, side * 0.15)
        for angle in np.linspace(0.35, np.pi - 0.35, 5):
            y, x = (h - 0.09) * np.cos(angle), side * (w - 0.09) * np.sin(angle)
            ellipse(float(y), float(x), 0.022, 0.055, about(0.72, 0.05), float(side * angle))
    ellipse(about(-0.08, 0.5), about(0.1, 0.8), about(0.24, 0.1), about(0.19, 0.1), about(0.53, 0.01), 0.5)  # heart
    ellipse(h - 0.27, 0, 0.10, 0.11, about(0.68, 0.05))  # spine
    ellipse(h - 0.25, 0, 0.05, 0.05, 0.515)
    ellipse(h - 0.40, -0.13, 0.06, 0.06, about(0.54, 0.02))  # aorta
    for _ in range(int(rng.integers(6, 14))):
        y, x = rng.uniform(-0.3, 0.3), rng.uniform(-0.6, 0.6)
        tall, wide = rng.uniform(0.01, 0.05, 2)
        ellipse(float(y), float(x), float(tall), float(wide), float(rng.uniform(0.3, 0.6)), float(rng.uniform(0, 3)))
    return torch.from_numpy(image.reshape(size, 4, size, 4).mean((1, 3), dtype=np.float32))[None]
