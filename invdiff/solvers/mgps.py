"""Midpoint guidance (MGPS): the guidance is at an intermediate level, where Tweedie's estimate is more accurate.

From level `t` to `t - 1`, with a level `m` below both, at `alpha` of the time of `t - 1`:

    x_m     ~ p_m(x_m | x_t) g(E[x_0 | x_m]),    p_m = q(x_m | x_0 = E[x_0 | x_t], x_t),    g = p(y | .)
    x_{t-1} ~ q(x_{t-1} | x_m, x_t)

where the first draw is from a Gaussian, fitted by gradients through the network at level `m`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import VP
from .common.levels import ddpm_levels, level_range
from .common.run import Run
from .common.search import Range, Ranges
from .common.splitting import likelihood_problem
from .common.variational import bridge, fit
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class MGPS(IterativeSolver):
    """Variational posterior sampling with midpoint guidance, for any differentiable operator and any noise.

    Attributes:
        steps: number of noise levels; the authors take 300.
        moves: gradient steps of each fit, with one network evaluation each; a few suffice.
        alpha: time of the midpoint as a fraction of the next level's, in (0, 1].
        rate: Adam's step size, in standard deviations of `p_m`.

    References:
        Variational Diffusion Posterior Sampling with Midpoint Guidance (Janati et al., 2025),
        https://arxiv.org/abs/2410.09945, algorithm 1.

    Differs:
        The authors' code also starts each fit, at high levels, from a second fit at the lowest level (`warm_start`);
        here it starts at the mean of `p_m`. Their Adam steps have one absolute size, which at low levels is far above
        the spread of `p_m` and adds noise; here they are in units of this spread. With steps of one unit, three steps
        add noise in the null space of a blur: a photograph of 64 x 64 pixels is then 2 dB below the blurred one; with
        half a unit it is 2 dB above.

    Example:
        >>> MGPS(steps=50, moves=2).evaluations
        148
    """

    steps: int = 100
    moves: int = 3
    alpha: float = 0.5
    rate: float = 0.5

    name: ClassVar[str] = "mgps"
    summary: ClassVar[str] = "variational guidance at midpoints"
    paper: ClassVar[str] = "Janati et al. 2025"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    lower: ClassVar[str] = "rate"
    search: ClassVar[Ranges] = {"alpha": Range(0.05, 0.95), "rate": Range(0.1, 3.0, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_count(self, "moves")
        check_number(self, "alpha", 0, 1, positive=True)
        check_number(self, "rate", 0, positive=True)

    @property
    def evaluations(self) -> int:
        """Each level takes one more evaluation than its fit; the last level is only denoised."""
        return (self.steps - 1) * (self.moves + 1) + 1

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels uniform in the time of the variance-preserving SDE."""
        return ddpm_levels(self.steps, prior)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Draw the midpoint, then the next state given the midpoint and the present state."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        x0 = run.denoise(x, sigma)
        if sigma_next == 0:
            return x0
        r, vp, problem = run.unit, VP(), likelihood_problem(run)
        middle = r * float(vp.sigma(self.alpha * vp.time(sigma_next / r)))
        middle = min(max(middle, level_range(run.prior)[0]), sigma_next)
        mean, std = bridge(x0, x, (0.0, middle, sigma))

        def log_potential(z: Tensor) -> Tensor:
            return problem.log_likelihood(run.denoise(z, middle))

        draw = fit(run, mean, std, log_potential, moves=self.moves, rate=self.rate)
        mean, std = bridge(draw, x, (middle, sigma_next, sigma))
        return mean + std * run.randn(x)
