"""The metrics of a cell: one table of functions from an outcome to a figure.

A metric that does not apply to an outcome, such as the distance to an unknown exact posterior, returns `None` and is
left out of the row. The mean over the samples is clipped to [0, 1] before it is compared with the truth, if the truth
lies in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

from torch import Tensor

from ..errors import UserError
from ..metrics import (
    check_lpips,
    crps,
    data_residual,
    lpips,
    psnr,
    sliced_wasserstein,
    spread_skill_ratio,
    ssim,
    ssim_gaussian,
)
from ..noise import Gaussian
from ..operators import LinearOperator
from ..posterior import ExactPosterior
from ..priors import GaussianPrior, MixturePrior, Prior, StationaryGaussianPrior
from ..problem import Problem
from ..reconstruction import Reconstruction
from ..registry import unknown


@dataclass(frozen=True)
class Outcome:
    """The result of a cell, to be scored.

    Attributes:
        truth: the clean image, `(1, C, H, W)`.
        problem: the problem that was simulated from it.
        prior: the prior of the solver.
        result: the result of the solver, with samples `(1, S, C, H, W)`.
        point: whether all samples are one estimate by design, so that their spread has no meaning.
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
        """Mean over the samples, clipped by `clipped`, `(1, C, H, W)`."""
        return self.clipped(self.result.mean)

    def clipped(self, x: Tensor) -> Tensor:
        """Return images clipped to [0, 1], unless the truth itself leaves it, as for a Gaussian prior."""
        inside = bool((self.truth >= 0).all()) and bool((self.truth <= 1).all())
        return x.clamp(0, 1) if inside else x


@dataclass(frozen=True)
class Metric:
    """One figure of merit.

    Attributes:
        compute: from the outcome to the figure, or `None` if it does not apply.
        title: for tables, with the unit.
        best: "high", "low", or the value of a perfect solver.
        digits: decimal places in tables.
        by_name_only: whether it is computed only if a suite names it, because it needs an optional dependency, or
            would nearly repeat another figure.
    """

    compute: Callable[[Outcome], float | None]
    title: str
    best: Literal["high", "low"] | float
    digits: int = 3
    by_name_only: bool = False


def _psnr(o: Outcome) -> float | None:
    return float(psnr(o.mean, o.truth))


def _psnr_sample(o: Outcome) -> float | None:
    return float(psnr(o.clipped(o.result.samples[:, 0]), o.truth))


def _ssim(o: Outcome) -> float | None:
    return float(ssim(o.mean, o.truth)) if min(o.truth.shape[-2:]) >= 7 else None


def _ssim_gaussian(o: Outcome) -> float | None:
    return float(ssim_gaussian(o.mean, o.truth)) if min(o.truth.shape[-2:]) >= 11 else None


def _residual(o: Outcome) -> float | None:
    try:
        return float(data_residual(o.problem, o.result.samples))
    except UserError:  # noise without a variance
        return None


def _of_spread(compute: Callable[[Reconstruction, Tensor], Tensor]) -> Callable[[Outcome], float | None]:
    """Return a metric of the samples' spread; `None` for one sample, and for methods that give one estimate."""

    def metric(o: Outcome) -> float | None:
        none = o.point or o.result.samples.shape[1] < 2
        return None if none else float(compute(o.result, o.truth))

    return metric


def _of_samples(compute: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Outcome], float | None]:
    """Return the same for a metric of the samples alone."""
    return _of_spread(lambda result, truth: compute(result.samples, truth))


def _lpips(o: Outcome) -> float | None:
    return float(lpips(o.mean, o.truth)) if min(o.truth.shape[-2:]) >= 32 else None


def _sliced_wasserstein(o: Outcome) -> float | None:
    """Distance to as many exact draws, at least 256, in posterior standard deviations of each pixel."""
    problem, samples = o.problem.to("cpu"), o.result.samples[0].cpu().double()
    known = isinstance(o.prior, GaussianPrior | StationaryGaussianPrior | MixturePrior)
    linear = isinstance(problem.operator, LinearOperator) and isinstance(problem.noise, Gaussian)
    if not (known and linear) or max(problem.measurement.numel(), samples[0].numel()) > _DENSE:
        return None
    exact = ExactPosterior(problem, o.prior)
    scale = exact.std[0].clamp(min=1e-3 * float(exact.std.max()))
    # A seed that no solver has, so the baseline `exact` is not compared with its own draws.
    drawn = exact.sample(max(256, len(samples)), seed=o.seed + 2**20)[0]
    return sliced_wasserstein(samples / scale, drawn / scale, slices=500)


_DENSE = 1024
"""Largest number of entries of image and measurement for the exact posterior; larger ones take minutes."""

METRICS: dict[str, Metric] = {
    "psnr": Metric(_psnr, "PSNR dB", "high", 2),
    "ssim": Metric(_ssim, "SSIM", "high", 3),
    "psnr_sample": Metric(_psnr_sample, "PSNR of a sample dB", "high", 2),
    "residual": Metric(_residual, "residual / noise", 1.0, 2),
    "coverage_50": Metric(_of_spread(partial(Reconstruction.coverage, level=0.5)), "in 50 % interval", 0.5, 2),
    "coverage_90": Metric(_of_spread(partial(Reconstruction.coverage, level=0.9)), "in 90 % interval", 0.9, 2),
    "crps": Metric(_of_samples(crps), "CRPS", "low", 4),
    "spread_skill": Metric(_of_samples(spread_skill_ratio), "spread / error", 1.0, 2),
    "sliced_wasserstein": Metric(_sliced_wasserstein, "distance to exact", "low", 3),
    "ssim_gaussian": Metric(_ssim_gaussian, "SSIM (11 x 11)", "high", 3, by_name_only=True),
    "lpips": Metric(_lpips, "LPIPS", "low", 3, by_name_only=True),
}
"""All metrics by name; a suite may choose some of them."""


def check_names(names: Iterable[str]) -> None:
    """Raise a ValueError, with the nearest known name, unless all metrics are known and can be computed here."""
    names = list(names)
    for name in names:
        if name not in METRICS:
            raise UserError(unknown("metric", name, METRICS))
    if "lpips" in names:
        check_lpips()


def score(outcome: Outcome, names: Iterable[str] = ()) -> dict[str, float]:
    """Return the figures of an outcome by name: the named metrics, or all that are not `by_name_only`."""
    asked = list(names) or [name for name, metric in METRICS.items() if not metric.by_name_only]
    figures = {name: METRICS[name].compute(outcome) for name in asked}
    return {name: value for name, value in figures.items() if value is not None}
