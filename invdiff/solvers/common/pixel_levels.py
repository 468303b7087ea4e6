"""The noise level of each pixel of a measurement that is a noisy image, `y_i = g_i x_i + s n_i`: `s / |g_i|`."""

from __future__ import annotations

import torch
from torch import Tensor

from ...noise import Gaussian
from ...operators.base import LinearOperator
from ...problem import Problem


def pixel_levels(problem: Problem) -> Tensor | None:
    """Return `tau`, `(1, H, W)` or broadcastable to it, float64; `None` for other operators.

    These levels exist for white Gaussian noise and an operator that acts on each pixel separately, equally in all
    channels.
    """
    operator, noise = problem.operator, problem.noise
    if not (isinstance(operator, LinearOperator) and isinstance(noise, Gaussian)) or operator.pixel_gains is None:
        return None
    g = operator.pixel_gains.double().abs()
    if not bool((g == g[:1]).all()) or not bool((g > 0).any()):
        return None
    return torch.where(g > 0, noise.std / torch.where(g > 0, g, 1), torch.inf)[:1]
