"""What a cell is scored by: one table of functions from an outcome to a figure.

A metric that does not apply to an outcome, such as a distance to the exact posterior where none is known, returns
`None` and is left out of the row. The mean over the samples is clipped to [0, 1] before it is compared with the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor

from ..metrics import data_residual, psnr, ssim
from ..priors import Prior
from ..problem import Problem, Reconstruction
from ..registry import unknown


@dataclass(frozen=True)
class Outcome:
    """What there is to score.

    Attributes:
        truth: the clean image, `(1, C, H, W)`.
        problem: the problem that it made.
        prior: the prior that the solver had.
        result: what the solver gave back, with samples `(1, S, C, H, W)`.
        point: whether all samples are one estimate by design, so that their spread means nothing.
        seed: of the cell, for metrics that draw.
    """

    truth: Tensor
    problem: Problem
    prior: Prior
    result: Reconstruction
    point: bool = False
    seed: int = 0

    @cached_property
    def mean(self) -> Tensor:
        """Mean over the samples, clipped to [0, 1], `(1, C, H, W)`."""
        return self.result.mean.clamp(0, 1)


@dataclass(frozen=True)
class Metric:
    """One figure.

    Attributes:
        compute: from the outcome to the figure, or `None` where it has no meaning.
        title: for tables, with the unit.
        best: "high", "low", or the value that a perfect solver reaches.
        digits: behind the point, in tables.
    """

    compute: Callable[[Outcome], float | None]
    title: str
    best: Literal["high", "low"] | float
    digits: int = 3


def _psnr(o: Outcome) -> float | None:
    return float(psnr(o.mean, o.truth))


def _psnr_sample(o: Outcome) -> float | None:
    return float(psnr(o.result.samples[:, 0].clamp(0, 1), o.truth))


def _ssim(o: Outcome) -> float | None:
    return float(ssim(o.mean, o.truth)) if min(o.truth.shape[-2:]) >= 7 else None


def _residual(o: Outcome) -> float | None:
    try:
        return float(data_residual(o.problem, o.result.samples))
    except ValueError:  # noise without a variance
        return None


METRICS: dict[str, Metric] = {
    "psnr": Metric(_psnr, "PSNR dB", "high", 2),
    "ssim": Metric(_ssim, "SSIM", "high", 3),
    "psnr_sample": Metric(_psnr_sample, "PSNR of a sample dB", "high", 2),
    "residual": Metric(_residual, "residual / noise", 1.0, 2),
}
"""All metrics by name; a suite may choose some of them."""


def check_names(names: Iterable[str]) -> None:
    """Raise a ValueError with the nearest known name, unless all are known."""
    for name in names:
        if name not in METRICS:
            raise ValueError(unknown("metric", name, METRICS))


def score(outcome: Outcome, names: Iterable[str] = ()) -> dict[str, float]:
    """Return the figures of an outcome by name: those that are named, or all."""
    figures = {name: METRICS[name].compute(outcome) for name in names or METRICS}
    return {name: value for name, value in figures.items() if value is not None}
