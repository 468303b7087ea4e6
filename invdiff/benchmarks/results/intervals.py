"""Statistics of a table of measurements: means with intervals, paired tests between solvers, ranks.

Several seeds on one image are not independent, so the image is the statistical unit. With `v_ij` the value on image i
with seed j, K images drawn with replacement (their multiplicities `w_i` sum to K) give

    mean* = sum_i w_i sum_j v_ij / sum_i w_i n_i                                        (cluster bootstrap)

and the interval has its quantiles at `Phi(-+ sqrt(K / (K - 1)) t)`, with the quantile `t` of Student's t distribution
with K - 1 degrees of freedom at the given level. Plain percentiles have the normal quantile instead of `t`, and no
factor; they are too narrow, by a third for five images.

Two solvers are compared on the images and seeds that both have, by the differences of their values: the same bootstrap,
Wilcoxon's signed ranks and the sign test on the means over each image's seeds.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
RESAMPLES = 4000


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval.

    Attributes:
        mean: over all values.
        low: lower end of the interval; NaN for a single image, which has no interval.
        high: upper end.
        count: number of values.
        images: number of images.
    """

    mean: float
    low: float
    high: float
    count: int
    images: int


@dataclass(frozen=True)
class Comparison:
    """The comparison of solver a with solver b on the same images and seeds.

    Attributes:
        difference: mean of `a - b`, with its interval.
        bootstrap: two-sided p-value of the paired bootstrap; too small for few images.
        wilcoxon: two-sided p-value of Wilcoxon's signed ranks over the images; at least `2 ** (1 - K)` for K images.
        sign: two-sided p-value of the sign test over the images.
    """

    difference: Estimate
    bootstrap: float
    wilcoxon: float
    sign: float


def mean_interval(
    values: Sequence[float],
    images: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the mean with a bootstrap interval, clustered by image.

    Args:
        values: one for each measurement, finite.
        images: the image of each.
        level: probability that the interval covers the mean over all images of that kind.
        resamples: number of draws of the images with replacement.
        seed: of these draws.

    Raises:
        ValueError: no values, NaN, a different number of images, or a level outside (0, 1).

    References:
        What Teachers Should Know About the Bootstrap (Hesterberg, 2015), https://arxiv.org/abs/1411.5279, section 5.3.

    Example:
        >>> mean_interval([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "b"])
        Estimate(mean=2.5, low=1.5, high=3.5, count=4, images=2)
    """
    if not 0 < level < 1:
        raise ValueError(f"mean_interval: level: expected a probability in (0, 1), got {level}")
    sums, counts = _by_image(values, images)
    k = len(sums)
    mean = float(sums.sum() / counts.sum())
    if k == 1:
        return Estimate(mean, math.nan, math.nan, len(values), 1)
    draws = _resample(sums, counts, resamples, seed)
    z = math.sqrt(k / (k - 1)) * stats.t.ppf((1 + level) / 2, k - 1)
    low, high = (float(np.quantile(draws, stats.norm.cdf(side * z))) for side in (-1, 1))
    return Estimate(mean, low, high, len(values), k)


def compare(
    a: Mapping[tuple[str, int], float],
    b: Mapping[tuple[str, int], float],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two solvers by their values for each image and seed that both have.

    Args:
        a: values of the first solver, by image and seed.
        b: values of the second one.
        level: of the difference's interval.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: no common image and seed.

    Example:
        >>> a = {(image, 0): 20.0 + image for image in range(8)}
        >>> compare(a, {key: value - 1 for key, value in a.items()}).wilcoxon == 2 / 2**8
        True
    """
    common = [key for key in a if key in b]
    if not common:
        raise ValueError("compare: a, b: expected values for the same images and seeds, got none in common")
    values, images = [a[key] - b[key] for key in common], [key[0] for key in common]
    difference = mean_interval(values, images, level=level, resamples=resamples, seed=seed)
    sums, counts = _by_image(values, images)
    means = sums / counts
    if not means.any():
        return Comparison(difference, 1.0, 1.0, 1.0)
    draws = _resample(sums, counts, resamples, seed)
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    bootstrap = min(1.0, 2 * (int(tail) + 1) / (resamples + 1)) if len(means) > 1 else 1.0
    nonzero = means[means != 0]
    wilcoxon = float(stats.wilcoxon(nonzero, method="exact" if len(nonzero) <= 50 else "auto").pvalue)
    sign = float(stats.binomtest(int((nonzero > 0).sum()), len(nonzero)).pvalue)
    return Comparison(difference, bootstrap, wilcoxon, sign)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number: the probability of any false positive stays below the level.

    References:
        A Simple Sequentially Rejective Multiple Test Procedure (Holm, 1979), https://www.jstor.org/stable/4615733.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    out, running = [0.0] * len(p), 0.0
    for place, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        running = max(running, min(1.0, (len(p) - place) * p[i]))
        out[i] = running
    return out


def ranks(scores: Mapping[str, Mapping[str, float]], *, higher_is_better: bool = True) -> dict[str, dict[str, float]]:
    """Return the rank of each solver in each task, 1 the best; equal scores share the mean of their ranks.

    Args:
        scores: by task and solver; a solver that did not do a task is not in it.
        higher_is_better: whether a high score is good.

    Returns:
        Ranks by solver and task.

    Example:
        >>> ranks({"blur": {"dps": 25.0, "ddrm": 27.0}})
        {'dps': {'blur': 2.0}, 'ddrm': {'blur': 1.0}}
    """
    out: dict[str, dict[str, float]] = {}
    for task, by_solver in scores.items():
        values = np.array(list(by_solver.values()))
        for solver, rank in zip(by_solver, stats.rankdata(-values if higher_is_better else values), strict=True):
            out.setdefault(solver, {})[task] = float(rank)
    return out


def _by_image(values: Sequence[float], images: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Return the sum and the number of the values of each image."""
    array = np.asarray(values, dtype=np.float64)
    if not len(array) or len(array) != len(images) or np.isnan(array).any():
        raise ValueError(
            f"mean_interval: values: expected numbers, one for each of {len(images)} measurements, got {len(array)}"
            + (f", {int(np.isnan(array).sum())} of them NaN" if np.isnan(array).any() else "")
        )
    index: dict[Hashable, int] = {}
    at = np.array([index.setdefault(image, len(index)) for image in images])
    return np.bincount(at, array).astype(np.float64), np.bincount(at).astype(np.float64)


def _resample(sums: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    """Return the means over images drawn with replacement, `(resamples,)`."""
    k = len(sums)
    weights = np.random.default_rng(seed).multinomial(k, np.full(k, 1 / k), size=resamples)
    out: Floats = (weights @ sums) / (weights @ counts)
    return out
