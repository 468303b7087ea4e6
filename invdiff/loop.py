"""The loop of steps that solvers and samplers share, with its watch for divergence.

A state is a tensor with a row for each sample, or a named tuple of such tensors whose first entry is the image. A row
has diverged if its image has NaN, or values beyond a bound. It keeps its last finite state, and the others continue.

On a GPU the host looks once in `LAZY` steps, so that it does not wait for each: rows keep their states there too, and
what is told about a divergence is told later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

S = TypeVar("S")

LAZY = 16
"""Steps after which the host looks for rows that diverged, on other devices than the CPU."""


def iterate(
    step: Callable[[S, int], S],
    state: S,
    steps: int,
    *,
    bound: float,
    diverged: Callable[[Tensor, S, int], None],
    advance: Callable[[], None],
    first: int = 0,
    keep: Callable[[S, int], None] | None = None,
) -> S:
    """Take all steps, or stop when every row has diverged.

    Args:
        step: from the state and the step's number, from 0, to the next state.
        state: the first state.
        steps: number of steps.
        bound: largest absolute value of an image, see `divergence_bound`.
        diverged: called when rows diverge, with the mask of the other rows, `(N,)`, the state before the step, and the
            step's number.
        advance: called after each step.
        first: number of the first step, for a loop that goes on from a state that was kept.
        keep: called after a look at the rows, but not after the last step, with the state and the number of the next
            step.

    Returns:
        The last state; for diverged rows, the last one before.
    """
    every = look_every(image_of(state))
    flags: list[Tensor] = []
    for i in range(first, steps):
        new = step(state, i)
        flags.append(inside(image_of(new), bound))
        look = len(flags) == every or i + 1 == steps
        bad = _first_bad(flags) if look else None
        # Without a look nobody knows whether there are diverged rows; choosing costs a copy, but no waiting.
        before, state = state, new if every == 1 and bad is None else choose(flags[-1], new, state)
        if bad is not None:
            diverged(flags[bad], before, i + 1 - len(flags) + bad)
            if not bool(flags[-1].any()):
                break
        if look:
            flags.clear()
        advance()
        if keep is not None and look and i + 1 < steps:  # with all divergences so far recorded
            keep(state, i + 1)
    return state


def look_every(image: Tensor) -> int:
    """Return the number of steps after which the host looks at an image: 1 on the CPU, where it does not wait."""
    return 1 if image.device.type == "cpu" else LAZY


def _first_bad(flags: list[Tensor]) -> int | None:
    """Return the number of the first step at which a row has diverged, from one transfer; `None` if there is none."""
    fine: list[bool] = torch.stack(flags).all(1).tolist()
    return fine.index(False) if False in fine else None


def divergence_bound(std: float, sigma: float = 0.0) -> float:
    """Return the absolute value beyond which an image has diverged: a thousand times the larger of data and noise.

    Args:
        std: standard deviation of the data.
        sigma: highest noise level.
    """
    return 1e3 * max(1.0, sigma, std)


def image_of(state: Any) -> Tensor:
    """Return the images of a state: its first entry, or the state itself if it is a tensor."""
    image: Tensor = state if isinstance(state, Tensor) else state[0]
    return image


def inside(image: Tensor, bound: float) -> Tensor:
    """Return whether all values of each row are below a bound, `(N,)`; false for NaN."""
    return image.abs().flatten(1).amax(1) < bound


def zeros_of(state: S) -> S:
    """Return a state of zeros with the shape of another one."""
    old: Any = state
    if isinstance(old, Tensor):
        return cast("S", torch.zeros_like(old))
    return cast("S", type(old)(*(torch.zeros_like(v) for v in old)))


def choose(good: Tensor, new: S, old: S) -> S:
    """Return the state with the rows of `new` where `good`, `(N,)`, is true, and of `old` elsewhere."""
    a: Any = new
    b: Any = old
    if isinstance(a, Tensor):
        return cast("S", torch.where(good.reshape(-1, *[1] * (a.ndim - 1)), a, b))
    return cast("S", type(a)(*(choose(good, n, o) for n, o in zip(a, b, strict=True))))
