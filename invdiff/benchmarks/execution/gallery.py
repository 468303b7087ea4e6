"""The data of a row for the report: small images of truth, measurement, mean and samples; curves of calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...metrics import coverage_curve, rank_histogram, spread_skill_curve
from ..metrics import Outcome
from .store import Pictures

SAMPLES = 4
"""Number of stored samples."""


def pictures(outcome: Outcome) -> Pictures:
    """Return the arrays that `Row.load_pictures` describes.

    Args:
        outcome: of the cell.
    """
    result, y = outcome.result, outcome.problem.measurement[0].float().cpu()
    shown = {
        "truth": _levels(outcome.truth[0]),
        "mean": _levels(outcome.mean[0]),
        "samples": _levels(result.samples[0, :SAMPLES]),
        "std": result.std[0].half().numpy(),
    }
    if (seen := _visible(y, outcome.problem.operator.photographic)) is not None:
        shown["measurement"] = _levels(seen)
    if not outcome.point and result.samples.shape[1] > 1:
        shown |= reliability(result.samples, outcome.truth)
    return shown


def _visible(y: Tensor, photographic: bool) -> Tensor | None:
    """Return a measurement as an image, `(1 or 3, h, w)`, or `None` if it has another shape.

    If it is no photograph, its quantiles of 0.5 and 99.5 % are scaled to black and white.
    """
    if y.ndim != 3 or y.shape[0] not in (1, 3):
        return None
    if photographic:
        return y
    low, high = (float(torch.quantile(y.flatten()[:: max(1, y.numel() // 2**20)], q)) for q in (0.005, 0.995))
    return (y - low) / (high - low) if high > low else torch.zeros_like(y)


def _levels(x: Tensor) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = (x.detach().nan_to_num().clamp(0, 1) * 255).round().byte().cpu().numpy()
    return levels


LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Levels of the central intervals."""


BINS = 10
"""Groups of pixels by predicted standard deviation."""


def reliability(samples: Tensor, truth: Tensor) -> dict[str, NDArray[Any]]:
    """Return the curves of one image, in float32.

    Args:
        samples: `(1, S, C, H, W)`, S at least 2.
        truth: `(1, C, H, W)`.

    Returns:
        `covered`, fraction of the pixels inside the interval of each of `LEVELS`; `spread` and `skill`, `(BINS,)` each;
        `ranks`, fraction of the pixels for each rank of the truth, `(S + 1,)`.

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
