"""Arithmetic of particle methods: weights, resampling, and transitions tilted by Gaussian potentials.

P particles `x_j` with unnormalised weights `w_j` represent the distribution `sum_j W_j delta(x_j)`, where `W_j = w_j /
sum_k w_k`. Weights are kept as logarithms in float64, `(N, P)`, with a row for each of N sets of particles.

    ESS = 1 / sum_j W_j^2                     effective sample size
    resampling: indices `i_1, ..., i_P` such that `E #{k : i_k = j} = P W_j`

For a transition `N(m, s^2 I)` in the basis `V` of singular vectors, and potentials `N(a_i; (V^T x)_i, g_i^2)` on some
of the coefficients, the tilted transition and its normalising constant are again Gaussian:

    K_i = s^2 / (s^2 + g_i^2)
    (V^T x)_i ~ N(K_i a_i + (1 - K_i) (V^T m)_i,  K_i g_i^2),       log w = sum_i log N(a_i; (V^T m)_i, s^2 + g_i^2)

and the orthogonal complement of those coefficients is drawn from `N(m, s^2 I)`, without a basis of the complement.

References:
    An Introduction to Sequential Monte Carlo (Chopin, Papaspiliopoulos, 2020),
    https://doi.org/10.1007/978-3-030-47845-2, chapter 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ...checks import check_count
from ...noise import Gaussian
from ...operators.base import Spectrum
from ...priors.base import Prior
from ...problem import Problem
from ...schedules import SPACINGS, geometric_levels
from ...specs import Choices
from ..base import BATCH_VALUES
from ..iterative import IterativeSolver
from .guidance import image_scale
from .levels import level_range
from .run import Run
from .singular import squared

Resampling: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""`(weights, uniforms)`, both `(N, P)` and float64, to the indices of the resampled particles, `(N, P)`."""


def normalized(log_weights: Tensor) -> Tensor:
    """Return the weights `W`, `(N, P)`, float64; equal ones for a row with all weights zero.

    Args:
        log_weights: unnormalised, `(N, P)`; NaN counts as weight zero.
    """
    log_w = log_weights.double().nan_to_num(nan=-math.inf, posinf=math.inf)
    top = log_w.amax(1, keepdim=True)
    # Infinite weights share the total weight equally.
    scaled = torch.where(log_w == top, 0.0, torch.where(top.isfinite(), log_w - top, -math.inf))
    return scaled.softmax(1)


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """Return `1 / sum_j W_j^2` of each row, in [1, P], `(N,)`.

    Example:
        >>> effective_sample_size(torch.zeros(1, 8))
        tensor([8.], dtype=torch.float64)
    """
    return 1 / normalized(log_weights).square().sum(1)


def log_mean(log_weights: Tensor) -> Tensor:
    """Return `log(1/P sum_j w_j)` of each row, `(N,)`, float64: one factor of the evidence."""
    return log_weights.double().logsumexp(1) - math.log(log_weights.shape[1])


def multinomial(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Draw every index independently, `(N, P)`: the variance of `#{i = j}` is `P W_j (1 - W_j)`."""
    return _invert(weights, uniforms)


def stratified(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one index in each of P equal strata of the distribution function, `(N, P)`."""
    p = weights.shape[1]
    return _invert(weights, (torch.arange(p, device=weights.device) + uniforms) / p)


def systematic(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Draw indices on a grid with one random offset, `(N, P)`: floor or ceil `P W_j` copies of particle j.

    For equal weights the particles stay unchanged.
    """
    p = weights.shape[1]
    return _invert(weights, (torch.arange(p, device=weights.device) + uniforms[:, :1]) / p)


def residual(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Keep `floor(P W_j)` copies of particle j and draw the others independently by the remaining weights, `(N, P)`."""
    p = weights.shape[1]
    # P W_j is often an integer up to rounding, and that copy must not be lost.
    copies = (p * weights + 1e-9).floor()
    slots = torch.arange(p, device=weights.device, dtype=weights.dtype).expand_as(weights)
    total = copies.cumsum(1)
    kept = torch.searchsorted(total, slots.contiguous(), right=True).clamp(max=p - 1)
    rest = (p * weights - copies).clamp(min=0)
    rest = torch.where(rest.sum(1, keepdim=True) > 0, rest, 1.0)
    drawn = _invert(rest / rest.sum(1, keepdim=True), uniforms)
    return torch.where(slots < total[:, -1:], kept, drawn)


def _invert(weights: Tensor, u: Tensor) -> Tensor:
    """Return the index where the distribution function first exceeds `u`; particles of weight 0 are never chosen."""
    cdf = weights.cumsum(1)
    cdf = cdf / cdf[:, -1:]
    index = torch.searchsorted(cdf, u.to(cdf).contiguous(), right=True)
    last = (weights > 0).double().cumsum(1).argmax(1, keepdim=True)  # u may be above the last step by rounding
    return torch.minimum(index, last)


@dataclass(frozen=True, kw_only=True)
class ParticleSolver(IterativeSolver):
    """A solver with sets of particles along the noise levels; a row of its runs is one set.

    Attributes:
        steps: noise levels T.
        particles: P, in each set.
        resample: method of resampling.
    """

    choices: ClassVar[Choices] = {
        "resample": {f.__name__: f for f in (multinomial, stratified, systematic, residual)},
        "spacing": SPACINGS,
    }

    steps: int = 100
    particles: int = 16
    resample: Resampling = systematic

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_count(self, "particles")

    @property
    def samples_per_row(self) -> int:
        """The number of particles."""
        return self.particles

    @property
    def evaluations(self) -> int:
        """One evaluation for each particle and level."""
        return self.steps * self.particles

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels in geometric progression, over the range of DDPM's chain, and below the noise of the data."""
        return geometric_levels(self.steps, *level_range(prior, problem, lowest_share(self.steps)))

    def replicate(self, c: Tensor) -> Tensor:
        """Return P copies of each image, `(N, C, H, W)` to `(N, P, C, H, W)`."""
        return c[:, None].expand(-1, self.particles, *c.shape[1:])


def lowest_share(steps: int) -> float:
    """Return the lowest level of a filter, as a fraction of the data's noise; it decreases with the number of levels.

    The error of the last level, the square of the fraction, then decreases faster than the error of the transitions.
    """
    return min(0.3, 10 / steps)


def survivors(run: Run, log_weights: Tensor, resample: Resampling) -> Tensor:
    """Return the indices of the resampled particles, `(N, P)`, and record the effective sample size."""
    run.record("effective_sample_size", effective_sample_size(log_weights))
    u = run.streams.rand(torch.empty(log_weights.shape, dtype=torch.float64, device=log_weights.device))
    return resample(normalized(log_weights), u)


def select(x: Tensor, index: Tensor) -> Tensor:
    """Return the particles `x[n, index[n, j]]`, like `x`, `(N, P, ...)`."""
    return x[torch.arange(len(x), device=x.device)[:, None], index]


def flat(x: Tensor) -> Tensor:
    """Return particles `(N, P, ...)` as one batch, `(N P, ...)`."""
    return x.flatten(0, 1)


def denoise(run: Run, x: Tensor, sigma: float) -> Tensor:
    """Return `E[x_0 | x_sigma = x]` of all particles, `(N, P, C, H, W)`, in chunks that fit."""
    parts = [run.denoise(part, sigma) for part in torch.split(flat(x), chunk(x))]
    return torch.cat(parts).reshape(x.shape) if parts else x


Triple: TypeAlias = tuple[Tensor, Tensor, Tensor]


def in_chunks(x: Tensor, function: Callable[[list[int], Tensor], Triple]) -> Triple:
    """Apply a function to all particles, in chunks that fit.

    Args:
        x: particles, `(N, P, C, H, W)`.
        function: from the row indices of n particles, and the particles, `(n, C, H, W)`, to two tensors like them and
            one of shape `(n,)`.

    Returns:
        `(N, P, C, H, W)` twice, and `(N, P)` in float64.
    """
    size = chunk(x)
    rows = torch.arange(len(x)).repeat_interleave(x.shape[1])
    parts = [
        function(index.tolist(), part)
        for part, index in zip(torch.split(flat(x), size), torch.split(rows, size), strict=True)
    ]
    a, b, value = (torch.cat(list(column)) for column in zip(*parts, strict=True))
    return a.reshape(x.shape), b.reshape(x.shape), value.double().reshape(x.shape[:2])


def map_chunks(function: Callable[..., Tensor], x: Tensor, *more: Tensor) -> Tensor:
    """Apply a function to all particles, as many at once as fit.

    Args:
        function: its arguments are the rows of n particles, the particles `(n, C, H, W)`, and the same part of each
            tensor of `more`; its value has the shape of the particles.
        x: particles, `(N, P, C, H, W)`.
        more: further tensors with one entry for each particle, `(N, P, ...)`.
    """
    size = chunk(x)
    rows = torch.arange(len(x)).repeat_interleave(x.shape[1])
    columns = zip(*(torch.split(flat(v), size) for v in (x, *more)), strict=True)
    parts = [function(i.tolist(), *column) for i, column in zip(torch.split(rows, size), columns, strict=True)]
    return torch.cat(parts).reshape(x.shape)


def log_likelihood(run: Run, x: Tensor, std: float) -> Tensor:
    """Return `log N(y; A(x), std^2 I)` of all particles, `(N, P)`, float64, over the observed entries."""
    rows = torch.arange(len(x)).repeat_interleave(x.shape[1])
    problem = replace(run.problem[rows.tolist()], noise=Gaussian(std))
    return problem.log_likelihood(flat(x)).double().reshape(x.shape[:2])


def chunk(x: Tensor) -> int:
    """Return the number of particles of `x` that are processed at once."""
    return max(1, BATCH_VALUES // max(1, math.prod(x.shape[2:])))


def coefficients(spectrum: Spectrum, x: Tensor) -> Tensor:
    """Return `V^T x` of all particles, `(N, P, *coefficients)`."""
    z = spectrum.Vt(flat(x))
    return z.reshape(*x.shape[:2], *z.shape[1:])


def log_potential(z: Tensor, a: Tensor, variance: Tensor) -> Tensor:
    """Return `sum_i log N(a_i; z_i, variance_i)`, `(N, P)`, float64; entries of infinite variance do not count.

    Args:
        z: coefficients of the particles, `(N, P, *coefficients)`.
        a: data, `(N, *coefficients)`.
        variance: `(*coefficients)`, `(N, *coefficients)`, or broadcastable to them, float64.
    """
    variance = variance if variance.ndim == a.ndim else variance[None]
    repeated = a[0].numel() / max(1, variance[0].numel())
    constant = repeated * (2 * math.pi * variance).log_().nan_to_num_(posinf=0.0).flatten(1).sum(1, keepdim=True)
    weighted = (
        (a[:, None] - z).square_().mul_(rowwise(1 / variance, z))
    )  # the sum is in float64, because rounding errors add up
    return -0.5 * (weighted.flatten(2).sum(2, dtype=torch.float64) + constant)


def rowwise(value: Tensor, z: Tensor) -> Tensor:
    """Return values `(*coefficients)`, or with a row for each set, in a shape for products with `z`."""
    return (value[:, None] if value.ndim == z.ndim - 1 else value).to(z)


def tilted_draw(
    spectrum: Spectrum, mean: Tensor, z: Tensor, s: float | Tensor, a: Tensor, variance: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Draw from the transition `N(m, s^2 I)` tilted by the potentials `N(a_i; (V^T x)_i, g_i^2)`.

    Args:
        spectrum: whose `V` gives the coefficients.
        mean: `m`, `(N, P, C, H, W)`.
        z: `V^T m`, `(N, P, *coefficients)`.
        s: standard deviation of the transition, a number or one for each set, `(N,)`, float64.
        a: centres of the potentials, `(N, *coefficients)`.
        variance: `g^2`, like those of `log_potential`; infinite without a potential.
        noise: standard normal, like `mean`.

    Returns:
        The draw, like `mean`, and its coefficients, like `z`.
    """
    wide = image_scale(s, a) if isinstance(s, Tensor) else s
    gain = 1 / (1 + variance / wide**2)  # 0 without a potential, and exactly 1 for data without noise
    # V^T noise is standard normal, so a tilted coefficient reuses the noise of the original one.
    e = coefficients(spectrum, noise)
    x, after = _noised(mean, noise, s), _noised(z, e, s)
    if gain.numel() == 0 or float(gain.max()) == 0:
        return x, after
    spread = (1 - gain).sqrt_().sub_(1).mul_(wide)  # g s / sqrt(s^2 + g^2) - s
    change = (a[:, None] - z).mul_(rowwise(gain, z)).addcmul_(rowwise(spread, z), e)
    return x.add_(spectrum.V(flat(change)).reshape(mean.shape)), after.add_(change)


def _noised(x: Tensor, noise: Tensor, s: float | Tensor) -> Tensor:
    """Return `x + s n`, where `s` is a number or one for each set."""
    return torch.addcmul(x, image_scale(s, x), noise) if isinstance(s, Tensor) else torch.add(x, noise, alpha=s)


def log_outside(run: Run, spectrum: Spectrum, tau: Tensor) -> Tensor:
    """Return the difference of `log p(y)` and `log p(a)`, `(N,)`: the change of variables, and noise out of range.

    With noise zero, entries outside of the operator's range have no density and are omitted.
    """
    noise = run.problem.noise
    assert isinstance(noise, Gaussian)
    y = run.problem.measurement
    seen = tau.isfinite().expand(spectrum.s.shape)
    log_s = torch.where(seen, spectrum.s.to(tau).clamp(min=1e-300).log(), 0.0).sum()
    out = -log_s.expand(len(y))
    rest = run.problem.observations - int(seen.sum())
    if rest > 0 and noise.std > 0:
        data = run.singular
        assert data is not None
        left = (squared(y) - squared(data.d * data.seen.to(y))).clamp(min=0)
        out = out - 0.5 * (left / noise.std**2 + rest * math.log(2 * math.pi * noise.std**2))
    return out


def with_levels(levels: Tensor, wanted: Tensor) -> Tensor:
    """Return decreasing `levels`, with those nearest to the `wanted` ones, on a logarithmic scale, moved there.

    The ends are kept. If more than half of the levels would move, none does.

    Args:
        levels: `(T + 1,)`, the last one 0.
        wanted: any number of levels; those out of range are ignored.
    """
    inner = levels[1:-2].clone()
    values = np.unique(wanted.cpu().numpy())
    near = [float(v) for v in values[(values > float(levels[-2])) & (values < float(levels[0]))]] if len(inner) else []
    if not 0 < len(near) <= len(inner) / 2:
        return levels
    free = torch.ones_like(inner, dtype=torch.bool)
    for value in near:
        k = torch.where(free, (inner / value).log().abs(), math.inf).argmin()
        inner[k], free[k] = value, False
    return torch.cat([levels[:1], inner.sort(descending=True).values, levels[-2:]])


def levels_below(tau: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Return the highest level at or below each finite `tau`, float64; infinity stays."""
    grid = torch.tensor(sorted({*levels, 0.0}), dtype=torch.float64, device=tau.device)
    own = grid[torch.bucketize(tau * (1 + 1e-9), grid, right=True) - 1]
    return torch.where(tau.isfinite(), own, math.inf)


def on_levels(tau: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Return each positive, finite `tau` rounded to the nearest positive level on a logarithmic scale, float64.

    Zero stays zero. Values above the highest level become infinite, because such data are never used.
    """
    grid = torch.tensor([v for v in levels if v > 0], dtype=torch.float64, device=tau.device).flip(0)
    cuts = (grid[1:] * grid[:-1]).sqrt()
    rounded = grid[torch.bucketize(tau, cuts)] if len(grid) else tau
    return torch.where(tau == 0, 0.0, torch.where(tau <= levels[0], rounded, math.inf))
