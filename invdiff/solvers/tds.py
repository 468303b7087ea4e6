"""Twisted diffusion sampler (TDS): sequential Monte Carlo with Tweedie's estimate as the twist.

A twist is an approximate likelihood of a noisy particle, which weights and moves it:

    x0_hat     = E[x_0 | x_t]
    psi_t(x_t) = N(y; A(x0_hat), (sigma_y^2 + |A|^2 v_t) I),    v_t = r^2 sigma_t^2 / (r^2 + sigma_t^2)
    psi_0      = p(y | x_0)
    x0_tilde   = x0_hat + sigma_t^2 grad log psi_t(x_t)
    x_{t-1}    ~ q(x_{t-1} | x_t, x0_tilde)
    w         *= q(x_{t-1} | x_t, x0_hat) psi_{t-1}(x_{t-1}) / [q(x_{t-1} | x_t, x0_tilde) psi_t(x_t)]

where `q` is DDPM's transition, `r` the data's standard deviation and `|A|` the largest singular value of the operator.
In the limit of many particles the weights make the result exact for every twist, for the prior that the `T` transitions
sample without a measurement. A good twist needs fewer particles.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..checks import check_number
from ..noise import Gaussian
from ..operators.base import LinearOperator
from ..transitions import ddim_coefficients
from .common import particles as pf
from .common.guidance import bounded, data_gradient, dot, image_scale, tweedie_vjp
from .common.initial_state import center
from .common.run import Run
from .common.search import Range, Ranges


class Twisted(NamedTuple):
    """State of the particles: `(N, P, C, H, W)` images and `(N, P)` logarithms."""

    x: Tensor
    x0: Tensor
    target: Tensor  # target of the transition: x0, or an extrapolation of it
    gradient: Tensor  # grad log psi_t(x_t)
    log_psi: Tensor
    log_w: Tensor


@dataclass(frozen=True, kw_only=True)
class TwistedFilter(pf.ParticleSolver):
    """A particle filter that moves and weighs with a twist; a subclass gives the twist and what stands at the end.

    Attributes:
        steps: noise levels T.
        particles: P, for each sample.
        spread: factor of `v_t`.
        threshold: resample where the effective sample size falls below this share of P; 1 for every step.
        resample: method of resampling.
    """

    spread: float = 1.0
    threshold: float = 1.0

    limit: ClassVar[str] = "particles"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "spread", 0, positive=True)
        check_number(self, "threshold", 0, 1)

    def start(self, run: Run) -> Twisted:
        """Draw particles of the prior at the first level, weighted by its twist."""
        c = self.replicate(center(run.problem, run.prior))
        x = c + run.levels[0] * run.randn(c)
        x0, gradient, log_psi = self._twist(run, x, run.levels[0])
        run.add_evidence(torch.zeros(run.rows, dtype=torch.float64, device=x.device))
        return Twisted(x, x0, x0, gradient, log_psi, log_psi)

    def step(self, run: Run, state: Twisted, i: int) -> Twisted:
        """Resample, move with the twist, and weight the move."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        state = self._resampled(run, state)
        c, s = ddim_coefficients(sigma, sigma_next, 1.0)
        mean = torch.lerp(state.target, state.x, c)
        if s == 0:
            return self._last(run, state)
        shift = (1 - c) * sigma**2 * state.gradient
        move = run.randn(mean).mul_(s).add_(shift)
        x = mean + move
        # log q(x | target) - log q(x | target + sigma^2 gradient) = -shift (move - shift / 2) / s^2
        log_ratio = torch.sub(move, shift, alpha=0.5).mul_(shift).flatten(2).sum(2, dtype=torch.float64) / -(s**2)
        x0, gradient, log_psi = self._twist(run, x, sigma_next)
        target = self._target(run, x0, state.x0, i + 1)
        return Twisted(x, x0, target, gradient, log_psi, state.log_w + log_ratio + log_psi - state.log_psi)

    def finish(self, run: Run, state: Twisted) -> Tensor:
        """Return equally weighted particles."""
        if run.levels[-1] == 0:
            state = self._resampled(run, state, always=True)
        return state.x

    def _resampled(self, run: Run, state: Twisted, always: bool = False) -> Twisted:
        """Resample the sets with a low effective sample size."""
        share = pf.effective_sample_size(state.log_w) / self.particles
        due = torch.ones_like(share, dtype=torch.bool) if always or self.threshold == 1 else share < self.threshold
        index = pf.survivors(run, state.log_w, self.resample)
        index = torch.where(due[:, None], index, torch.arange(self.particles, device=index.device))
        mean = pf.log_mean(state.log_w)
        if run.evidence:  # otherwise the factor of the twist is unknown
            run.add_evidence(torch.where(due, mean, 0.0))
        log_w = torch.where(due[:, None], 0.0, state.log_w)
        x, x0, target, gradient, log_psi = (pf.select(v, index) for v in state[:5])
        return Twisted(x, x0, target, gradient, log_psi, log_w)

    def _target(self, run: Run, x0: Tensor, before: Tensor, i: int) -> Tensor:
        """Return the target of the transition from level i, given the estimates at levels i and i - 1."""
        return x0

    @abc.abstractmethod
    def _last(self, run: Run, state: Twisted) -> Twisted:
        """Return the clean particles, weighted."""

    @abc.abstractmethod
    def _twist(self, run: Run, x: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return `x0_hat`, `grad log psi` and `log psi` of all particles `x` at level `sigma`."""


@dataclass(frozen=True, kw_only=True)
class TDS(TwistedFilter):
    """Twisted sequential Monte Carlo for any differentiable operator and Gaussian noise.

    Exact in the limit of many particles, for the distribution of the data that the transitions generate: DDPM's omit
    `O(1 / T)` of the variance for T levels, a tenth at 100. The estimate of the evidence is unbiased for it; its
    logarithm is too low by about half its variance, which decreases as `1 / P`.

    Attributes:
        steps: noise levels T; the authors use 100 to 250 for images.
        particles: P, for each sample; the authors have 2 to 64.
        spread: factor of `v_t`; 1 for the posterior variance of a Gaussian prior.
        threshold: resample if the effective sample size is below this fraction of P; 1 for every step, as the authors
            do for images.
        damped: whether a move that would overshoot the data is shortened; the weights account for it.
        resample: method of resampling.

    References:
        Practical and Asymptotically Exact Conditional Sampling in Diffusion Models (Wu et al., 2023),
        https://arxiv.org/abs/2306.17775, algorithm 1.

    Differs:
        The paper's twist is the likelihood at `x0_hat`; the authors' code for inpainting widens it, to `sigma_t^2`, to
        `v_t` with `r = 1`, or to multiples of both: this class has `v_t` with the data's `r`, and the noise's variance.
        The paper moves by the transition's variance times the gradient; the code, and this class, by `x0_tilde`, which
        is the posterior score. The code treats masks without noise only and ends with `p(y | x_1)`; here noiseless data
        end with the twist of the last positive level. The final images are `x0_hat` of the last level, as in the code.
        Its networks clip `x0_tilde` to [-1, 1]; here `damped` prevents divergence with few steps. Levels are in
        geometric progression, not those of the network.

    Example:
        >>> TDS(particles=8).evaluations
        800
    """

    damped: bool = True

    name: ClassVar[str] = "tds"
    summary: ClassVar[str] = "twisted sequential Monte Carlo, any differentiable operator"
    paper: ClassVar[str] = "Wu et al. 2023"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp", "gaussian"})
    search: ClassVar[Ranges] = {"spread": Range(0.2, 5.0, log=True)}

    def _last(self, run: Run, state: Twisted) -> Twisted:
        """Return the clean particles, weighted by their likelihood."""
        assert isinstance(run.problem.noise, Gaussian)
        std = run.problem.noise.std or self._std(run, run.levels[-2])  # noiseless data keep the last twist
        log_psi = pf.log_likelihood(run, state.x0, std)
        return state._replace(x=state.x0, log_psi=log_psi, log_w=state.log_w + log_psi - state.log_psi)

    def _twist(self, run: Run, x: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return `x0_hat`, `grad log psi` and `log psi` of all particles."""
        assert isinstance(run.problem.noise, Gaussian)
        std = self._std(run, sigma)
        share = (run.problem.noise.std / std) ** 2
        constant = run.problem.observations * math.log(std * math.sqrt(2 * math.pi))

        def one(rows: list[int], part: Tensor) -> pf.Triple:
            problem = run.problem[rows]
            x0, vjp = tweedie_vjp(run, part, sigma)
            misfit, back_projected = data_gradient(problem, x0)
            gradient = vjp(back_projected / std**2)
            if self.damped:
                explained = sigma**2 * dot(gradient, back_projected)  # e^T A sigma^2 gradient
                if not isinstance(problem.operator, LinearOperator):
                    e = problem.residual(x0)
                    explained = dot(e - problem.residual(x0 + sigma**2 * gradient), e)
                gradient = gradient * image_scale(bounded(misfit, share * misfit, explained), gradient)
            return x0, gradient, misfit / (-2 * std**2) - constant

        return pf.in_chunks(x, one)

    def _std(self, run: Run, sigma: float) -> float:
        """Return the standard deviation of the twist at a level."""
        assert isinstance(run.problem.noise, Gaussian)
        v = self.spread / (1 / run.prior.std**2 + 1 / sigma**2)
        return math.hypot(run.problem.noise.std, run.problem.gain * math.sqrt(v)) or math.sqrt(v)
