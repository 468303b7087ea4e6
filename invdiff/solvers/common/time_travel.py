"""Sequences of noise levels with returns to higher levels, so that known and unknown parts become consistent.

A sequence over `T` levels has the positions `0, 1, ..., T` (position `T` is the clean image). Every `length` positions
it it returns by `length`, `repeats - 1` times:

    T = 4, length 2, repeats 2:    0 1 2 3 | 1 2 3 | 4
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def time_travel_positions(steps: int, length: int, repeats: int) -> list[int]:
    """Return the positions, from 0 to `steps`; every return is one step of `-length`.

    Args:
        steps: `T`, the number of positive levels.
        length: number of levels of a return, at least 1.
        repeats: number of passes over each interval; 1 for no return.

    References:
        RePaint: Inpainting using Denoising Diffusion Probabilistic Models (Lugmayr et al., 2022),
        https://arxiv.org/abs/2201.09865, section 4.2 and appendix B.

    Example:
        >>> time_travel_positions(4, 2, 2)
        [0, 1, 2, 3, 1, 2, 3, 4]
        >>> count_descents(time_travel_positions(250, 10, 10))
        2410
    """
    left = {steps - 1 - j: repeats - 1 for j in range(0, steps - length, length)}
    walk = [0]
    while walk[-1] < steps:
        at = walk[-1]
        if left.get(at, 0) > 0:
            left[at] -= 1
            walk.append(at - length)
        else:
            walk.append(at + 1)
    return walk


def levels_at(levels: Tensor, walk: Sequence[int]) -> Tensor:
    """Return the noise levels at the positions, like `levels`."""
    return levels[torch.tensor(list(walk))]


def count_descents(walk: Sequence[int]) -> int:
    """Return the number of steps to a lower level, with one network evaluation each."""
    return sum(b > a for a, b in pairwise(walk))
