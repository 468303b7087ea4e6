"""Langevin sampling: at one noise level, and annealed over many.

Unadjusted Langevin (ULA) on the density `p_v` of the images at noise level `v`,

    x' = x + gamma s(x, v) + sqrt(2 gamma) n,

has a stationary distribution with an error of `O(gamma)`: for `p_v = N(m, c I)` its variance is `c / (1 - gamma / (2
c))`. It does not cross regions of low density in reasonable time. Annealed Langevin (SMLD) runs it at decreasing levels
`v_t`, with

    gamma_t = r v_t^2 / v_T^2,      v_T the lowest level,

so the ratio of signal to noise is the same in every step. The error of `O(gamma)` leaves more noise in the image than
`v_t`, and a network takes it for texture. Consistent annealed sampling adds exactly the missing noise,

    x' = x + r (E[x_0 | x] - x) + sqrt(u^2 - (1 - r)^2 v_t^2) n,      r = gamma_t / v_t^2,

with `u = v_t`, or `v_{t+1}` in the last step of a level: the noise in `x` then has the variance `u^2` for every `r`.
Metropolis' test after each step (MALA) removes the bias.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..errors import UserError
from ..priors.base import Prior
from ..priors.composition import log_density_of
from ..schedules import Spacing, geometric_levels, scaled_levels
from ..transitions import consistent_step, ddim_step, langevin_log_acceptance, langevin_step, tweedie_score
from .base import Sampler, Walk


@dataclass(frozen=True, kw_only=True)
class ULA(Sampler):
    """Unadjusted Langevin at one noise level.

    Attributes:
        steps: length of the chain, and number of evaluations.
        gamma: step size in units of `prior.std ** 2`; stable below twice the smallest variance of the target.
        sigma: noise level of the target, in units of the images; by default `sqrt(10 gamma) prior.std`, at which the
            chain is stable for all data and its bias at most a twentieth of a variance, or the prior's lowest level if
            that is higher.
        warm: Euler steps of the probability flow before the chain, because the chain does not find modes by itself and
            networks are not trained on white noise of low level; 0 starts from white noise of the prior's standard
            deviation.
        spacing: of the levels of the warm start.
        sigma_min: lower bound of the default of `sigma`; by default the prior's lowest level.
        sigma_max: level at which the mean for the initial state is evaluated.

    References:
        Exponential Convergence of Langevin Distributions and Their Discrete Approximations (Roberts, Tweedie, 1996),
        https://doi.org/10.2307/3318418.

    Example:
        >>> ULA(steps=100, gamma=0.05).gamma
        0.05
    """

    steps: int = 200  # with a network, long chains drift to images unlike its training data
    gamma: float = 0.001
    sigma: float | None = None
    warm: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "gamma", 0)
        check_count(self, "warm", 0)
        if self.sigma is not None and not self.sigma > 0:
            raise UserError(f"ULA: sigma: expected a positive noise level, got {self.sigma}")

    def levels(self, prior: Prior) -> Tensor:
        """Return the one level, `steps + 1` times."""
        stable = max(self.ends(prior)[0], math.sqrt(10 * self.gamma) * prior.std)
        return torch.full((self.steps + 1,), stable if self.sigma is None else self.sigma, dtype=torch.float64)

    def start(self, walk: Walk) -> Tensor:
        """Return the end of the probability flow, or the prior's mean plus white noise of its standard deviation."""
        high, low = self.ends(walk.prior)[1], walk.levels[0]
        if self.warm == 0 or high <= low:
            return walk.center() + walk.prior.std * walk.randn()
        x = walk.center() + high * walk.randn()
        levels = scaled_levels(self.spacing, self.warm + 1, low, high, walk.unit)[:-1].tolist()  # all but the 0
        for sigma, sigma_next in itertools.pairwise(levels):
            x = ddim_step(x, walk.denoise(x, sigma), sigma, sigma_next, 0.0, None)
        return x

    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Take one Langevin step."""
        return langevin_step(x, walk.score(x, walk.levels[i]), self.gamma * walk.prior.std**2, walk.randn())


@dataclass(frozen=True, kw_only=True)
class AnnealedLangevin(Sampler):
    """Annealed Langevin dynamics, the sampler of noise-conditional score networks.

    Attributes:
        steps: number of levels.
        inner: Langevin steps at each level.
        rate: `r / v_T^2`, so that `gamma_t = rate v_t^2`; `epsilon / (2 v_T^2)` in the paper's symbols, which is 0.1
            there.
        consistent: whether a step adds the noise that keeps the state at its level, instead of Langevin's.
        clean: whether the last state is denoised.
        spacing: of the levels; by default geometric.
        sigma_min: lowest level `v_T`; by default that of the prior.
        sigma_max: highest level; by default that of the prior.

    References:
        Generative Modeling by Estimating Gradients of the Data Distribution (Song, Ermon, 2019),
        https://arxiv.org/abs/1907.05600, algorithm 1. Consistent noise, and denoising at the end: Adversarial Score
        Matching and Improved Sampling for Image Generation (Jolicoeur-Martineau et al., 2021),
        https://arxiv.org/abs/2009.05475, sections 3 and 4, algorithm 2.

    Differs:
        Song and Ermon's own noise is `consistent=False`. With it the variance of the noise is `1 / (1 - rate / 2)`
        times that of the level, and the images follow the decreasing levels with a delay, which leaves `log(v_1 / v_T)
        / (rate inner steps)` of the data's variance. A network then needs about twenty inner steps, and still adds
        texture.
        Jolicoeur-Martineau et al. take one consistent step at each level; here there may be several. Their steps bias
        the spread of the data by `-O(rate)`, Langevin's by `+O(rate)`.
        The paper's step is `alpha_t = epsilon v_t^2 / v_T^2` with `alpha / 2` in front of the score: `gamma = alpha /
        2`. Their `epsilon` has the unit of a variance and is tuned to `v_T`; `rate` has no unit.

    Example:
        >>> AnnealedLangevin(steps=10, inner=5).rate
        0.15
    """

    steps: int = 100
    inner: int = 5
    rate: float = 0.15
    consistent: bool = True
    clean: bool = True
    spacing: Spacing = geometric_levels

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "inner")
        check_number(self, "rate", 0, 1 if self.consistent else math.inf)

    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Take the inner steps at level `i`, and denoise after the last level."""
        sigma, sigma_next = walk.levels[i : i + 2]
        for k in range(self.inner):
            x0 = walk.denoise(x, sigma)
            if self.consistent:
                falls = k == self.inner - 1 and sigma_next > 0
                x = consistent_step(x, x0, sigma, sigma_next if falls else sigma, self.rate, walk.randn())
            else:
                x = langevin_step(x, tweedie_score(x, x0, sigma), self.rate * sigma**2, walk.randn())
        return walk.denoise(x, sigma) if self.clean and sigma_next == 0 else x


@dataclass(frozen=True, kw_only=True)
class AnnealedMALA(Sampler):
    """Annealed Langevin dynamics with Metropolis' test at every step, and a step of the flow between the levels.

    The ratio of densities is exact for a prior that has `log_density` or `log_prob`; otherwise it is the line integral
    of the score from `x` to `x'` by Simpson's rule, at one more evaluation a step,

        log p(x') - log p(x) = int_0^1 s(x + u (x' - x)) . (x' - x) du.

    Between levels it takes an Euler step of the probability flow, with the score at the end of the chain, so the next
    chain begins near its target. Without this step the chain lags behind its level, and the test does not correct it,
    because it accepts every move to a higher density.

    Attributes:
        steps: number of levels.
        inner: Langevin steps at each level.
        rate: step size, `gamma_t = rate v_t^2`.
        clean: whether the last state is denoised, the last step of the flow.
        spacing: of the levels; by default geometric.
        sigma_min: lowest level; by default that of the prior.
        sigma_max: highest level; by default that of the prior.

    References:
        Roberts, Tweedie (1996), https://doi.org/10.2307/3318418, section 1.4.2. For composed diffusion models: Reduce,
        Reuse, Recycle (Du et al., 2023), https://arxiv.org/abs/2302.11552, section 4 and appendix.

    Differs:
        Du et al. train an energy for the ratio. Here it comes from the score, which need not be a gradient for a
        network.

    Example:
        >>> AnnealedMALA(rate=0.5).rate
        0.5
    """

    steps: int = 100
    inner: int = 5  # the flow has moved the state close to the target
    rate: float = 0.1  # in hundreds of dimensions, all larger steps are rejected
    clean: bool = True
    spacing: Spacing = geometric_levels

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "inner")
        check_number(self, "rate", 0)

    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Take the inner steps at level `i`, then the Euler step of the probability flow to the next level."""
        sigma, sigma_next = walk.levels[i : i + 2]
        x, score = self.chain(walk, x, sigma)
        if sigma_next == 0 and not self.clean:
            return x
        return ddim_step(x, x + sigma**2 * score, sigma, sigma_next, 0.0, None)

    def chain(self, walk: Walk, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """Take the steps at one level, each accepted or rejected, and return the state and its score."""
        gamma = self.rate * sigma**2
        score = walk.score(x, sigma)
        for _ in range(self.inner):
            proposed = langevin_step(x, score, gamma, walk.randn())
            proposed_score = walk.score(proposed, sigma)
            ratio = log_ratio(walk, x, score, proposed, proposed_score, sigma)
            log_accept = langevin_log_acceptance(x, score, proposed, proposed_score, ratio, gamma)
            u = walk.streams.rand(torch.empty(len(x), 1, dtype=torch.float64)).flatten().to(x.device)
            accept = (u.log() < log_accept).reshape(-1, *[1] * (x.ndim - 1))
            x, score = torch.where(accept, proposed, x), torch.where(accept, proposed_score, score)
        return x, score


def log_ratio(walk: Walk, x: Tensor, score: Tensor, proposed: Tensor, proposed_score: Tensor, sigma: float) -> Tensor:
    """Return `log p(x') - log p(x)` at level `sigma`, `(B,)`, in float64."""
    log_density = log_density_of(walk.prior)
    if log_density is not None:
        return log_density(proposed, sigma) - log_density(x, sigma)
    middle = walk.score((x + proposed) / 2, sigma)
    mean = (score.double() + 4 * middle.double() + proposed_score.double()) / 6
    return (mean * (proposed - x).double()).flatten(1).sum(1)
