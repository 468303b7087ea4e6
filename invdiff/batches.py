"""Several pictures through the network together.

Problems of one operator and one noise model, with measurements of one shape, are solved as one batch, and the result is
split. Random streams belong to the image and the sample, so each result is the one that the problem has alone, up to
rounding: sums over another number of rows may be taken in another order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch

from .fit import checked
from .priors.base import Prior
from .problem import Problem
from .reconstruction import Reconstruction
from .solvers.base import BATCH_VALUES, Solver
from .solvers.common.progress import Progress

CPU_VALUES = 2**16
"""Pixel values that go through the network together on a CPU: more are slower, for they leave its cache."""


def room(problem: Problem, samples: int, batch_size: int | None, device: torch.device) -> int:
    """Return how many problems like this one should be solved together.

    Args:
        problem: of one image.
        samples: of each.
        batch_size: number of samples that are drawn at once; by default about 4 million pixel values on a GPU, and
            65536 on a CPU.
        device: of the computation.
    """
    if problem.unknowns or not problem.noise.is_gaussian:  # these are solved image by image
        return 1
    if batch_size is not None:
        return max(1, batch_size // samples)
    values = CPU_VALUES if device.type == "cpu" else BATCH_VALUES
    return max(1, values // max(1, math.prod(problem.operator.in_shape)))


def joined(problems: Sequence[Problem]) -> Problem:
    """Return problems of one operator and noise model as one; their images keep their random streams."""
    first = problems[0]
    measurements = torch.cat([p.measurement for p in problems])
    return Problem(first.operator, first.noise, measurements, tuple(i for p in problems for i in p.image_index))


def solve_together(
    solver: Solver,
    problems: Sequence[Problem],
    prior: Prior,
    *,
    samples: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool | Progress = False,
) -> list[Reconstruction]:
    """Solve problems of one image each, which have one operator and one noise model, and return a result for each.

    Args:
        solver: the solver.
        problems: with measurements of one shape; those with unknown parameters are solved one by one.
        prior: the prior.
        samples: number of samples of each image.
        seed: non-negative integer.
        batch_size: number of samples that are drawn at once.
        progress: whether to show a progress bar, or a function called with (steps done, steps in all).

    Example:
        >>> from invdiff import load_prior, simulate
        >>> from invdiff.operators import Identity
        >>> from invdiff.solvers import DPS
        >>> y = simulate(Identity((1, 8, 8)), torch.zeros(2, 1, 8, 8), noise=0.1)
        >>> [r.samples.shape[0] for r in solve_together(DPS(steps=3), [y[0], y[1]], load_prior("gaussian"))]
        [1, 1]
    """

    def solve(problem: Problem) -> Reconstruction:
        return solver(problem, prior, samples=samples, seed=seed, batch_size=batch_size, progress=progress)

    if len(problems) == 1 or any(p.unknowns for p in problems):
        return [solve(p) for p in problems]
    whole = solve(joined(problems))
    if whole.status == "diverged":  # which of them did is known only alone
        return [solve(p) for p in problems]
    return [_part(solver, problem, whole, b, len(problems)) for b, problem in enumerate(problems)]


def _part(solver: Solver, problem: Problem, whole: Reconstruction, b: int, count: int) -> Reconstruction:
    """Return the result of one image, with its own fit to the measurement."""
    name, _, _ = whole.message.partition(":")
    part = dataclasses.replace(
        whole,
        samples=whole.samples[b : b + 1],
        estimate=None if whole.estimate is None else whole.estimate[b : b + 1],
        log_evidence=None if whole.log_evidence is None else whole.log_evidence[b : b + 1],
        seconds=whole.seconds / count,
        status="ok",
        message=whole.message if whole.status == "ok" else "",
    )
    return checked(solver.posed(problem), part, name or type(solver).__name__)
