"""Weights of denoising errors, which distinguish the objectives.

Every denoising objective is `E[w(sigma) |denoise(x_sigma, sigma) - x_0|^2]` over the distribution of noise levels. With
`b` the factor of the network's output in the denoiser (`invdiff.priors.conversions`), `q` the density of `log sigma`:

    plain                 w = 1 / b^2                       plain regression of the network's own target
    inverse variance      w = 1 / sigma^2                   SMLD's `lambda = sigma^2` on scores; regression of the noise
    EDM                   w = 1 / sigma^2 + 1 / s_d^2       plain regression of EDM's target
    even                  w = 1                             mean square error of the image
    maximum likelihood    w = 1 / (sigma^2 q(log sigma))    the bound on the likelihood, below
    DDIM's bound          w = (1 - k)^2 / (2 s^2)           with x_{t-1} ~ N(x_0 + k (x_t - x_0), s^2) of `transitions`

Maximum likelihood: for a model whose reverse SDE has the denoiser `D`, and `D*` the true one,

    KL(p || model) <= KL(p_sigma_max || start) + int E|D - D*|^2 / sigma^2 d log sigma,

with equality if `D` is the denoiser of some distribution. DDIM's: the sum over the chain of `KL(q(x_{t-1} | x_t, x_0)
|| q(x_{t-1} | x_t, x_0 = D))`; at `eta = 1`, `w = (1 / sigma'^2 - 1 / sigma^2) / 2`, DDPM's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ...checks import number
from ...priors.conversions import Output, Shrink
from .noise import NoiseLaw


class Weighting(Protocol):
    """A weight of squared denoising errors."""

    def __call__(self, sigma: Tensor, output: Output, noise: NoiseLaw) -> Tensor:
        """Return `w(sigma)`, like `sigma`.

        Args:
            sigma: noise levels, `(B,)`.
            output: what the network estimates.
            noise: the distribution of the levels.
        """
        ...


@dataclass(frozen=True)
class Plain:
    """Plain regression of the network's own target: `1 / b^2`."""

    def __call__(self, sigma: Tensor, output: Output, noise: NoiseLaw) -> Tensor:
        """Return `1 / b^2`."""
        return output.coefficients(sigma)[1] ** -2


@dataclass(frozen=True)
class InverseVariance:
    """SMLD's weights: `1 / sigma^2`.

    References:
        Generative Modeling by Estimating Gradients of the Data Distribution (Song, Ermon, 2019),
        https://arxiv.org/abs/1907.05600, section 4.2.
    """

    def __call__(self, sigma: Tensor, output: Output, noise: NoiseLaw) -> Tensor:
        """Return `1 / sigma^2`."""
        return sigma**-2


@dataclass(frozen=True)
class EDMWeights:
    """EDM's weights: `1 / sigma^2 + 1 / s_d^2`.

    References:
        Karras et al. (2022), https://arxiv.org/abs/2206.00364, table 1.
    """

    def __call__(self, sigma: Tensor, output: Output, noise: NoiseLaw) -> Tensor:
        """Return `1 / sigma^2 + 1 / s_d^2`."""
        return sigma**-2 + output.std**-2


@dataclass(frozen=True)
class Even:
    """Equal weights: 1."""

    def __call__(self, sigma: Tensor, output: Output, noise: NoiseLaw) -> Tensor:
        """Return 1."""
        return torch.ones_like(sigma)


@dataclass(frozen=True)
class MaximumLikelihood:
    """The weights for which the objective bounds the likelihood, for every distribution of levels: `1 / (sigma^2 q)`.

    References:
        Maximum Likelihood Training of Score-Based Diffusion Models (Song et al., 2021),
        https://arxiv.org/abs/2101.09258, theorem 1.
    """

    def __call__(self, sigma: Tensor, output: Output, noise: NoiseLaw) -> Tensor:
        """Return `1 / (sigma^2 q(log sigma))`."""
        return 1 / (sigma**2 * noise.density(sigma))


@dataclass(frozen=True)
class DDIMVariational:
    """The weights of DDIM's variational bound.

    Attributes:
        eta: fraction of the ancestral noise, positive, because without noise the bound is infinite.
        previous: from levels to the previous, lower ones, both positive.

    References:
        Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502, theorem 1.
    """

    eta: float = 1.0
    previous: Callable[[Tensor], Tensor] = field(default_factory=Shrink)

    def __post_init__(self) -> None:
        number("DDIMVariational: eta", self.eta, 0, 1, positive=True)

    def __call__(self, sigma: Tensor, output: Output, noise: NoiseLaw) -> Tensor:
        """Return `(1 - k)^2 / (2 s^2)`."""
        low = self.previous(sigma)
        s2 = (self.eta * low) ** 2 * (1 - (low / sigma) ** 2)
        k = torch.sqrt(low**2 - s2) / sigma
        return (1 - k) ** 2 / (2 * s2)
