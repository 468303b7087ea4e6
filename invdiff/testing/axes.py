"""The direction in which samples are most wrong, and the modes that they are in.

For the exact covariance `C = V diag(w) V^T` of one image's posterior and the covariance `S` of its n samples about
their own mean, the variance ratios along the principal axes are

    r_i = (v_i^T S v_i + e) / (w_i + e),     e = 1e-8 max w,

and the worst of them is the one with the largest `|log r_i|`: half the variance counts as much as twice. The mean over
pixels hides such a direction, since it is dominated by the directions with much variance. With `e`, directions in which
the posterior has no variance count if the samples spread there by more than 1e-4 of the largest deviation.

Chance. Exact samples of a Gaussian have independent `r_i`, each distributed as chi-square with n - 1 degrees of freedom
over n - 1, so with d axes all of them lie, with probability p, between its quantiles at `(1 -+ p^(1/d)) / 2`. Particles
of one set are not independent, and their ratios spread more than that.

Two other figures were considered. The generalised eigenvalues of `(S, C)` are the extremes over all directions, not
over the axes only. For exact samples they fill `(1 -+ sqrt(d/n))^2`, for d = 64 and n = 200 from 0.19 to 2.45, so that
half the variance in one direction passes unseen there; along the axes the range is 0.66 to 1.42. The second moment
about the exact mean has one degree of freedom more, which is nothing at n = 200, but an error of the mean counts in it
as variance. The mean has a figure of its own beside this one, so the covariance about the samples' own mean is taken.
"""

from __future__ import annotations

import math

import torch
from scipy.special import chdtri
from torch import Tensor

from ..priors import MixturePrior

LEAST = 1e-8
"""The variance `e`, as a fraction of the largest along the axes."""
LIKELY = 0.99
"""Probability of the range of chance."""


def axis_ratios(samples: Tensor, covariance: Tensor) -> Tensor:
    """Return the variance ratios `r_i` along the principal axes of the exact posterior, `(B, d)`.

    Args:
        samples: `(B, S, C, H, W)`, at least two of each image.
        covariance: exact covariance of the posterior, `(B, d, d)`.

    Example:
        >>> x = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]).reshape(1, 4, 1, 1, 2)
        >>> axis_ratios(x, torch.diag(torch.tensor([4 / 3, 1 / 3]))[None]).sort().values.round(decimals=3)
        tensor([[1., 4.]], dtype=torch.float64)
    """
    c = covariance.double()
    w, v = torch.linalg.eigh((c + c.mT) / 2)
    along = samples.double().flatten(2) @ v
    least = LEAST * w[:, -1:]
    ratios: Tensor = (along.var(1) + least) / (w.clamp(min=0) + least)
    return ratios


def worst_ratio(ratios: Tensor) -> float:
    """Return the ratio with the largest `|log r|`; NaN if one is NaN.

    Args:
        ratios: of any shape, not negative.

    Example:
        >>> worst_ratio(torch.tensor([0.9, 1.5, 0.5]))
        0.5
    """
    flat = ratios.flatten()
    return float(flat[int(flat.log().abs().argmax())])  # argmax takes a NaN for the largest


def chance_range(samples: int, axes: int, probability: float = LIKELY) -> tuple[float, float]:
    """Return the range in which all ratios of exact samples lie with a probability.

    Args:
        samples: number of independent samples of each image, at least 2.
        axes: number of ratios, over all axes and images.
        probability: in (0, 1).

    Example:
        >>> tuple(round(end, 2) for end in chance_range(200, 64))
        (0.66, 1.42)
    """
    n = samples - 1
    tail = -math.expm1(math.log(probability) / axes) / 2
    return float(chdtri(n, 1 - tail)) / n, float(chdtri(n, tail)) / n


def mode_overlap(samples: Tensor, prior: MixturePrior, weights: Tensor) -> float:
    """Return the share of the samples that are in the right modes, in the right numbers.

    With `q_k` the share of the samples whose most probable component is k, and `w_k` the exact weights, it is one less
    their distance in total variation,

        sum_k min(q_k, w_k) = 1 - 1/2 sum_k |q_k - w_k|,

    averaged over the images.

    Args:
        samples: `(B, S, C, H, W)`.
        prior: the mixture, whose components are far apart.
        weights: exact posterior weights of the components, `(B, K)`.

    Example:
        >>> prior = MixturePrior(torch.ones(2), torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1), 0.01)
        >>> samples = torch.tensor([-1.1, 0.9, 1.0, 1.2]).reshape(1, 4, 1, 1, 1)
        >>> round(mode_overlap(samples, prior, torch.tensor([[0.5, 0.5]])), 2)
        0.75
    """
    b, s = samples.shape[:2]
    k = weights.shape[1]
    chosen = prior.responsibilities(samples.double().flatten(0, 1)).argmax(1).reshape(b, s)
    share = torch.nn.functional.one_hot(chosen, k).double().mean(1)
    return float(torch.minimum(share, weights).sum(1).mean())
