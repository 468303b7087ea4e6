"""Ancestral sampling (DDPM) and DDIM.

With `x0 = E[x_0 | x_t]`, both draw

    x_{t-1} ~ N(x0 + sqrt(sigma_{t-1}^2 - s^2) / sigma_t (x_t - x0),  s^2 I),
    s^2 = eta^2 sigma_{t-1}^2 (sigma_t^2 - sigma_{t-1}^2) / sigma_t^2.

With `eta = 1` this is the posterior of the forward chain, `q(x_{t-1} | x_t, x_0 = x0)`: ancestral sampling. With `eta =
0` it is the Euler step along the probability flow. Every step is exact if the denoiser returns the true `x_0`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..checks import check_number
from ..schedules import Spacing, vp_levels
from ..transitions import ddim_step
from .base import Sampler, Walk


@dataclass(frozen=True, kw_only=True)
class DDIM(Sampler):
    """Denoising diffusion implicit models.

    Attributes:
        steps: number of levels, and of evaluations.
        eta: fraction of the ancestral step's noise; 0 is deterministic, 1 ancestral.
        spacing: of the levels; by default uniform in the time of the variance-preserving SDE.
        sigma_min: lowest positive level; by default that of the prior.
        sigma_max: highest level; by default that of the prior.

    References:
        Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502, equation 12.

    Differs:
        The last step, from `sigma_min` to 0, returns the denoised image for every `eta`.

    Example:
        >>> import torch
        >>> from invdiff.priors import GaussianPrior
        >>> DDIM(steps=20, eta=0.5)(GaussianPrior(torch.zeros(1, 1, 2), torch.eye(2)), 3).samples.shape
        torch.Size([3, 1, 1, 2])
    """

    eta: float = 0.0
    spacing: Spacing = vp_levels

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "eta", 0, 1)

    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Draw from `q(x_{t-1} | x_t, x0)`."""
        sigma, sigma_next = walk.levels[i], walk.levels[i + 1]
        noise = walk.randn() if self.eta > 0 and sigma_next > 0 else None
        return ddim_step(x, walk.denoise(x, sigma), sigma, sigma_next, self.eta, noise)


@dataclass(frozen=True, kw_only=True)
class Ancestral(Sampler):
    """Ancestral sampling of a denoising diffusion probabilistic model.

    Attributes:
        steps: number of levels, and of evaluations.
        spacing: of the levels; by default uniform in the time of the variance-preserving SDE.
        sigma_min: lowest positive level; by default that of the prior.
        sigma_max: highest level; by default that of the prior.

    References:
        Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239, algorithm 2.

    Differs:
        The variance is that of the forward chain's posterior (the paper's lower choice, for data that are one point),
        on any levels, not only on the chain's thousand.

    Example:
        >>> Ancestral().steps
        200
    """

    steps: int = 200
    spacing: Spacing = vp_levels

    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Draw from `q(x_{t-1} | x_t, x0)` at `eta = 1`."""
        sigma, sigma_next = walk.levels[i], walk.levels[i + 1]
        noise = walk.randn() if sigma_next > 0 else None
        return ddim_step(x, walk.denoise(x, sigma), sigma, sigma_next, 1.0, noise)
