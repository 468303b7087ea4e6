"""Monte Carlo guided diffusion (MCGDiff): a particle filter in the singular basis of a linear operator.

With `A = U diag(s) V^T`, the data `a_i = (U^T y)_i / s_i = (V^T x_0)_i + tau_i n`, `tau_i = sigma_y / s_i`, have the
law of coefficient i of a noisy image at level `tau_i`. So conditioning on `y` is to condition the diffusion on
`(V^T x_{tau_i})_i = a_i`: inpainting without noise, each coefficient at a level of its own. Above that level the filter
weighs the particles with potentials

    g_t(x) = prod_{i : tau_i <= sigma_t} N(a_i; (V^T x)_i, sigma_t^2 - tau_i^2 + kappa (r^2 + tau_i^2)),

r the data's scale. With DDIM's transitions `p(x_{t-1} | x_t) = N(m_t, s_t^2 I)` one step is

    w_j      = [integral p(x_{t-1} | x_t^j) g_{t-1}(x_{t-1})] / g_t(x_t^j)
    x_{t-1}^j ~ p(x_{t-1} | x_t^i) g_{t-1}(x_{t-1}) / constant,      i drawn with probability proportional to w_i

whose integrals are Gaussian: see `particles`. Below `tau_i` coefficient i moves freely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..noise import Gaussian
from ..operators.base import LinearOperator
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import Spacing, geometric_levels, scaled_levels
from ..transitions import ddim_coefficients
from .common import particles as pf
from .common.checks import check_number
from .common.initial_state import center
from .common.levels import level_range
from .common.run import Run
from .common.search import SHARE, Range, Ranges
from .common.singular import compact


class Weighed(NamedTuple):
    """Clouds `(N, P, C, H, W)` and their coefficients `V^T x`, `(N, P, *coefficients)`."""

    x: Tensor
    z: Tensor


@dataclass(frozen=True, kw_only=True)
class MCGDiff(pf.ParticleSolver):
    """Particle filter with optimal proposals, for linear operators with a closed-form singular value decomposition.

    Attributes:
        steps: noise levels; the authors use 100 for images, 20 and 100 for mixtures.
        particles: P, in each cloud; the authors have 64 to 1024, and 1000 for mixtures.
        eta: share of DDPM's noise in the transitions; 1 for images, 0.6 at 20 steps and 0.85 at 100 for mixtures.
        kappa: variance of a potential at its own level, relative to that of the data; 1e-4 for images.
        spacing: where the levels stand, in units of the data; the authors' are `schedules.alpha_levels`.
        resample: how survivors are drawn; the authors draw them independently, `particles.multinomial`.

    References:
        Monte Carlo guided Diffusion for Bayesian linear inverse problems (Cardoso et al., 2024),
        https://arxiv.org/abs/2308.07983, algorithms 1 and 2.

    Differs:
        In the paper's VP coordinates the variance of a potential is `1 - (1 - kappa) abar_t / abar_tau`; divided by
        `abar_t` it is the one above, with `r = 1`. Levels are in geometric progression, which halves the error of a
        few steps on the authors' mixtures; theirs are about uniform in `1 / sqrt(1 + sigma^2)`, see
        `invdiff.benchmarks.studies.mixture`. Levels are moved onto the
        `tau_i`, as in the paper; where these are more than half of the levels, each `tau_i` is rounded to the nearest
        level instead. The authors' code begins with particles of the prior; this begins, as the paper, with the prior
        tilted by `g_T`. One of their two programs divides `g` out again where a coefficient is set free and weighs
        with `p(y | x_0)` at the end: the same limit with a larger variance, so here, as in the other, the weights of
        freed coefficients are kept. Without noise the last transition has variance `sigma_1^2` in the observed
        coefficients, which then equal the data. Resampling is systematic: drawn independently at each of T steps, the
        survivors add a variance of order T / P to every mean.

    Example:
        >>> MCGDiff(particles=16).cloud
        16
    """

    particles: int = 64
    eta: float = 1.0
    kappa: float = 1e-4
    spacing: Spacing = geometric_levels

    name: ClassVar[str] = "mcgdiff"
    summary: ClassVar[str] = "particle filter in the singular basis of a linear operator"
    paper: ClassVar[str] = "Cardoso et al. 2024"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "svd", "gaussian"})
    limit: ClassVar[str] = "particles"
    search: ClassVar[Ranges] = {"eta": SHARE, "kappa": Range(1e-5, 1e-1, log=True)}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "eta", 0, 1, positive=True)  # particles need noise to move
        check_number(self, "kappa", 0, 1, positive=True)

    def unit(self, prior: Prior) -> float:
        """Return `r`, the length that kappa and the spacing are measured in."""
        return prior.std / 0.5

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return the levels of `spacing`, some of them moved onto the `tau_i`."""
        levels = scaled_levels(self.spacing, self.steps, *level_range(prior), self.unit(prior))
        assert isinstance(problem.operator, LinearOperator) and isinstance(problem.noise, Gaussian)
        assert problem.operator.svd is not None
        return pf.with_levels(levels, problem.noise.std / compact(problem.operator.svd.s).double().cpu().flatten())

    def start(self, run: Run) -> Weighed:
        """Draw from the prior at `sigma_T`, `N(c, sigma_T^2 I)`, tilted by `g_T`."""
        spectrum, a, tau = run.data_levels
        c = self.clouds(center(run.problem, run.prior))
        z = pf.coefficients(spectrum, c)
        variance = self._variance(run, tau, 0, below=0)
        run.add_evidence(pf.log_outside(run, spectrum, tau))
        run.add_evidence(pf.log_potential(z[:, :1], a, run.levels[0] ** 2 + variance)[:, 0])
        return Weighed(*pf.tilted_draw(spectrum, c, z, run.levels[0], a, variance, run.randn(c)))

    def step(self, run: Run, state: Weighed, i: int) -> Weighed:
        """Weigh, choose the survivors, and move them."""
        x = state.x
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        spectrum, a, tau = run.data_levels
        # Freed coefficients keep their weights: at level i those count that still do at level i + 1.
        now, after = (self._variance(run, tau, k, below=i + 1) for k in (i, i + 1))
        x0 = pf.denoise(run, x, sigma)
        c, s = ddim_coefficients(sigma, sigma_next, self.eta)
        mean = torch.lerp(x0, x, c)
        z = pf.coefficients(spectrum, mean)
        s_data = s if sigma_next > 0 else sigma  # of the transition in the coefficients that a potential acts on
        log_w = pf.log_potential(z, a, s_data**2 + after) - pf.log_potential(state.z, a, now)
        run.add_evidence(pf.log_mean(log_w))
        index = pf.survivors(run, log_w, self.resample)
        mean, z = pf.pick(mean, index), pf.pick(z, index)
        if sigma_next == 0:
            change = torch.where(after.isfinite(), a[:, None] - z, 0)
            return Weighed(mean + spectrum.V(pf.flat(change)).reshape(mean.shape), z + change)
        return Weighed(*pf.tilted_draw(spectrum, mean, z, s, a, after, run.randn(mean)))

    def _variance(self, run: Run, tau: Tensor, i: int, below: int) -> Tensor:
        """Return the variances of the potential at level i, infinite for what is free at the level `below`."""
        own = pf.on_levels(tau, run.levels)
        if i == len(run.levels) - 1:
            return torch.where(own == 0, 0.0, math.inf)
        own2 = own.square().nan_to_num(posinf=0.0)
        variance = run.levels[i] ** 2 + self.kappa * self.unit(run.prior) ** 2 - (1 - self.kappa) * own2
        return torch.where(own <= run.levels[below], variance, math.inf)
