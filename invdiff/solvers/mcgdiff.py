"""Monte Carlo guided diffusion (MCGDiff): a particle filter in the singular basis of a linear operator.

With `A = U diag(s) V^T`, the data `a_i = (U^T y)_i / s_i = (V^T x_0)_i + tau_i n`, `tau_i = sigma_y / s_i`, have the
distribution of coefficient i of a noisy image at level `tau_i`. So conditioning on `y` means to condition the diffusion
on `(V^T x_{tau_i})_i = a_i`: inpainting without noise, with a level for each coefficient. Down to `rho_i`, the highest
of the filter's levels that is at most `tau_i`, the particles are weighted with potentials

    g_t(x) = prod_{i : rho_i <= sigma_t} N(a_i; m_i + gamma_i (V^T x - m)_i, gamma_i (sigma_t^2 - rho_i^2) + q_i)
    gamma_i = (v_i + rho_i^2) / (v_i + sigma_t^2),      q_i = tau_i^2 - rho_i^2,

which is `p(a_i | x_t)` for coefficients that are `N(m_i, v_i)` under the prior. With the transitions
`p(x_{t-1} | x_t) = N(m_t, s_t^2 I)` one step is

    w_j      = [integral p(x_{t-1} | x_t^j) g_{t-1}(x_{t-1})] / g_t(x_t^j)
    x_{t-1}^j ~ p(x_{t-1} | x_t^i) g_{t-1}(x_{t-1}) / constant,      i drawn with probability proportional to w_i

whose integrals are Gaussian: see `particles`. Below `rho_i` coefficient i moves freely. For all `m_i` and `v_i`, the
weights make the result exact in the limit of many particles, for the prior that the T transitions sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..checks import check_number
from ..noise import Gaussian
from ..operators.base import LinearOperator
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import Spacing, geometric_levels, scaled_levels
from ..transitions import ddim_coefficients
from .common import particles as pf
from .common.guidance import image_scale
from .common.initial_state import center
from .common.levels import level_range
from .common.run import Run
from .common.search import SHARE, Ranges
from .common.singular import compact
from .common.spread import matched_spread

WIDE = 3.0  # the spread of a coefficient under the prior that potentials assume, in units of `prior.std`


class Weighed(NamedTuple):
    """Particles, and the moments of the prior for their potentials.

    Attributes:
        x: `(N, P, C, H, W)`.
        z: `V^T x`, `(N, P, *coefficients)`.
        mean: `V^T m`, `(N, *coefficients)`.
        precision: `1 / v` of each coefficient, like `mean`, float64; 0 for an unknown variance.
    """

    x: Tensor
    z: Tensor
    mean: Tensor = torch.zeros(1)
    precision: Tensor = torch.zeros(1, dtype=torch.float64)


class Potential(NamedTuple):
    """The factors `c N(b_i; (V^T x)_i, g_i^2)` of a potential.

    Attributes:
        center: `b`, `(N, *coefficients)`.
        variance: `g^2`, float64, broadcastable to `center`; infinite where there is no factor.
        log_scale: sum of the `log c`, `(N,)`, float64.
    """

    center: Tensor
    variance: Tensor
    log_scale: Tensor

    def log(self, z: Tensor, s: float | Tensor = 0.0) -> Tensor:
        """Return the logarithm of its mean over `N(z, s^2 I)`, `(N, P)`, float64."""
        s2 = image_scale(s, self.center).double() ** 2 if isinstance(s, Tensor) else s**2
        return pf.log_potential(z, self.center, s2 + self.variance) + self.log_scale[:, None]


@dataclass(frozen=True, kw_only=True)
class MCGDiff(pf.ParticleSolver):
    """Particle filter with optimal proposals, for linear operators with a closed-form singular value decomposition.

    It is exact in the limit of many particles, for the prior that the transitions sample: the variance has an error of
    `O(1 / T)` for T levels, some hundredths at 100 levels. The estimate of the evidence is unbiased for that prior; its
    logarithm is too low by about half its variance, which decreases as `1 / P`.

    Attributes:
        steps: noise levels; the authors use 100 for images, 20 and 100 for mixtures.
        particles: P, for each sample; the authors have 64 to 1024, and 1000 for mixtures.
        eta: fraction of DDPM's noise in the transitions; 1 for images, 0.6 at 20 steps and 0.85 at 100 for mixtures.
        kappa: the authors' potentials and transitions, with this variance of a potential at its own level, relative to
            that of the data; 1e-4 for images, 1e-2 for mixtures. `None` for those above.
        spacing: of the levels, in units of the data; the authors' are `schedules.alpha_levels`.
        resample: method of resampling; the authors draw independently, `particles.multinomial`.

    References:
        Monte Carlo guided Diffusion for Bayesian linear inverse problems (Cardoso et al., 2024),
        https://arxiv.org/abs/2308.07983, algorithms 1 and 2. Variance of the transitions: Analytic-DPM: an Analytic
        Estimate of the Optimal Reverse Variance in Diffusion Probabilistic Models (Bao et al., 2022),
        https://arxiv.org/abs/2201.06503, theorem 1.

    Differs:
        The authors' potentials have `v_i` infinite, so `gamma_i = 1`, and `q_i = kappa (r^2 + tau_i^2)` with `r = 1`:
        in their VP coordinates `1 - (1 - kappa) abar_t / abar_tau` altogether. This adds noise of standard deviation `r
        sqrt(kappa)` to every datum: for noise of 0.001 and a prior N(0, 1) the variance is 400 times too large. A flat
        prior also moves the particles to the data while `sigma_t` is still far above the prior's spread, and many
        particles are needed to correct this: for a blur of 256 pixels the logarithm of the evidence is too low by 30
        with 1024 particles, here by 1. Here `m` is the prior's mean, and `v_i` the square of three times its standard
        deviation, or of the distance from mean to data if that is larger. The authors' transitions have DDPM's
        variance; here that of the clean image given the noisy one is added, see `spread`. DDPM's variance alone gives
        0.7 to 0.8 of the posterior's variance at 100 levels; with the addition it is 0.95 to 1.05. Levels are in
        geometric progression, which halves the error of a few steps on the authors' mixtures, down to a fraction of the
        data's noise; theirs are about uniform in `1 / sqrt(1 + sigma^2)`, see `invdiff.benchmarks.studies.mixture`.
        Levels are moved onto the `tau_i`, as in the paper, if these are not more than half of the levels; with `kappa`,
        others are rounded to the nearest level, as in the authors' program. The program begins with particles of the
        prior; this class begins, as the paper, with the prior tilted by `g_T`. One of their two programs divides by `g`
        when a coefficient is freed and weights with `p(y | x_0)` at the end: the limit is the same with a larger
        variance, so here, as in the other, the weights of freed coefficients are kept. The last transition has variance
        `sigma_1^2` in the coefficients whose data have less noise than `sigma_1`, and is `x0_hat` in the others.
        Resampling is systematic, because independent resampling at each of T steps adds a variance of order T / P to
        every mean.

    Example:
        >>> MCGDiff(particles=16).samples_per_row
        16
    """

    particles: int = 64
    eta: float = 1.0
    kappa: float | None = None
    spacing: Spacing = geometric_levels

    name: ClassVar[str] = "mcgdiff"
    summary: ClassVar[str] = "particle filter in the singular basis of a linear operator"
    paper: ClassVar[str] = "Cardoso et al. 2024"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "svd", "gaussian"})
    limit: ClassVar[str] = "particles"
    search: ClassVar[Ranges] = {"eta": SHARE}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "eta", 0, 1, positive=True)  # particles need noise to move
        if self.kappa is not None:
            check_number(self, "kappa", 0, 1, positive=True)

    def unit(self, prior: Prior) -> float:
        """Return `r`, the unit of kappa and the spacing."""
        return prior.std / 0.5

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return the levels of `spacing`, some of them moved onto the `tau_i`."""
        low, high = level_range(prior, problem, pf.lowest_share(self.steps))
        levels = scaled_levels(self.spacing, self.steps, low, high, self.unit(prior))
        assert isinstance(problem.operator, LinearOperator) and isinstance(problem.noise, Gaussian)
        assert problem.operator.svd is not None
        return pf.with_levels(levels, problem.noise.std / compact(problem.operator.svd.s).double().cpu().flatten())

    def start(self, run: Run) -> Weighed:
        """Draw from the prior at `sigma_T`, `N(c, sigma_T^2 I)`, tilted by `g_T`."""
        spectrum, a, tau = run.data_levels
        c, top = center(run.problem, run.prior), run.levels[0]
        x = self.replicate(c)
        z = pf.coefficients(spectrum, x)
        mean, precision = torch.zeros_like(a), torch.zeros_like(a, dtype=torch.float64)
        if self.kappa is None:
            mean = spectrum.Vt(run.denoise(c, run.prior.sigma_max))
            excess = (a - mean).double().square() - tau.square().nan_to_num(posinf=0.0)
            precision = 1 / excess.clamp(min=(WIDE * run.prior.std) ** 2)
        state = Weighed(x, z, mean, precision)
        g = self._potential(run, state, 0, below=0)
        run.add_evidence(pf.log_outside(run, spectrum, tau))
        run.add_evidence(g.log(z[:, :1], top)[:, 0])
        x, z = pf.tilted_draw(spectrum, x, z, top, g.center, g.variance, run.randn(x))
        return state._replace(x=x, z=z)

    def step(self, run: Run, state: Weighed, i: int) -> Weighed:
        """Weight the particles, resample and move them."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        spectrum = run.data_levels.spectrum
        # Freed coefficients keep their weights: at level i only those count that still count at level i + 1.
        now, after = (self._potential(run, state, k, below=i + 1) for k in (i, i + 1))
        x0 = pf.denoise(run, state.x, sigma)
        c, s = self._transition(run, state.x, x0, i)
        mean = torch.lerp(x0, state.x, c)
        z = pf.coefficients(spectrum, mean)
        log_w = after.log(z, s) - now.log(state.z)
        run.add_evidence(pf.log_mean(log_w))
        index = pf.survivors(run, log_w, self.resample)
        mean, z, noise = pf.select(mean, index), pf.select(z, index), run.randn(mean)
        if sigma_next == 0:  # free coefficients end at x0_hat, without noise
            seen = pf.coefficients(spectrum, noise) * pf.rowwise(after.variance.isfinite(), z)
            noise = spectrum.V(pf.flat(seen)).reshape(mean.shape)
        x, z = pf.tilted_draw(spectrum, mean, z, s, after.center, after.variance, noise)
        return state._replace(x=x, z=z)

    def _transition(self, run: Run, x: Tensor, x0: Tensor, i: int) -> tuple[float, float | Tensor]:
        """Return `(c, s)` of the transition from level i, the second for each set of particles if it is matched."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        c, s = ddim_coefficients(sigma, sigma_next, self.eta)
        if sigma_next == 0:
            return c, sigma  # in the coefficients that a potential acts on
        if self.kappa is not None:
            return c, s
        error = matched_spread(pf.flat(x), pf.flat(x0), sigma, run.prior.std).square().reshape(x.shape[:2]).mean(1)
        return c, (s**2 + (1 - c) ** 2 * error).sqrt()

    def _own(self, run: Run, tau: Tensor) -> tuple[Tensor, Tensor]:
        """Return the level at which each coefficient is freed, and the variance of its potential there."""
        if self.kappa is not None:
            own = pf.on_levels(tau, run.levels)
            return own, self.kappa * (self.unit(run.prior) ** 2 + own**2)
        own = pf.levels_below(tau, run.levels)
        return own, (tau**2 - own**2).clamp(min=0).nan_to_num(nan=math.inf)

    def _variance(self, run: Run, tau: Tensor, i: int, below: int, share: float | Tensor = 1.0) -> Tensor:
        """Return the variances of the potential at level i, infinite for free coefficients at the level `below`."""
        own, least = self._own(run, tau)
        if run.levels[i] == 0:
            return torch.where(own == 0, tau**2, math.inf)
        variance = (run.levels[i] ** 2 - own**2) / share + least / share**2
        return torch.where(own <= run.levels[below], variance, math.inf)

    def _potential(self, run: Run, state: Weighed, i: int, below: int) -> Potential:
        """Return the potential at level i, of the coefficients that are not yet free at the level `below`."""
        _, a, tau = run.data_levels
        own, _ = self._own(run, tau)
        own, precision = own.nan_to_num(posinf=0.0), state.precision.expand_as(a)
        share = (1 + precision * own**2) / (1 + precision * run.levels[i] ** 2)
        variance = self._variance(run, tau, i, below, share)
        log_scale = -torch.where(variance.isfinite(), share.log(), 0.0).flatten(1).sum(1)
        return Potential(state.mean + (a - state.mean) / share.to(a), variance, log_scale)
