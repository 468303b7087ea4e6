"""The message about diverged samples: the step, the image, and the remedy."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...loop import image_of
from .run import Run


def describe_divergence(run: Run, solver: str, lower: str, good: Tensor, where: str, state: Any, i: int) -> str:
    """Return a line with the first diverged image, and its cause or the parameter to lower.

    Args:
        run: the batch.
        solver: name of the solver's class.
        lower: the parameter to lower with its value, "name=value"; "" if there is none.
        good: whether each row is finite, `(N,)`.
        where: description of the step.
        state: the finite state before.
        i: index of its noise level.
    """
    row = int((~good).nonzero()[0])
    image = run.problem.image_index[row]
    no_step_size = "it has no step size to lower: check the values of the measurement and of prior.denoise"
    advice = _cause(run, image_of(state)[row : row + 1], i) or (f"lower {lower}" if lower else no_step_size)
    return f"{solver} diverged {where} (image {image}); {advice}"


def _cause(run: Run, x: Tensor, i: int) -> str:
    """Return a line if prior or operator map finite images to other values near the `i`-th level, else ""."""
    x = x.reshape(-1, *x.shape[-3:])  # particles as a batch
    operator = run.problem.operator
    if tuple(x.shape[1:]) != tuple(operator.in_shape):
        return ""
    if not bool(operator(x.clamp(0, 1)).isfinite().all()):
        name = type(operator).__name__
        return f"{name} gives NaN or infinity for images in [0, 1]: invdiff check operator"
    for sigma in (s for s in run.levels[max(0, i - 1) : i + 2] if s > 0):
        if not bool(run.prior.denoise(x, sigma).isfinite().all()):
            name = type(run.prior).__name__
            return f"{name}.denoise gives NaN or infinity for finite images at sigma {sigma:.3g}: invdiff check prior"
    return ""
