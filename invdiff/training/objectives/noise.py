"""Distributions of the noise levels of a training, by the density `q` of `log sigma`.

log-uniform    q(l) = 1 / (l_max - l_min)  on [l_min, l_max]
log-normal     q(l) = N(l; log centre, spread^2)
mixture        q(l) = share q_1(l) + (1 - share) q_2(l)

`NoiseConfig` is the distribution of a training run's configuration: log-normal at the most important levels, and
log-uniform to include all levels. Within a batch its levels are stratified, which lowers the variance.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from ...checks import check_number
from ...errors import UserError


class NoiseLaw(abc.ABC):
    """A distribution of noise levels."""

    @abc.abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return `n` levels, float64, `(n,)`."""

    @abc.abstractmethod
    def density(self, sigma: Tensor) -> Tensor:
        """Return the density of `log sigma` at these levels, like `sigma`."""


@dataclass(frozen=True)
class LogUniform(NoiseLaw):
    """Levels uniform in their logarithm.

    Attributes:
        sigma_min: lowest level.
        sigma_max: highest level.

    Example:
        >>> bool((LogUniform(0.1, 1.0).sample(100, torch.Generator()) <= 1).all())
        True
    """

    sigma_min: float = 0.002
    sigma_max: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise UserError(
                f"LogUniform: expected 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}"
            )

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return `n` levels, stratified: one in each of `n` equal parts, in random order."""
        strata = torch.randperm(n, generator=generator).double()
        u = (strata + torch.rand(n, generator=generator, dtype=torch.float64)) / n
        return torch.exp(math.log(self.sigma_min) + u * math.log(self.sigma_max / self.sigma_min))

    def density(self, sigma: Tensor) -> Tensor:
        """Return `1 / log(sigma_max / sigma_min)` between the ends, 0 outside."""
        inside = (sigma >= self.sigma_min) & (sigma <= self.sigma_max)
        return inside.to(sigma) / math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class LogNormal(NoiseLaw):
    """Levels with a normal logarithm, as in EDM.

    Attributes:
        centre: their median, in units of the images.
        spread: standard deviation of their logarithm.

    References:
        Karras et al. (2022), https://arxiv.org/abs/2206.00364, table 1: centre `exp(-1.2)`, spread 1.2 for data of
        standard deviation 0.5.

    Example:
        >>> round(LogNormal(0.1, 1.0).density(torch.tensor(0.1)).item(), 4)
        0.3989
    """

    centre: float = 0.12
    spread: float = 1.2

    def __post_init__(self) -> None:
        if not (self.centre > 0 and self.spread > 0):
            raise UserError(f"LogNormal: expected positive centre and spread, got {self.centre} and {self.spread}")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return `n` independent levels."""
        return self.centre * torch.exp(self.spread * torch.randn(n, generator=generator, dtype=torch.float64))

    def density(self, sigma: Tensor) -> Tensor:
        """Return the normal density of `log sigma`."""
        z = (sigma.log() - math.log(self.centre)) / self.spread
        return torch.exp(-0.5 * z**2) / (self.spread * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class EitherOf(NoiseLaw):
    """A mixture of two distributions.

    Attributes:
        first: the first distribution.
        second: the second distribution.
        share: probability of the first.

    Example:
        >>> EitherOf(LogNormal(), LogUniform(), share=0.8).sample(5, torch.Generator()).shape
        torch.Size([5])
    """

    first: NoiseLaw
    second: NoiseLaw
    share: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "share", 0, 1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return `n` levels."""
        selected = torch.rand(n, generator=generator, dtype=torch.float64) < self.share
        return torch.where(selected, self.first.sample(n, generator), self.second.sample(n, generator))

    def density(self, sigma: Tensor) -> Tensor:
        """Return the mixture's density of `log sigma`."""
        return self.share * self.first.density(sigma) + (1 - self.share) * self.second.density(sigma)


@dataclass(frozen=True)
class NoiseConfig:
    """Noise levels of the training.

    Attributes:
        sigma_min: lowest level.
        sigma_max: highest level.
        centre: median of the log-normal part.
        spread: standard deviation of its logarithm.
        uniform_share: fraction of the log-uniform part.
    """

    sigma_min: float = 0.002
    sigma_max: float = 2.0
    centre: float = 0.12
    spread: float = 1.1
    uniform_share: float = 0.15

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `count` stratified noise levels."""
        u = rng.permutation((np.arange(count) + rng.random(count)) / count)
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        normal = math.log(self.centre) + self.spread * ndtri(u.clip(1e-9, 1 - 1e-9))
        log_sigma = np.where(rng.random(count) < self.uniform_share, low + u * (high - low), normal)
        sigma: NDArray[np.float64] = np.exp(log_sigma.clip(low, high))
        return sigma
