"""Training objectives: losses whose minimiser is the exact denoiser.

- `denoising`: regression of any of the targets in `invdiff.priors.conversions`, under any of the `weightings`.
- `implicit`: implicit and sliced score matching, which need no clean image.
- `noise`: distributions of the noise levels.
"""

from __future__ import annotations

from collections.abc import Callable

from ...errors import UserError
from ...priors.conversions import CleanImage, EDMOutput, LastIncrement, Output, PreviousState, TotalNoise, Velocity
from ...registry import unknown
from .base import Objective
from .denoising import DenoisingScoreMatching
from .implicit import ImplicitScoreMatching, SlicedScoreMatching
from .noise import EitherOf, LogNormal, LogUniform, NoiseLaw
from .weightings import (
    DDIMVariational,
    EDMWeights,
    Even,
    InverseVariance,
    MaximumLikelihood,
    Plain,
    Weighting,
)

Factory = Callable[[float, float, NoiseLaw], Objective]


def _regression(output: type[Output], weighting: Callable[[], Weighting] = Plain) -> Factory:
    return lambda mean, std, noise: DenoisingScoreMatching(output(mean=mean, std=std), noise, weighting())


OBJECTIVES: dict[str, Factory] = {
    "edm": _regression(EDMOutput),
    "noise": _regression(TotalNoise),
    "clean": _regression(CleanImage),
    "velocity": _regression(Velocity),
    "previous": _regression(PreviousState),
    "increment": _regression(LastIncrement),
    "smld": _regression(EDMOutput, InverseVariance),
    "likelihood": _regression(EDMOutput, MaximumLikelihood),
    "ddim": _regression(EDMOutput, DDIMVariational),
    "implicit": lambda mean, std, noise: ImplicitScoreMatching(EDMOutput(mean=mean, std=std), noise),
    "sliced": lambda mean, std, noise: SlicedScoreMatching(EDMOutput(mean=mean, std=std), noise),
}
"""Objectives by the names of a configuration: functions of the data's mean and std and the levels' distribution."""


def make_objective(name: str, mean: float, std: float, noise: NoiseLaw) -> Objective:
    """Return an objective by name.

    Args:
        name: one of `OBJECTIVES`.
        mean: the data's mean.
        std: the data's standard deviation.
        noise: distribution of the noise levels.

    Raises:
        ValueError: no such objective; the message names the nearest one.
    """
    if name not in OBJECTIVES:
        raise UserError(unknown("objective", name, OBJECTIVES))
    return OBJECTIVES[name](mean, std, noise)


__all__ = [
    "OBJECTIVES",
    "DDIMVariational",
    "DenoisingScoreMatching",
    "EDMWeights",
    "EitherOf",
    "Even",
    "ImplicitScoreMatching",
    "InverseVariance",
    "LogNormal",
    "LogUniform",
    "MaximumLikelihood",
    "NoiseLaw",
    "Objective",
    "Plain",
    "SlicedScoreMatching",
    "Weighting",
    "make_objective",
]
