"""Estimating the noise level at which a denoiser has the least error, and the error that it predicts.

On `x = x_0 + sigma n`, the squared error `E |D(x, r sigma) - x_0|^2` of a posterior mean is least at `r = 1`, for every
distribution of `x_0`. With `D' = dD / d log r` at `r = 1`, by central differences, the least squares step

    delta = sum_i <x_0 - D, D'>_i / sum_i <D', D'>_i,        r = exp(delta),

over images `i` has mean 0 for a posterior mean, because the error is orthogonal to every function of `x`. Its standard
error follows from the spread of the terms of the images. Far from 1, where the step is not valid, `r` is the minimum of
a parabola through the logarithm of the error at the three best of the ratios `2^(k/2)`.

By Tweedie's second formula the error that a denoiser predicts is `sigma^2 div D`. It is estimated with one vector `b`
of random signs for each image, `div D = E b^T (D(x + h b) - D(x)) / h` (Hutchinson).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Denoise = Callable[[Tensor, float], Tensor]

STEP = 0.1
FARTHEST = 4
"""The ratios are `2^(-FARTHEST/2)` to `2^(FARTHEST/2)`."""


@dataclass(frozen=True)
class Reading:
    """The measured values at one noise level.

    Attributes:
        sigma: the level that was added.
        noise: root mean square of the drawn noise, the error of the noisy image.
        error: root mean square of `D(x, sigma) - x_0`.
        expected: the error that the denoiser predicts, the root of `sigma^2 div D / d`; NaN if that is negative.
        best_ratio: the multiple of `sigma` at which the error is least.
        uncertainty: standard error of `log best_ratio`.
        gain: decibels by which the error at `best_ratio` lies below that at 1.
        certainty: standard errors of the gain if `best_ratio` is far from 1; else 0, and `uncertainty` suffices.
        noisy: the first image with its noise, `(C, H, W)`.
        denoised: the same image denoised.
    """

    sigma: float
    noise: float
    error: float
    expected: float
    best_ratio: float
    uncertainty: float
    gain: float
    certainty: float
    noisy: Tensor
    denoised: Tensor


@torch.no_grad()
def read_levels(denoise: Denoise, images: Tensor, sigmas: list[float], generator: torch.Generator) -> Iterator[Reading]:
    """Yield a reading for each noise level.

    Args:
        denoise: the denoiser.
        images: clean images, `(B, C, H, W)`, at least two.
        sigmas: noise levels.
        generator: draws noise and directions.
    """
    for sigma in sigmas:
        n, b = (torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device) for _ in range(2))
        x, b = images + sigma * n, b.sign()
        d = denoise(x, sigma)
        h = 0.03 * sigma
        divergence = float((b * (denoise(x + h * b, sigma) - d)).double().mean()) / h
        best_ratio, uncertainty, gain, certainty = best_level(denoise, images, x, sigma, d)
        yield Reading(
            sigma=sigma,
            noise=float((x - images).double().square().mean().sqrt()),
            error=float((d - images).double().square().mean().sqrt()),
            expected=sigma * math.sqrt(divergence) if divergence >= 0 else math.nan,
            best_ratio=best_ratio,
            uncertainty=uncertainty,
            gain=gain,
            certainty=certainty,
            noisy=x[0].cpu(),
            denoised=d[0].cpu(),
        )


def best_level(
    denoise: Denoise, clean: Tensor, x: Tensor, sigma: float, d: Tensor
) -> tuple[float, float, float, float]:
    """Return the ratio `r`, the standard error of `log r`, the gain in dB over `r = 1`, and its certainty.

    Args:
        denoise: the denoiser.
        clean: `x_0`, `(B, C, H, W)`.
        x: `x_0 + sigma n`.
        sigma: the level that was added.
        d: `denoise(x, sigma)`.
    """
    errors = {0: squared_error(d, clean)}

    def error(k: int) -> float:
        if k not in errors:
            errors[k] = squared_error(denoise(x, sigma * 2 ** (k / 2)), clean)
        total = float(errors[k].sum())
        return total if math.isfinite(total) else math.inf

    k = min((-1, 0, 1), key=error)
    while 0 < abs(k) < FARTHEST and error(k + (1 if k > 0 else -1)) < error(k):
        k += 1 if k > 0 else -1
    if k == 0:
        return *_near_one(denoise, clean, x, sigma, d, float(errors[0].sum())), 0.0
    gain = 10 * math.log10(max(error(0), 1e-300) / max(error(k), 1e-300))
    # Where the level hardly matters, the best one is random; its certainty is that of its gain. The share of each image
    # in the logarithm of the ratio of errors is e_i / sum e - f_i / sum f; a large error of both, as from many edges,
    # adds no uncertainty.
    given, best = errors[0].double(), errors[k].double()
    spread = float((given / given.sum() - best / best.sum()).square().sum().sqrt())
    certainty = float((given.sum() / best.sum()).log()) / max(spread, 1e-12)
    half = math.log(2) / 2
    doubt = abs(k) * half / max(certainty, 1e-12)
    if abs(k) == FARTHEST:
        return 2 ** (k / 2), doubt, gain, certainty
    table = torch.stack([errors[j] for j in (k - 1, k, k + 1)]).double()
    left_out = torch.tensor([_bottom((table.sum(1) - table[:, i]).log()) for i in range(table.shape[1])])
    count = len(left_out)
    # The jackknife: the spread of the results with one image left out.
    uncertainty = math.sqrt((count - 1) / count * float((left_out - left_out.mean()).square().sum()))
    return math.exp(half * (k + _bottom(table.sum(1).log()))), max(doubt, half * uncertainty), gain, certainty


def _near_one(
    denoise: Denoise, clean: Tensor, x: Tensor, sigma: float, d: Tensor, total: float
) -> tuple[float, float, float]:
    slope = (denoise(x, sigma * math.exp(STEP)) - denoise(x, sigma * math.exp(-STEP))) / (2 * STEP)
    along = ((clean - d) * slope).double().flatten(1).mean(1)
    power = slope.double().square().flatten(1).mean(1)
    if not float(power.sum()) > 0:
        return 1.0, math.inf, 0.0  # it does not depend on the level
    delta = float(along.sum() / power.sum())
    uncertainty = float((along - delta * power).square().sum().sqrt() / power.sum())
    delta = min(max(delta, -math.log(2) / 2), math.log(2) / 2)
    drop = (2 * delta * float(along.sum()) - delta**2 * float(power.sum())) / max(total, 1e-300)
    return math.exp(delta), uncertainty, -10 * math.log10(max(1 - drop, 1e-3))


def _bottom(three: Tensor) -> float:
    """Return the minimum in [-1, 1] of the parabola through values at -1, 0, 1."""
    low, middle, high = three.tolist()
    bend = low - 2 * middle + high
    return 0.0 if not bend > 0 else min(max((low - high) / (2 * bend), -1.0), 1.0)


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference of each image, `(B,)`, float64."""
    return (a - b).double().square().flatten(1).mean(1)
