"""Mixture-guided diffusion (MGDM): Gibbs sampling of a clean image, a state, and one at a random level below it.

At level `t` the likelihood can be evaluated through the denoiser at any lower level `tau`. Each choice gives a
posterior `p_t(x_t) E[g(E[x_0 | x_tau]) | x_t]`, `g = p(y | .)`; the target is their mixture. Given the state `x_{t+1}`
of the level above, a sweep draws, for one `tau`,

    x_tau ~ q(x_tau | x_0, x_t) g(E[x_0 | x_tau])          by a Gaussian that is fitted by gradients
    x_0   ~ p(x_0 | x_tau)                                 by a few ancestral steps
    x_t   ~ q(x_t | x_tau, x_{t+1})

and keeps `(x_0, x_t)`. Unlike MGPS it keeps the clean image `x_0`, at which the next fit starts.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import VP
from ..transitions import ddim_step
from .common.levels import ddpm_levels, level_range
from .common.run import Run
from .common.search import SHARE, Range, Ranges
from .common.splitting import likelihood_problem
from .common.variational import bridge, fit
from .iterative import IterativeSolver

LEAST = 0.01  # the lowest time of the guidance
GOLDEN = 0.6180339887498949  # its multiples modulo 1 fill (0, 1) evenly


class Pair(NamedTuple):
    """Clean images and states of the present level, `(N, C, H, W)`."""

    x0: Tensor
    x: Tensor


@dataclass(frozen=True, kw_only=True)
class MGDM(IterativeSolver):
    """Mixture-guided diffusion, for any differentiable operator and any noise.

    Attributes:
        steps: number of levels at which a sweep is made; the authors take 100.
        repeats: sweeps at each level; the authors take 1, and more at a higher cost.
        moves: gradient steps of each fit, with one network evaluation each; the authors take 3 to 20.
        denoising: ancestral steps of each draw of a clean image; the authors take 20.
        share: fraction of the levels at which `tau` is random; below them it is the next level.
        rate: Adam's step size, in standard deviations of `q(x_tau | x_0, x_t)`.

    References:
        A Mixture-Based Framework for Guiding Diffusion Models (Janati et al., 2025),
        https://arxiv.org/abs/2502.03332, algorithm 1.

    Differs:
        The authors draw `tau` at random, once for a batch; here it follows an evenly spread sequence, the same for all
        images, so no image depends on its batch. Their Adam steps have one absolute size, 0.01 to 0.03, and use the
        divergence at one draw; here they are in standard deviations, and the Gaussian part is in closed form, as in
        MGPS. Their last levels have more gradient steps.

    Example:
        >>> MGDM(steps=10, moves=2, denoising=3).evaluations
        51
    """

    steps: int = 50
    repeats: int = 1
    moves: int = 3
    denoising: int = 5
    share: float = 0.7
    rate: float = 0.5

    name: ClassVar[str] = "mgdm"
    summary: ClassVar[str] = "mixture guidance: Gibbs sampling with data at random levels"
    paper: ClassVar[str] = "Janati et al. 2025"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    lower: ClassVar[str] = "rate"
    search: ClassVar[Ranges] = {"share": SHARE, "rate": Range(0.1, 3.0, log=True)}

    def __post_init__(self) -> None:
        for name in ("steps", "repeats", "moves", "denoising"):
            check_count(self, name)
        check_number(self, "share", 0, 1)
        check_number(self, "rate", 0, positive=True)

    @property
    def evaluations(self) -> int:
        """One evaluation for the first clean image, then those of the sweeps."""
        return 1 + self.steps * self.repeats * (self.moves + self.denoising)

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels uniform in the time of the variance-preserving SDE, without the lowest one."""
        return ddpm_levels(self.steps + 2, prior)[:-2]

    def start(self, run: Run) -> Pair:
        """Draw the first state, and denoise it."""
        x = super().start(run)
        return Pair(run.denoise(x, run.levels[0]), x)

    def step(self, run: Run, state: Pair, i: int) -> Pair:
        """Draw the state of the next level, and do the sweeps there."""
        above, sigma = run.levels[i], run.levels[i + 1]
        below = run.levels[i + 2] if i + 2 < len(run.levels) else level_range(run.prior)[0]
        x0, x_above = state
        mean, std = bridge(x0, x_above, (0.0, sigma, above))
        x = mean + std * run.randn(x0)
        for k in range(self.repeats):
            tau = self._tau(run, below, i, k)
            x_tau = self._guided(run, Pair(x0, x), tau, sigma)
            x0 = self._clean(run, x_tau, tau)
            mean, std = bridge(x_tau, x_above, (tau, sigma, above))
            x = mean + std * run.randn(x)
        return Pair(x0, x)

    def _tau(self, run: Run, below: float, i: int, k: int) -> float:
        """Return the level of the guidance: uniform in time up to `below`, or `below` itself."""
        if i >= self.share * self.steps:
            return below
        vp, r = VP(), run.unit
        high = float(vp.time(below / r))
        low = min(LEAST, high)
        u = (GOLDEN * (i * self.repeats + k + 1)) % 1.0
        return min(max(r * float(vp.sigma(low + u * (high - low))), level_range(run.prior)[0]), below)

    def _guided(self, run: Run, state: Pair, tau: float, sigma: float) -> Tensor:
        """Draw `x_tau` between clean image and state, conditioned on the data."""
        mean, std = bridge(state.x0, state.x, (0.0, tau, sigma))
        problem = likelihood_problem(run)

        def log_potential(z: Tensor) -> Tensor:
            return problem.log_likelihood(run.denoise(z, tau))

        return fit(run, mean, std, log_potential, moves=self.moves, rate=self.rate)

    def _clean(self, run: Run, x: Tensor, tau: float) -> Tensor:
        """Draw `x_0` given `x_tau` by ancestral steps, uniform in time."""
        vp, r, low = VP(), run.unit, level_range(run.prior)[0]
        time, n = float(vp.time(tau / r)), self.denoising
        inner = [min(max(r * float(vp.sigma(time * (n - k) / n)), low), tau) for k in range(1, n)]
        for high, after in itertools.pairwise([tau, *inner, 0.0]):
            x = ddim_step(x, run.denoise(x, high), high, after, 1.0, run.randn(x) if after > 0 else None)
        return x
