"""The table of choices: for each kind of problem and each effort, the solvers that a study found best.

`python -m invdiff.benchmarks.studies choices` measures the candidates and writes `choices.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from ...problem import Problem
from ..base import solver_of
from .kinds import Kind

EFFORTS = ("fast", "normal", "best")
SAMPLES = "samples"
"""The name of the mean over the samples among the parts of an estimate."""


@dataclass(frozen=True)
class Choice:
    """What is run for a problem.

    Attributes:
        sampler: solver of the samples, as `NAME:key=value,...`.
        mean: weights of the images whose sum is the estimate, with samples: by solver, or `SAMPLES`.
        estimate: the same weights for an estimate without samples.
        maps: whether the sampler needs a prior with a noise level for each pixel; `None` if it does not matter.
        measured: figures of the study.
    """

    sampler: str
    mean: Mapping[str, float]
    estimate: Mapping[str, float]
    maps: bool | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)

    def method(self, goal: str) -> str:
        """Return what is run for a goal, "samples" or "estimate", in one line."""
        parts = self.mean if goal == "samples" else self.estimate
        mean = " + ".join(f"{w:g} {name}" if w < 1 else name for name, w in parts.items())
        if goal == "estimate":
            return mean
        return self.sampler if mean == SAMPLES else f"{self.sampler}, mean {mean}"

    def able(self, problem: Problem) -> bool:
        """Return whether all solvers can do a problem."""
        names = {self.sampler, *self.mean, *self.estimate} - {SAMPLES}
        return all(not type(solver_of(n)).unmet(problem) for n in names)


ANALYTIC = {
    effort: Choice(f"mmps:steps={steps}", {SAMPLES: 1.0}, {f"mmps:steps={steps}": 1.0})
    for effort, steps in (("fast", 7), ("normal", 30), ("best", 120))
}
"""Choices for linear problems under an analytic prior, whose Jacobian is the exact covariance: see docs/grades.md."""


EXACT_LIKELIHOOD = {
    effort: Choice(f"daps:steps={steps}", {SAMPLES: 1.0}, {"map:steps=49": 1.0})
    for effort, steps in (("fast", 7), ("normal", 25), ("best", 100))
}
"""Choices for noise without a Gaussian approximation."""


@cache
def choices() -> dict[tuple[Kind, str], tuple[Choice, ...]]:
    """Return the choices of each kind and effort, the preferred one first."""
    text = files(__package__).joinpath("choices.json").read_text(encoding="utf-8")
    table: dict[tuple[Kind, str], tuple[Choice, ...]] = {}
    for row in json.loads(text)["choices"]:
        key = Kind(row.pop("kind")), row.pop("effort")
        table[key] = (*table.get(key, ()), Choice(**row))
    return table
