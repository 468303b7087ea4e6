"""The fit of a reconstruction to its measurement, for the terminal, the figure and `result.json`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...fit import level_causes, measure_fit
from ...noise import Gaussian
from ...problem import Problem
from ...reconstruction import Reconstruction

UNCHANGED = 0.1
"""Residual of the samples in units of the noise, below which the result has the noise of the measurement."""
VISIBLE = 2 / 255
"""Noise level in [0, 1] from which this is worth a note."""


@dataclass(frozen=True)
class FitLine:
    """The residual of a result in units of the noise.

    Attributes:
        mean: `rms(y - A(mean)) / noise` for Gaussian noise, else the root of the figure of `invdiff.fit`.
        samples: the same of the samples, root mean square; 1 is expected.
        limit: the largest likely value for the samples.
        note: what the measurement says about the stated noise level, or "".
    """

    mean: float
    samples: float
    limit: float
    note: str = ""

    def describe(self) -> str:
        """Return one line."""
        return (
            f"Fit: rms(y - A(mean)) is {self.mean:.3g} times the noise, {self.samples:.3g} for the samples; 1 is "
            f"expected of samples, at most {self.limit:.3g} is likely."
        )

    def record(self) -> dict[str, object]:
        """Return the entry of `result.json`."""
        return {"mean": self.mean, "samples": self.samples, "limit": self.limit, "note": self.note}


def find_fit(problem: Problem, result: Reconstruction, *, level_known: bool) -> FitLine | None:
    """Return the fit of a result; `None` for noiseless data or a result that is not finite.

    Args:
        problem: as it was given to the solver.
        result: the result.
        level_known: whether the noise was simulated or estimated, so that its level needs no comparison.
    """
    found, drawn = measure_fit(problem, result.mean[:, None]), result.trace.get("chi_square")
    if found is None or not bool(found.mean.isfinite().all()):
        return None
    mean = float(found.mean.mean())
    samples = mean if drawn is None else float(drawn.mean())
    notes = _unchanged(problem, _root(samples))
    if not level_known and result.status != "diverged":
        notes += level_causes(problem, too_small=2.0 if result.status == "misfit" else 3.0)
    return FitLine(_root(mean), _root(samples), _root(found.limit), "; ".join(notes))


def _unchanged(problem: Problem, figure: float) -> list[str]:
    """Return a sentence if the result meets the measurement far more closely than its noise allows."""
    noise = problem.noise
    if not isinstance(noise, Gaussian) or noise.std < VISIBLE or figure >= UNCHANGED:
        return []
    return [
        f"the residual is {figure:.2g} times the noise, so the noise of the measurement was not removed: the result "
        "reproduces it; take a solver that weighs it, such as auto, or a longer run"
    ]


def _root(figure: float) -> float:
    return math.sqrt(max(figure, 0.0))
