"""Plug-and-play diffusion models: a split Gibbs sampler (PnP-DM).

The posterior is split into two parts, coupled by a Gaussian of standard deviation `rho`,

    pi(x, z) in proportion to p(y | z) N(x; z, rho^2 I) p(x),

and two draws alternate while `rho` decreases:

    z ~ p(y | z) N(z; x, rho^2 I)         exact for a linear operator and Gaussian noise
    x ~ p(x) N(z; x, rho^2 I)             the reverse diffusion from noise level rho to 0, started at z

The second draw is the reverse SDE of the diffusion model: started at `x_rho = z`, it ends in `p(x_0 | x_rho = z)`. The
distribution of `x` is then the posterior for data with noise of covariance `s^2 I + rho^2 A A^T`. It is exact in the
limit of `rho` to 0, but a small `rho` makes the chain slow. Where `rho ||A|| <= s / sqrt(2)`, the coupling can be a
part of the data's noise instead,

    pi(x, z) in proportion to N(y; A z, s^2 I - rho^2 A A^T) N(x; z, rho^2 I) p(x),

whose distribution of `x` is the posterior itself: exact data augmentation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..noise import Gaussian
from ..priors.base import Prior
from ..problem import Problem
from ..transitions import reverse_sde_step, tweedie_score
from .common.levels import data_level
from .common.run import Run
from .common.search import Range, Ranges
from .common.splitting import absorbed, absorbed_draw, data_draw
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class PnPDM(IterativeSolver):
    """Split Gibbs sampling with a diffusion model.

    Exact in the limit of large `steps`, for a linear operator and Gaussian noise, up to the error of the reverse
    diffusions, `O(1 / inner)` of the variance that the last coupling leaves. The influence of the start, and the bias
    of the couplings above the noise, decrease geometrically in the number of sweeps below it, which is proportional to
    `steps`. For other operators and noise the bias is `O(rho_min^2)`, relative to the squared noise in units of the
    images.

    Attributes:
        steps: number of Gibbs sweeps; the authors take 100.
        inner: denoisings in each reverse diffusion.
        rho_max: first coupling, for data on [-1, 1]; the authors take 10.
        rho_min: last coupling, for data on [-1, 1], or less for small noise; the authors take 0.3.
        noise_share: the last coupling is at most this fraction of the measurement's noise, in units of the images,
            `s / ||A||`.
        absorbed: whether a coupling below the data's noise counts as a part of it; False for the authors.
        moves: length of the Markov chain for operators or noise that are not linear and Gaussian; the authors take 100.

    References:
        Principled Probabilistic Imaging using Diffusion Models as Plug-and-Play Priors (Wu et al., 2024),
        https://arxiv.org/abs/2405.18782, algorithm 1. Exact data augmentation: An Auxiliary Variable Method for Markov
        Chain Monte Carlo Algorithms in High Dimension (Marnissi et al., 2018), https://doi.org/10.3390/e20020110.

    Differs:
        The authors' configuration integrates the probability flow, which is deterministic; here, as in the paper, the
        reverse SDE is simulated, on levels that are uniform in `sigma`. The coupling decreases geometrically over all
        steps; theirs decreases by a factor of 0.9 for each step and then stays constant. Their last coupling of 0.3
        would exceed small noise, so `noise_share` bounds it. Couplings below the noise are exact; theirs add
        `rho^2 A A^T` to its covariance, as does `absorbed=False`. Metropolis' test makes the draw for nonlinear
        operators exact; theirs is unadjusted.

    Example:
        >>> PnPDM(steps=30, inner=5).evaluations
        150
    """

    steps: int = 40
    inner: int = 5
    rho_max: float = 10.0
    rho_min: float = 0.3
    noise_share: float = 0.5
    absorbed: bool = True
    moves: int = 50

    name: ClassVar[str] = "pnpdm"
    summary: ClassVar[str] = "split Gibbs sampling with a reverse diffusion"
    paper: ClassVar[str] = "Wu et al. 2024"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    limit: ClassVar[str] = "steps"
    search: ClassVar[Ranges] = {
        "rho_max": Range(0.3, 10.0, log=True),
        "rho_min": Range(0.02, 0.3, log=True),
        "noise_share": Range(0.1, 1.0),
    }

    def __post_init__(self) -> None:
        for name in ("steps", "inner", "moves"):
            check_count(self, name)
        for name in ("rho_max", "rho_min", "noise_share"):
            check_number(self, name, 0, positive=True)

    @property
    def evaluations(self) -> int:
        """Each sweep denoises `inner` times."""
        return self.steps * self.inner

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return the couplings, in geometric progression, and 0."""
        r = prior.std / 0.5
        high = min(self.rho_max * r, prior.sigma_max)
        low = self.rho_min * r
        if (level := data_level(problem)) > 0 or isinstance(problem.noise, Gaussian):
            low = min(low, self.noise_share * (level or 1e-3 * r))
        low = min(max(low, prior.sigma_min), high)
        log = torch.linspace(math.log(high), math.log(low), self.steps, dtype=torch.float64)
        return torch.cat([log.exp(), log.new_zeros(1)])

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Draw from the likelihood's part, then from the prior's."""
        rho, floor = run.levels[i], run.prior.sigma_min
        if self.absorbed and absorbed(run, rho):
            x = absorbed_draw(run, x, rho)
        else:
            x = data_draw(run, x, rho, moves=self.moves)
        for k in range(self.inner, 0, -1):
            sigma, sigma_next = (max(rho * j / self.inner, min(floor, rho)) for j in (k, k - 1))
            x0 = run.denoise(x, sigma)
            x = reverse_sde_step(x, tweedie_score(x, x0, sigma), sigma, sigma_next, run.randn(x)) if k > 1 else x0
        return x
