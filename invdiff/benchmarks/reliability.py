"""The calibration of one cell in more detail than its figures: curves that a row keeps beside its pictures.

They are made of the samples themselves, all of them and unclipped, so that a report need not make do with pictures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..metrics import coverage_curve, rank_histogram, spread_skill_curve

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Of the central intervals."""
BINS = 10
"""Groups of pixels by predicted standard deviation."""


def reliability(samples: Tensor, truth: Tensor) -> dict[str, NDArray[Any]]:
    """Return the curves of one image, in float32.

    Args:
        samples: `(1, S, C, H, W)`, S at least 2.
        truth: `(1, C, H, W)`.

    Returns:
        `covered`, share of the pixels inside the interval of each of `LEVELS`; `spread` and `skill`, `(BINS,)` each;
        `ranks`, share of the pixels for each rank of the truth, `(S + 1,)`.

    Example:
        >>> import torch
        >>> sorted(reliability(torch.rand(1, 3, 1, 4, 4), torch.rand(1, 1, 4, 4)))
        ['covered', 'ranks', 'skill', 'spread']
    """
    x, ref = samples.detach().cpu(), truth.detach().cpu()
    spread, skill = spread_skill_curve(x, ref, bins=min(BINS, ref.numel()))
    return {
        "covered": coverage_curve(x, ref, LEVELS)[0].numpy().astype(np.float32),
        "spread": spread.numpy().astype(np.float32),
        "skill": skill.numpy().astype(np.float32),
        "ranks": rank_histogram(x, ref)[0].numpy().astype(np.float32),
    }
