"""The bound of Waudby-Smith and Ramdas on a mean, and the number of images that a level needs.

The bound adapts to the variance of the losses. With the running means `m_j = (1/2 + sum L) / (1 + j)`, the variances
`s_j^2 = (1/4 + sum (L - m)^2) / (1 + j)`, and `nu_j = min(1, sqrt(2 log(1/delta) / (n s_{j-1}^2)))`,

    R^+ = the least R for which  max_j prod_{k <= j} (1 - nu_k (L_k - R)) > 1 / delta.

References:
    Distribution-Free, Risk-Controlling Prediction Sets (Bates et al., 2021), https://arxiv.org/abs/2101.02703,
    section 3.1 and proposition 5.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError


def upper_bound(losses: NDArray[np.float64], delta: float) -> float:
    """Return `R^+`, which exceeds the mean of the distribution of the losses with probability `1 - delta`.

    Args:
        losses: independent draws in [0, 1], `(n,)`.
        delta: probability of failure, in (0, 1).
    """
    n, j = len(losses), np.arange(1, len(losses) + 1)
    mean = (0.5 + np.cumsum(losses)) / (1 + j)
    variance = (0.25 + np.cumsum((losses - mean) ** 2)) / (1 + j)
    before = np.concatenate([[0.25], variance[:-1]])
    nu = np.minimum(1.0, np.sqrt(2 * math.log(1 / delta) / (n * before)))

    def rejected(risk: float) -> bool:
        with np.errstate(divide="ignore"):
            capital = np.cumsum(np.log(np.maximum(1 - nu * (losses - risk), 0.0)))
        return bool(capital.max() > math.log(1 / delta))

    low, high = 0.0, 1.0
    if not rejected(high):
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if rejected(middle) else (middle, high)
    return high


def images_needed(level: float, confidence: float | None) -> int:
    """Return the least number of images for which a level can be reached.

    Args:
        level: `1 - alpha`.
        confidence: `1 - delta`, or `None` for control on average.

    Example:
        >>> images_needed(0.9, None), images_needed(0.9, 0.9)
        (9, 25)
    """
    check_probabilities(level, confidence)
    if confidence is None:
        return math.ceil(level / (1 - level) - 1e-9)
    n = 1
    while upper_bound(np.zeros(n), 1 - confidence) > 1 - level:
        n += 1
    return n


def images_for_groups(count: int) -> int:
    """Return the number of images, of `count`, on which the factors of groups of pixels are found: a quarter."""
    return math.ceil(count / 4)


def check_images(count: int, level: float, confidence: float | None, groups: int = 1) -> None:
    """Raise unless there are enough images for a level.

    Args:
        count: number of images.
        level: `1 - alpha`.
        confidence: `1 - delta`, or `None` for control on average.
        groups: number of groups of pixels with a factor of their own, 1 or more.

    Raises:
        ValueError: too few (the message gives the least number), or probabilities outside (0, 1).
    """
    if groups < 1:
        raise UserError(f"calibration: groups: expected a number of at least 1, got {groups}; 1 is one factor for all")
    needed = images_needed(level, confidence)
    if groups > 1:
        needed = next(n for n in range(needed, 2 * needed + 2) if n - images_for_groups(n) >= needed)
    if count < needed:
        how = "on average" if confidence is None else f"with confidence {confidence:g}"
        how += f" and {groups} groups" if groups > 1 else ""
        raise UserError(
            f"calibration: expected at least {needed} images for level {level:g} {how}, got {count}; give more "
            "images, or ask for less"
        )


def check_probabilities(level: float, confidence: float | None) -> None:
    """Raise unless level and confidence are probabilities inside (0, 1).

    Raises:
        ValueError: one of them is not.
    """
    for name, value in (("level", level), ("confidence", confidence)):
        if value is not None and not 0 < value < 1:
            raise UserError(f"calibration: {name}: expected a probability in (0, 1), got {value}; such as 0.9")
