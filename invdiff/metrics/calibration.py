"""Calibration of the uncertainty of a reconstruction: samples `x_1 .. x_S` and the truth `x`, pixel by pixel.

Let `m` and `s` be the mean and standard deviation over the samples (the latter with S - 1 in its denominator). Samples
from the true posterior have, for every S,

    coverage       P(|x - m| <= t s sqrt(1 + 1/S)) = level      t the quantile of Student's t, for a normal posterior
    CRPS           E|X - x| - E|X - X'| / 2, unbiased           the least of all distributions, in the image's units
    spread, skill  E(x - m)^2 = (1 + 1/S) E s^2
    rank           how many samples lie below x: uniform on 0 .. S, for any continuous posterior

The truth and the samples are then S + 1 draws from one distribution. Each identity is corrected for finite S, so
solvers with few and with many samples are comparable.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..reconstruction import mean_and_variance
from .shapes import check_samples


def coverage_curve(samples: Tensor, ref: Tensor, levels: Sequence[float]) -> Tensor:
    """Return the coverage at several levels, `(B, len(levels))`, float64; see `coverage`.

    Args:
        samples: `(B, S, C, H, W)`, S at least 2.
        ref: true images, `(B, C, H, W)`.
        levels: probabilities of the intervals, in (0, 1).

    Raises:
        ValueError: a single sample, other shapes, or a level outside (0, 1).

    Example:
        >>> x = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1)
        >>> coverage_curve(x, torch.ones(1, 1, 1, 1), [0.1, 0.9])
        tensor([[0., 1.]], dtype=torch.float64)
    """
    draws, truth = check_samples("coverage", samples, ref)
    for level in levels:
        if not 0 < level < 1:
            raise ValueError(f"coverage: level: expected a probability in (0, 1), got {level}")
    from scipy.stats import t

    count = samples.shape[1]
    mean, variance = mean_and_variance(draws)
    unit = ((1 + 1 / count) * variance).sqrt().flatten(1)
    error = (mean - truth).abs().flatten(1)
    rows = [(error <= float(t.ppf((1 + level) / 2, count - 1)) * unit).double().mean(1) for level in levels]
    return torch.stack(rows, 1)


def coverage(samples: Tensor, ref: Tensor, *, level: float = 0.9) -> Tensor:
    """Return the fraction of pixels whose true value lies in the central interval of the samples.

    For S samples of a normal distribution with mean `m` and standard deviation `s` over the samples, the next draw lies
    in `m +- t s sqrt(1 + 1/S)` with probability `level`, where `t` is the quantile of Student's t distribution with S -
    1 degrees of freedom. So calibrated samples cover the fraction `level` of the pixels, for every S.

    Args:
        samples: `(B, S, C, H, W)`, S at least 2.
        ref: true images, `(B, C, H, W)`.
        level: probability of the interval, in (0, 1).

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: a single sample, other shapes, or a level outside (0, 1).

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> draws = torch.randn(1, 9, 1, 100, 100, generator=g)
        >>> coverage(draws[:, :8], draws[:, 8]).round(decimals=1)
        tensor([0.9000], dtype=torch.float64)
    """
    return coverage_curve(samples, ref, [level])[:, 0]


def crps(samples: Tensor, ref: Tensor) -> Tensor:
    """Return the continuous ranked probability score (CRPS), unbiased for finite S.

    The mean over the pixels of

        mean_i |x_i - x| - sum_{i < j} |x_i - x_j| / (S (S - 1))

    It generalises the absolute error to samples. Its expectation is least for draws from the true posterior. The second
    term is unbiased for every S (the "fair" score), so solvers with few and many samples are comparable.

    Args:
        samples: `(B, S, C, H, W)`, S at least 2.
        ref: true images, `(B, C, H, W)`.

    Returns:
        `(B,)`, float64, in the image's units.

    Raises:
        ValueError: a single sample, or other shapes.

    References:
        Fair scores for ensemble forecasts (Ferro, 2014), https://doi.org/10.1002/qj.2270, equation 8.

    Example:
        >>> crps(torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1), torch.full((1, 1, 1, 1), 0.5))
        tensor([0.], dtype=torch.float64)
    """
    draws, truth = check_samples("crps", samples, ref)
    count = draws.shape[1]
    error = (draws - truth[:, None]).abs().mean(1)
    # In sorted order the k-th sample is k times the larger of a pair and S - 1 - k times the smaller.
    weight = torch.arange(1 - count, count, 2, dtype=torch.float64, device=draws.device).reshape(1, -1, 1, 1, 1)
    pairs = (weight * draws.sort(1).values).sum(1)
    return (error - pairs / (count * (count - 1))).flatten(1).mean(1)


def spread_skill_ratio(samples: Tensor, ref: Tensor) -> Tensor:
    """Return the ratio of the predicted standard deviation to the error of the mean.

    Both are root mean squares over the pixels:

        sqrt((1 + 1/S) mean s^2 / mean (x - m)^2)

    The ratio is 1 for calibrated samples, below 1 for overconfident ones, and 0 for copies of one estimate.

    Args:
        samples: `(B, S, C, H, W)`, S at least 2.
        ref: true images, `(B, C, H, W)`.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: a single sample, or other shapes.

    References:
        Why Should Ensemble Spread Match the RMSE of the Ensemble Mean? (Fortin et al., 2014),
        https://doi.org/10.1175/JHM-D-14-0008.1, equation 15.

    Example:
        >>> two = torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1, 1)
        >>> spread_skill_ratio(two, torch.zeros(1, 1, 1, 1)).round(decimals=3)
        tensor([1.7320], dtype=torch.float64)
    """
    draws, truth = check_samples("spread_skill_ratio", samples, ref)
    mean, variance = mean_and_variance(draws)
    spread = (1 + 1 / draws.shape[1]) * variance.flatten(1).mean(1)
    return (spread / (mean - truth).square().flatten(1).mean(1)).sqrt()


def spread_skill_curve(samples: Tensor, ref: Tensor, *, bins: int = 10) -> tuple[Tensor, Tensor]:
    """Return the predicted standard deviation and the error of the mean, in groups of pixels of similar prediction.

    The pixels of all images are sorted by `s` and split into groups of equal size; each gives the root mean squares of
    `s sqrt(1 + 1/S)` and of `x - m`. Calibrated samples lie on the diagonal, and a rising curve means that the standard
    deviation is large where the errors are large. With few samples the lowest groups lie above the diagonal and the
    highest below it, even for calibrated samples, because sorting by `s` also sorts its sampling error.

    Args:
        samples: `(B, S, C, H, W)`, S at least 2.
        ref: true images, `(B, C, H, W)`.
        bins: number of groups, at most the number of pixels.

    Returns:
        Spread and skill, `(bins,)` each, float64, in the image's units.

    Raises:
        ValueError: a single sample, other shapes, or more groups than pixels.

    Example:
        >>> x = torch.arange(4.0).reshape(1, 2, 1, 1, 2)
        >>> spread_skill_curve(x, torch.zeros(1, 1, 1, 2), bins=2)[1]
        tensor([1., 2.], dtype=torch.float64)
    """
    draws, truth = check_samples("spread_skill_curve", samples, ref)
    if not 1 <= bins <= truth.numel():
        raise ValueError(f"spread_skill_curve: bins: expected 1 to {truth.numel()}, the number of pixels, got {bins}")
    mean, variance = mean_and_variance(draws)
    variance = (1 + 1 / draws.shape[1]) * variance.flatten()
    error = (mean - truth).square().flatten()
    order = variance.argsort(stable=True)
    groups = order.tensor_split(bins)
    spread, skill = (torch.stack([v[g].mean().sqrt() for g in groups]) for v in (variance, error))
    return spread, skill


def rank_histogram(samples: Tensor, ref: Tensor) -> Tensor:
    """Return the frequency of each rank of the truth among the samples.

    Calibrated samples give a flat histogram, overconfident ones a U, underconfident ones a hill, a bias a slope. Where
    the truth equals some samples, as in clipped pixels, its count is split equally over its possible ranks.

    Args:
        samples: `(B, S, C, H, W)`, S at least 2.
        ref: true images, `(B, C, H, W)`.

    Returns:
        Fraction of the pixels with rank 0 .. S, `(B, S + 1)`, float64; each row sums to 1.

    Raises:
        ValueError: a single sample, or other shapes.

    References:
        Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Talts et al., 2018),
        https://arxiv.org/abs/1804.06788.

    Example:
        >>> rank_histogram(torch.tensor([0.2, 0.4, 0.6]).reshape(1, 3, 1, 1, 1), torch.full((1, 1, 1, 1), 0.5))
        tensor([[0., 0., 1., 0.]], dtype=torch.float64)
    """
    draws, truth = check_samples("rank_histogram", samples, ref)
    below = (draws < truth[:, None]).sum(1).flatten(1)
    ties = (draws == truth[:, None]).sum(1).flatten(1)
    # Each pixel adds its share to its lowest to highest rank: as differences, whose cumulative sum follows.
    share = 1 / (ties + 1).double() / below.shape[1]
    steps = torch.zeros(len(draws), draws.shape[1] + 2, dtype=torch.float64, device=draws.device)
    steps.scatter_add_(1, below, share).scatter_add_(1, below + ties + 1, -share)
    return steps.cumsum(1)[:, :-1]
