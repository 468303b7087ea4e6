"""Decoupled annealing posterior sampling (DAPS).

States of neighbouring levels are decoupled: at each level a clean image is drawn and new noise is added, so an error at
a high level can be corrected at a lower one:

    x0_hat  = the end of the probability flow from x_t, in a few Euler steps
    x0_y    ~ p(y | x_0) N(x_0; x0_hat, r_t^2 I)
    x_{t-1} = x0_y + sigma_{t-1} n

with the spread `r_t` of `p(x_0 | x_t)`, estimated from the state, see `spread`:

    E ||x_0 - E[x_0 | x_t]||^2 = d sigma_t^2 - E ||x_t - E[x_0 | x_t]||^2,      d pixels.

The first step of the flow has this estimate already, so it costs nothing. It is self-correcting: after draws that were
too wide, `x_t` has more noise than `sigma_t`, and the next spread is smaller.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import karras_levels
from ..transitions import ddim_step
from .common.run import Run
from .common.search import Range, Ranges
from .common.splitting import data_draw
from .common.spread import matched_spread
from .iterative import IterativeSolver

LEVELS = (0.01, 100.0)  # lowest and highest noise level, for data on [-1, 1]


@dataclass(frozen=True, kw_only=True)
class DAPS(IterativeSolver):
    """Decoupled annealing posterior sampling, for any operator and noise that have a likelihood.

    Attributes:
        steps: number of noise levels; the authors take 200, and 50 for their fast version.
        inner: Euler steps of the probability flow at each level; the authors take 5, and 2 for their fast version.
        spread: factor of `r_t`.
        matched: whether `r_t` is the denoiser's error, as above; else it is `w_t`, the spread for white images.
        moves: length of the Markov chain for operators or noise that are not linear and Gaussian; the authors take 100.

    References:
        Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing (Zhang et al., 2025),
        https://arxiv.org/abs/2407.01521, algorithm 1.

    Differs:
        The authors' code gives the likelihood a standard deviation `tau = 0.01` for every noise, takes 100 unadjusted
        Langevin steps that are too short to reach their stationary distribution, and stops at level 0.1, so its samples
        are points near the mode, with too little spread. Here the noise is that of the problem, the draw is exact for a
        linear operator and Gaussian noise and has Metropolis' test for others, and the lowest level is 0.01. Their `r_t
        = sigma_t` is wider than any image at high levels. At low levels it adds noise that the denoiser does not
        account for; their short chains hardly draw it. With an exact draw even `w_t` is too wide: on a photograph of 64
        x 64 pixels, blurred or downsampled, the result is 4 and 6 dB below the measurement; matched it is 2 and 1 dB
        above. The matched spread is at least 0.6 `w_t`, because it would decrease further and further for a state with
        more noise than `sigma_t`. On exact problems matching has little effect: images improve (variance 1.35 and 1.20
        of the posterior's, for 1.44 and 1.25), the mixture of 25 modes has bias 1.0 for 0.9.

    Example:
        >>> DAPS(steps=200, inner=5).evaluations
        1000
    """

    steps: int = 50
    inner: int = 2
    spread: float = 1.0
    matched: bool = True
    moves: int = 50

    name: ClassVar[str] = "daps"
    summary: ClassVar[str] = "decoupled annealing: draw a clean image, add new noise"
    paper: ClassVar[str] = "Zhang et al. 2025"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    search: ClassVar[Ranges] = {"moves": Range(10, 100)}

    def __post_init__(self) -> None:
        for name in ("steps", "inner", "moves"):
            check_count(self, name)
        check_number(self, "spread", 0, positive=True)

    @property
    def evaluations(self) -> int:
        """Each level denoises `inner` times."""
        return self.steps * self.inner

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return Karras' levels within the prior's range, and 0."""
        r = prior.std / 0.5
        low, high = max(LEVELS[0] * r, prior.sigma_min), min(LEVELS[1] * r, prior.sigma_max)
        return karras_levels(self.steps, low, high)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Follow the flow to a clean image, draw with the data, and add noise."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        flow = karras_levels(self.inner, min(max(run.levels[-2], run.prior.sigma_min), sigma), sigma).tolist()
        spread: float | Tensor = self.spread / math.hypot(1 / sigma, 1 / run.prior.std)
        for k, (high, low) in enumerate(itertools.pairwise(flow)):
            x0 = run.denoise(x, high)
            if k == 0 and self.matched:
                spread = self.spread * matched_spread(x, x0, sigma, run.prior.std)
            x = ddim_step(x, x0, high, low, 0.0, None)
        return torch.add(data_draw(run, x, spread, moves=self.moves), run.randn(x), alpha=sigma_next)
