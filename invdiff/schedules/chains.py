"""DDPM's discrete chain, and its form in variance-exploding coordinates.

    x_k = sqrt(1 - beta_k) x_{k-1} + sqrt(beta_k) n_k,  k = 1..K,       abar_k = prod_{j <= k} (1 - beta_j),
    x_k | x_0 ~ N(sqrt(abar_k) x_0, (1 - abar_k) I),                    sigma_k = sqrt(1 / abar_k - 1).

Divided by `sqrt(abar_k)` the chain is the random walk `x_{k-1} + sqrt(sigma_k^2 - sigma_{k-1}^2) n_k`.

    linear   beta_k from 1e-4 to 2e-2 in equal steps
    cosine   abar_k = h(k / K) / h(0),  h(u) = cos^2(pi/2 (u + s) / (1 + s)),
             beta_k = min(1 - abar_k / abar_{k-1}, 0.999)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError


@dataclass(frozen=True, eq=False)
class Chain:
    """A variance-preserving Markov chain given by its rates.

    Index 0 is the clean image, index `K` the last state. Tables are float64.

    Attributes:
        betas: `(K,)`, each in (0, 1).

    References:
        Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239, equations 2 and 4.

    Example:
        >>> chain = Chain(linear_betas())
        >>> len(chain), round(float(chain.sigma[-1]), 1)
        (1000, 157.4)
    """

    betas: Tensor

    def __post_init__(self) -> None:
        betas = torch.as_tensor(self.betas, dtype=torch.float64)
        if betas.ndim != 1 or len(betas) == 0 or not bool(((betas > 0) & (betas < 1)).all()):
            raise UserError(f"Chain: betas: expected a vector of numbers in (0, 1), got {_summary(betas)}")
        object.__setattr__(self, "betas", betas)

    def __len__(self) -> int:
        return len(self.betas)

    @property
    def log_abar(self) -> Tensor:
        """`log abar_k` for `k = 0..K`, `(K + 1,)`."""
        return torch.cat([self.betas.new_zeros(1), torch.log1p(-self.betas).cumsum(0)])

    @property
    def abar(self) -> Tensor:
        """`abar_k` for `k = 0..K`, `(K + 1,)`."""
        return self.log_abar.exp()

    @property
    def sigma(self) -> Tensor:
        """Noise levels in variance-exploding coordinates for `k = 0..K`, `(K + 1,)`, rising from 0."""
        return torch.sqrt(torch.expm1(-self.log_abar))

    def step(self, x: Tensor, k: int, noise: Tensor) -> Tensor:
        """Return `x_k` from `x = x_{k-1}` and standard normal `noise`, for `k` in `1..K`."""
        if not 1 <= k <= len(self):
            raise ValueError(f"Chain.step: k: expected an index in 1..{len(self)}, got {k}")
        beta = float(self.betas[k - 1])
        return math.sqrt(1 - beta) * x + math.sqrt(beta) * noise

    def to_ve(self, x: Tensor, k: int) -> tuple[Tensor, float]:
        """Return `(x_sigma, sigma)`: the state `x_k` in variance-exploding coordinates."""
        return x / math.exp(0.5 * float(self.log_abar[k])), float(self.sigma[k])

    def from_ve(self, x: Tensor, k: int) -> Tensor:
        """Return `x_k` from the state in variance-exploding coordinates at level `sigma[k]`."""
        return x * math.exp(0.5 * float(self.log_abar[k]))

    def index(self, sigma: Tensor | float) -> Tensor:
        """Return the index `k`, a real number in [1, K], at which the chain has the noise level `sigma`.

        Between two states the index is linear in `log sigma`; a network trained on the chain counts its states from 0,
        so its label is `index - 1`.

        Args:
            sigma: levels in variance-exploding coordinates, any shape; those outside of the chain are moved to its
                nearest end.

        Returns:
            Indices, of the shape of `sigma`, in float64.
        """
        log = self.sigma[1:].log()
        s = torch.as_tensor(sigma, dtype=torch.float64).log().cpu()
        high = torch.searchsorted(log, s.contiguous()).clamp(1, max(1, len(log) - 1)).clamp(max=len(log) - 1)
        low = (high - 1).clamp(min=0)
        width = torch.where(high > low, log[high] - log[low], 1.0)
        share = ((s - log[low]) / width).clamp(0, 1)
        return 1 + low + share * (high - low)

    def levels(self, steps: int) -> Tensor:
        """Return `steps` of the chain's levels, evenly spaced in its index from the last one down to the first, then 0.

        Raises:
            ValueError: `steps` is not in `1..K`.

        References:
            Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502, appendix D.2.

        Differs:
            Both ends of the chain are kept; the authors' code leaves out its last states.
        """
        if not 1 <= steps <= len(self):
            raise UserError(f"Chain.levels: steps: expected 1..{len(self)}, got {steps}")
        k = torch.linspace(len(self), 1, steps, dtype=torch.float64).round().long()
        return torch.cat([self.sigma[k], self.betas.new_zeros(1)])


def _summary(values: Tensor) -> str:
    """Return a short description of a tensor."""
    if values.ndim != 1 or not len(values):
        return f"shape {tuple(values.shape)}"
    return f"{len(values)} from {float(values.min()):.4g} to {float(values.max()):.4g}"


def linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 2e-2) -> Tensor:
    """Return rates in arithmetic progression, `(steps,)`, float64.

    References:
        Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239, section 4.
    """
    if steps < 1:
        raise UserError(f"linear_betas: steps: expected at least 1, got {steps}")
    return torch.linspace(first, last, steps, dtype=torch.float64)


def cosine_betas(steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> Tensor:
    """Return the rates of the cosine schedule, `(steps,)`, float64.

    Args:
        steps: length of the chain.
        offset: `s`, which keeps the first rates above zero.
        largest: upper bound of the rates; it matters only at the end of the chain.

    References:
        Improved Denoising Diffusion Probabilistic Models (Nichol, Dhariwal, 2021), https://arxiv.org/abs/2102.09672,
        equation 17.
    """
    if steps < 1:
        raise UserError(f"cosine_betas: steps: expected at least 1, got {steps}")
    u = torch.arange(steps + 1, dtype=torch.float64) / steps
    h = torch.cos(math.pi / 2 * (u + offset) / (1 + offset)) ** 2
    return (1 - h[1:] / h[:-1]).clamp(max=largest)
