"""The result of one run of `invdiff reconstruct` or `invdiff demo`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from ...problem import Problem
from ...reconstruction import Reconstruction
from ...solvers import Solver
from ...units import Units
from .fits import FitLine
from .intervals import Interval


@dataclass(frozen=True)
class Answer:
    """The result of one run.

    Attributes:
        problem: the solved problem.
        solver: the solver.
        result: the samples.
        baseline: name and image of the estimate without a prior, if the operator is linear.
        truth: the clean image, `(1, C, H, W)`, if it is known.
        metrics: figures by estimate and name, if the truth is known.
        interval: lower and upper ends; `None` for a single sample or estimate.
        units: in which arrays are written; `problem`, `result` and all else here have the prior's values.
        stated: the problem as it was stated, in these units.
        true_values: of the unknown parameters, if the measurement is simulated.
        fit: the residual in units of the noise; `None` for noiseless data.
    """

    problem: Problem
    solver: Solver
    result: Reconstruction
    baseline: tuple[str, Tensor] | None = None
    truth: Tensor | None = None
    metrics: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    interval: Interval | None = None
    units: Units | None = None
    stated: Problem | None = None
    true_values: dict[str, float] = dataclasses.field(default_factory=dict)
    fit: FitLine | None = None
