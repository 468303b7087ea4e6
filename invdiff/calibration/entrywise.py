r"""A factor for each group of pixels: intervals that are narrower on average, for the same guarantee (K-RCPS).

One factor for all pixels widens well estimated half-widths as much as poor ones. Here the pixels are split into `K`
groups by their half-width `h`, and the interval is `centre +- lambda w(h) h` with one number `w` for each group. On
some of the calibration images, which the guarantee does not use,

    minimise  mean over pixels of w(h) h    so that    mean over pixels of [|x - centre| > w(h) h] <= alpha.

The Lagrangian of this problem is a sum over groups, so each group is minimised by itself, and bisection finds the
multiplier. On the other images `lambda` follows as without groups (`intervals`), so that the guarantee is the same one.

References:
    How To Trust Your Diffusion Model: A Convex Optimization Approach to Conformal Risk Control (Teneggi et al., 2023),
    https://arxiv.org/abs/2302.03791, section 4.1. There the fraction outside is replaced by a convex bound, and the
    groups follow from a quantile of the loss of each pixel of aligned images; here the problem is solved as it is, and
    the groups follow from the half-width, so images need not be aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError

PIXELS = 4096
"""Pixels that are kept of an image, evenly spaced in the order of their half-widths."""
GRID = 512
"""Quantiles of the ratios of a group among which its factor is sought."""


@dataclass(frozen=True)
class Widening:
    """A factor for each group of pixels.

    Attributes:
        edges: half-widths between the groups, ascending, in units of the images.
        factors: of the groups, one more than edges.

    Example:
        >>> Widening((0.1,), (2.0, 1.0))(torch.tensor([0.05, 0.2]))
        tensor([0.1000, 0.2000])
    """

    edges: tuple[float, ...]
    factors: tuple[float, ...]

    def __call__(self, half: Tensor) -> Tensor:
        """Return half-widths times the factors of their groups, of the same shape."""
        group = torch.bucketize(half, half.new_tensor(self.edges))
        return half * half.new_tensor(self.factors)[group]


def kept_pixels(half: Tensor, error: Tensor) -> NDArray[np.float32]:
    """Return half-widths and absolute errors of some pixels of an image, `(2, at most PIXELS)`.

    Args:
        half: half-widths of an image, of any shape.
        error: absolute errors of the centres, of the same shape.
    """
    order = half.flatten().argsort()
    chosen = order[torch.linspace(0, len(order) - 1, min(PIXELS, len(order))).round().long()]
    return torch.stack([half.flatten()[chosen], error.flatten()[chosen]]).float().cpu().numpy()


def fit_widening(pixels: NDArray[np.float32], level: float, groups: int) -> Widening:
    """Return the factors with the least mean width that hold a level on given pixels.

    Args:
        pixels: half-widths and absolute errors, `(2, n)`; several images side by side.
        level: fraction of the pixels to be inside, in (0, 1).
        groups: K, of about equally many pixels, at least 2.

    Raises:
        ValueError: fewer than 2 groups, or fewer than 100 pixels for each of them.
    """
    half, error = pixels.astype(np.float64)
    if groups < 2 or half.size < 100 * groups:
        raise UserError(
            f"calibration: groups: expected 2 to {max(2, half.size // 100)} for {half.size} pixels, got {groups}"
        )
    edges = np.unique(np.quantile(half, np.arange(1, groups) / groups))
    index = np.searchsorted(edges, half)
    share, width = np.zeros(len(edges) + 1), np.zeros(len(edges) + 1)
    ratios, outside = np.zeros((len(edges) + 1, GRID)), np.zeros((len(edges) + 1, GRID))
    for k in range(len(edges) + 1):
        mine = index == k
        share[k], width[k] = mine.mean(), half[mine].mean() if mine.any() else 0.0
        if mine.any():
            found = error[mine] / half[mine]
            ratios[k] = np.quantile(found, np.linspace(0, 1, GRID), method="higher")
            outside[k] = 1 - np.searchsorted(np.sort(found), ratios[k], side="right") / found.size

    def best(price: float) -> NDArray[np.intp]:
        chosen: NDArray[np.intp] = (width[:, None] * ratios + price * outside).argmin(1)
        return chosen

    rows = np.arange(len(share))

    def enough(chosen: NDArray[np.intp]) -> bool:
        return bool((share * outside[rows, chosen]).sum() <= 1 - level)

    low, high = 0.0, 1.0
    while not enough(best(high)):
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(best(middle)) else (middle, high)
    few, many = best(low), best(high)  # neighbours on the convex hull: the level may lie between them
    steps = (np.round(few + (many - few) * t).astype(np.intp) for t in np.linspace(0, 1, GRID))
    chosen = next((k for k in steps if enough(k)), many)
    return Widening(tuple(edges.tolist()), tuple(ratios[rows, chosen].tolist()))
