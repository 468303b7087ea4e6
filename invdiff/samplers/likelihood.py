"""Likelihoods along the probability flow.

The flow `dx / dl = x - D(x, sigma)`, `l = log sigma`, transports `p_sigma` in both directions, and along its path

    d log p_sigma(x) / dl = -div(x - D(x, sigma)) = -(d - tr J_D(x)),

so that, with the image `x` at the lowest level and the flow's end `x_T` at the highest one,

    log p_sigma_min(x) = log N(x_T; c, (sigma_max^2 + std^2) I) + int (d - tr J_D) dl,

where `c` is the denoiser's estimate of the prior's mean at `sigma_max`. The trace is exact, by `d` vector-Jacobian
products, or Hutchinson's estimate, the mean of `v^T J_D v` over random signs `v` that are kept along the path. In bits
per dimension, for images of `K` grey levels, each a bin of width `1 / K` in [0, 1]: `-log p(x) / (d log 2) + log2 K`.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_count
from ..errors import UserError
from ..priors.base import Prior
from ..streams import Streams, generator

Map = Callable[[Tensor], Tensor]
Traced = Callable[[Map, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LogProb:
    """A likelihood and its standard error.

    Attributes:
        nats: `log p(x)` of each image, density with respect to intensities in [0, 1], `(B,)`, float64.
        bits_per_dim: the same in bits per dimension, `(B,)`.
        standard_error: of `nats`, from the spread of the probes; 0 for the exact trace, NaN for a single probe, `(B,)`.
        nfe: evaluations of the denoiser for one image, without vector-Jacobian products.
    """

    nats: Tensor
    bits_per_dim: Tensor
    standard_error: Tensor
    nfe: int


class Trace(abc.ABC):
    """A method for the trace of a Jacobian."""

    @abc.abstractmethod
    def bind(self, x: Tensor) -> Traced:
        """Return a function from a map and a point to the map's value and its traces, `(B, probes)`, along one path.

        Args:
            x: the beginning of the path, `(B, C, H, W)`.
        """


@dataclass(frozen=True)
class ExactTrace(Trace):
    """The exact trace, by one vector-Jacobian product for each pixel; for small images.

    Example:
        >>> value, trace = ExactTrace().bind(torch.ones(1, 2))(lambda x: 3 * x, torch.ones(1, 2))
        >>> trace.tolist()
        [[6.0]]
    """

    def bind(self, x: Tensor) -> Traced:
        """Return the exact trace, `(B, 1)`."""
        return exact_trace


def exact_trace(function: Map, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `function(x)` and the trace of each row's Jacobian, `(B, 1)`."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        value = function(leaf)
        flat = value.flatten(1)
        trace = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for k in range(flat.shape[1]):
            (row,) = torch.autograd.grad(flat[:, k].sum(), leaf, retain_graph=True)
            trace += row.flatten(1)[:, k].double()
    return value.detach(), trace[:, None]


@dataclass(frozen=True)
class Hutchinson(Trace):
    """Hutchinson's estimate with random signs.

    Attributes:
        probes: number of sign vectors; the error decreases with the square root of their number.
        seed: of the signs; row `i` has its own stream.

    References:
        FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models (Grathwohl et al., 2019),
        https://arxiv.org/abs/1810.01367, section 3.

    Example:
        >>> value, trace = Hutchinson(probes=2).bind(torch.ones(1, 2))(lambda x: 3 * x, torch.ones(1, 2))
        >>> trace.tolist()
        [[6.0, 6.0]]
    """

    probes: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        check_count(self, "probes")

    def bind(self, x: Tensor) -> Traced:
        """Return the estimate of each probe, `(B, probes)`."""
        streams = Streams(generator(self.seed, i) for i in range(len(x)))
        signs = [streams.rand(x).sub(0.5).sign() for _ in range(self.probes)]

        def estimate(function: Map, x: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                value = function(leaf)
                traces = []
                for v in signs:
                    (product,) = torch.autograd.grad(value, leaf, v, retain_graph=True)
                    traces.append((product * v).double().flatten(1).sum(1))
            return value.detach(), torch.stack(traces, 1)

        return estimate


def log_prob(
    prior: Prior,
    x: Tensor,
    *,
    steps: int = 60,
    trace: Trace | None = None,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    bins: int = 256,
) -> LogProb:
    """Return the log-likelihood of images under a prior, by the probability flow.

    Args:
        prior: the prior; its denoiser must be differentiable.
        x: images, `(B, C, H, W)`, in [0, 1] for an image prior.
        steps: steps of the Runge-Kutta method of order 4, uniform in `log sigma`.
        trace: method for the traces; by default exact.
        sigma_min: level of the density, in units of the images; by default the prior's lowest. It must be below the
            detail of the data, so that `p_sigma_min` approximates `p`.
        sigma_max: level at which the density is approximated by a Gaussian; by default the prior's highest. The error
            is of order `(std / sigma_max)^2`.
        bins: grey levels, for bits per dimension.

    Returns:
        The likelihoods.

    Raises:
        ValueError: no steps, or levels out of order.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
        https://arxiv.org/abs/2011.13456, section 4.3 and appendix D.2.

    Differs:
        Fixed steps in `log sigma`, so that no image depends on the others; the authors integrate a batch with shared
        adaptive steps in the SDE's time. The last density includes the data's mean and variance.

    Example:
        >>> from invdiff.priors import GaussianPrior
        >>> prior = GaussianPrior(torch.zeros(1, 1, 2), torch.eye(2))
        >>> round(log_prob(prior, torch.zeros(1, 1, 1, 2)).nats.item(), 3)  # -log(2 pi)
        -1.838
    """
    low = prior.sigma_min if sigma_min is None else sigma_min
    high = prior.sigma_max if sigma_max is None else sigma_max
    if steps < 1 or not 0 < low < high:
        raise UserError(f"log_prob: expected steps >= 1 and 0 < sigma_min < sigma_max, got {steps}, {low} and {high}")
    traced = (trace or ExactTrace()).bind(x)
    d = x[:1].numel()

    def slope(state: Tensor, log_sigma: float) -> tuple[Tensor, Tensor]:
        denoised, traces = traced(lambda z: prior.denoise(z, math.exp(log_sigma)), state)
        return state - denoised, d - traces

    h = math.log(high / low) / steps
    gained: Tensor | None = None
    state = x.detach()
    for i in range(steps):
        at = math.log(low) + i * h
        v1, g1 = slope(state, at)
        v2, g2 = slope(state + h / 2 * v1, at + h / 2)
        v3, g3 = slope(state + h / 2 * v2, at + h / 2)
        v4, g4 = slope(state + h * v3, at + h)
        state = state + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        step = h / 6 * (g1 + 2 * g2 + 2 * g3 + g4)
        gained = step if gained is None else gained + step
    assert gained is not None
    with torch.no_grad():
        center = prior.denoise(torch.full_like(x, 0.5), high)
    variance = high**2 + prior.std**2
    squared = (state - center).double().square().flatten(1).sum(1)
    last = -0.5 * (squared / variance + d * math.log(2 * math.pi * variance))
    each = last[:, None] + gained
    nats = each.mean(1)
    error = torch.zeros_like(nats)
    if isinstance(trace, Hutchinson):
        probes = each.shape[1]
        error = each.std(1) / math.sqrt(probes) if probes > 1 else torch.full_like(nats, math.nan)
    return LogProb(nats, bits_per_dim(nats, d, bins), error, 4 * steps + 1)


def bits_per_dim(nats: Tensor, dimensions: int, bins: int = 256) -> Tensor:
    """Return `-log p / (d log 2) + log2 K`, the bits for one pixel of `bins` grey levels, like `nats`.

    Args:
        nats: log-densities with respect to intensities in [0, 1], any shape.
        dimensions: `d`, numbers in an image.
        bins: `K`; 1 gives bits of the density itself.
    """
    return -nats / (dimensions * math.log(2)) + math.log2(bins)
