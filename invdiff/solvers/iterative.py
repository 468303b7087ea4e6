"""Solvers that repeat a step, most of them along noise levels `sigma_T > ... > sigma_0 = 0`.

A step maps a state at one level to a state at the next. A state is a tensor with a row for each sample, or a named
tuple of such tensors whose first entry is the image.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from ..loop import choose, divergence_bound, image_of, inside, iterate, zeros_of
from ..operators.numerics.linalg import watch_solves
from ..priors.base import Prior
from ..problem import Problem
from .base import Solver
from .common.drawing import keep_state, restored
from .common.initial_state import center
from .common.run import Run

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class IterativeSolver(Solver, owns_loop=True):
    """A solver with steps along decreasing noise levels.

    A subclass defines `levels` and `step`, and if necessary `start` and `finish`.
    """

    @abc.abstractmethod
    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return the decreasing noise levels in float64, `(steps + 1,)`."""

    @abc.abstractmethod
    def step(self, run: Run, x: Any, i: int) -> Any:
        """Take the state `x`, `(N, C, H, W)`, from level `run.levels[i]` to `run.levels[i + 1]`."""

    def start(self, run: Run) -> Any:
        """Return the state at the first level, `x_T = c + sigma_T n`, with the centre `c` of `center`."""
        c = center(run.problem, run.prior)
        return c + run.levels[0] * run.randn(c)

    def finish(self, run: Run, x: Any) -> Tensor:
        """Return the images of the last state, `(N, C, H, W)`, or `(N, P, C, H, W)` for P particles."""
        out: Tensor = image_of(x)
        return out

    def draw(self, run: Run) -> Tensor:
        """Take all steps along the levels."""
        state = repeat(self, run, self.start(run), self.step, len(run.levels) - 1)
        out = self.finish(run, state)
        good = inside(out, math.inf)
        if not bool(good.all()):
            self.note_divergence(run, good, "after the last step", state, len(run.levels) - 1)
            out = choose(good, out, image_of(state))
        return out

    def ticks(self, levels: tuple[float, ...]) -> int:
        """Return the number of steps."""
        return len(levels) - 1

    def _noise_levels(self, problem: Problem, prior: Prior) -> tuple[float, ...]:
        return tuple(self.levels(problem, prior).tolist())


def repeat(solver: Solver, run: Run, state: S, step: Callable[[Run, S, int], S], steps: int) -> S:
    """Take steps with checks for divergence; rows that diverge keep their last finite state.

    Args:
        solver: the solver of the steps.
        run: the batch.
        state: the first state.
        step: from the batch, a state and the step's number, from 0, to the next state.
        steps: number of steps.
    """
    # A method without steps cannot diverge; the inverse of a blur may be that large.
    bound = divergence_bound(run.prior.std, *run.levels[:1]) if steps else math.inf
    state, first = restored(run, state)
    good = inside(image_of(state), bound)
    if not bool(good.all()):
        solver.note_divergence(run, good, "at the start", zeros_of(state), 0)
        state = choose(good, state, zeros_of(state))
        if not bool(good.any()):
            return state

    def diverged(good: Tensor, before: S, i: int) -> None:
        solver.note_divergence(run, good, f"at step {i + 1} of {steps}", before, i)

    def watched(before: S, i: int) -> S:
        with watch_solves() as solves:
            after = step(run, before, i)
        run.record_solves(solves, f"at step {i + 1} of {steps}")
        return after

    return iterate(
        watched, state, steps, bound=bound, diverged=diverged, advance=run.advance,
        first=first, keep=partial(keep_state, run),
    )  # fmt: skip
