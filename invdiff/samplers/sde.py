"""The reverse-time SDE, by Euler-Maruyama and with Langevin's corrections.

A forward diffusion `dx = f x dt + g dw` with marginals `alpha x_0 + alpha sigma n` runs backwards as

    dx = (f x - g^2 s_t(x)) dt + g dw,      s_t(x) = s(x / alpha, sigma) / alpha,

with the score `s` in variance-exploding coordinates. One step of length `h` from `t` to `t - h` is

    x' = x - (f x - g^2 s_t(x)) h + g sqrt(h) n.

The state between steps is kept as `x / alpha`, so all diffusions share the package's coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..schedules import VP, Diffusion
from ..transitions import langevin_step
from .base import Sampler, Walk


@dataclass(frozen=True, kw_only=True)
class ReverseSDE(Sampler):
    """The reverse-time SDE of any of the diffusions, by Euler-Maruyama in the diffusion's own time and coordinates.

    Attributes:
        steps: number of levels, and of evaluations.
        diffusion: the forward diffusion, for data on [-1, 1]; it is scaled to the prior's data.
        spacing: not used: levels are uniform in the diffusion's time.
        sigma_min: lowest positive level; by default that of the prior.
        sigma_max: highest level; by default that of the prior.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
        https://arxiv.org/abs/2011.13456, equation 6 and section 4.1.

    Differs:
        The last step, from `sigma_min` to 0, returns the denoised image, for every diffusion.

    Example:
        >>> from invdiff.schedules import SubVP
        >>> ReverseSDE(diffusion=SubVP()).steps
        500
    """

    steps: int = 500
    diffusion: Diffusion = field(default_factory=VP)

    def levels(self, prior: Prior) -> Tensor:
        """Return levels uniform in the diffusion's time."""
        low, high = self.ends(prior)
        unit = prior.std / 0.5
        return unit * self.diffusion.levels(self.steps, low / unit, high / unit)

    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Take one step of Euler-Maruyama, the last one without noise."""
        sigma, sigma_next = walk.levels[i], walk.levels[i + 1]
        if sigma_next == 0:
            return walk.denoise(x, sigma)
        return self._euler_maruyama(walk, x, sigma, sigma_next)

    def _euler_maruyama(self, walk: Walk, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        d, unit = self.diffusion, walk.unit
        t, t_next = float(d.time(sigma / unit)), float(d.time(sigma_next / unit))
        h = t - t_next
        f, g2 = float(d.drift(t)), unit**2 * float(d.squared_diffusion(t))
        alpha, alpha_next = float(d.alpha(t)), float(d.alpha(t_next))
        score = walk.score(x, sigma) / alpha
        moved = alpha * x - h * (f * alpha * x - g2 * score) + math.sqrt(g2 * h) * walk.randn()
        return moved / alpha_next


@dataclass(frozen=True, kw_only=True)
class PredictorCorrector(ReverseSDE):
    """Euler-Maruyama steps, each followed by Langevin steps at the new level.

    Attributes:
        steps: number of levels.
        corrections: Langevin steps at each level.
        snr: `r`, ratio of a Langevin step's gradient to its noise; `gamma = (r sigma)^2`.
        diffusion: the forward diffusion, for data on [-1, 1]; it is scaled to the prior's data.
        spacing: not used: levels are uniform in the diffusion's time.
        sigma_min: lowest positive level; by default that of the prior.
        sigma_max: highest level; by default that of the prior.

    References:
        Song et al. (2021), https://arxiv.org/abs/2011.13456, algorithms 2 to 5.

    Differs:
        The authors' `gamma = (r |n| / |s|)^2` has norms averaged over the batch, so images depend on each other. With
        the norms of one image the step would depend on the state and would not be a Langevin step for the target. Here
        both norms are their expectation for the noise, `|n| = sqrt(d)` and `|s| = sqrt(d) / sigma`, where they
        concentrate.

    Example:
        >>> PredictorCorrector(corrections=2).snr
        0.16
    """

    steps: int = 250
    corrections: int = 1
    snr: float = 0.16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "corrections", 0)
        check_number(self, "snr", 0)

    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Predict, then correct; the last step denoises."""
        x, sigma = super().step(walk, x, i), walk.levels[i + 1]
        for _ in range(self.corrections if sigma > 0 else 0):
            x = langevin_step(x, walk.score(x, sigma), (self.snr * sigma) ** 2, walk.randn())
        return x
