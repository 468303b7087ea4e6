"""Noise models: how a clean measurement `A(x)` becomes the one that was recorded.

    Gaussian:  y ~ N(A(x), std^2 I)
    Poisson:   y ~ Poisson(photons A(x)) / photons

The standard deviation is in the units of the measurement. A published "sigma = 0.05" on [-1, 1] images is 0.025 here.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass

import torch
from torch import Tensor


class Noise(abc.ABC):
    """The law of a measurement given the clean one."""

    @abc.abstractmethod
    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return a noisy measurement, like `clean`, `(B, ...)`."""

    @abc.abstractmethod
    def log_likelihood(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `log p(y | clean)` of each image, `(B,)`, in nats; differentiable in `clean`."""


@dataclass(frozen=True)
class Gaussian(Noise):
    """Additive white Gaussian noise.

    Attributes:
        std: standard deviation in units of the measurement; 0 for none.

    Example:
        >>> Gaussian(0.025)
        Gaussian(std=0.025)
    """

    std: float

    def __post_init__(self) -> None:
        if isinstance(self.std, bool) or not isinstance(self.std, int | float):
            raise TypeError(f"Gaussian: std: expected a number, got {type(self.std).__name__}")
        if not (self.std >= 0 and math.isfinite(self.std)):
            raise ValueError(f"Gaussian: std: expected a finite number >= 0, got {self.std}")

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean + std n`."""
        n = torch.randn(clean.shape, generator=generator, dtype=clean.dtype, device=generator.device)
        return clean + self.std * n.to(clean.device)

    def log_likelihood(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `-||y - clean||^2 / (2 std^2) - m log(std sqrt(2 pi))`, `(B,)`; needs `std > 0`."""
        if self.std == 0:
            raise ValueError("Gaussian: log_likelihood: the likelihood of noiseless data has no density; give std > 0")
        r = ((y - clean) / self.std).flatten(1)
        return -0.5 * (r**2).sum(1) - r.shape[1] * math.log(self.std * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class Poisson(Noise):
    """Photon noise: counts with mean `photons * clean`, scaled back to the units of the clean measurement.

    Attributes:
        photons: expected count for a clean value of 1.

    Example:
        >>> import torch
        >>> Poisson(1e6).sample(torch.zeros(1, 1, 1, 1), torch.Generator().manual_seed(0)).item()
        0.0
    """

    photons: float

    def __post_init__(self) -> None:
        if isinstance(self.photons, bool) or not isinstance(self.photons, int | float):
            raise TypeError(f"Poisson: photons: expected a number, got {type(self.photons).__name__}")
        if not (self.photons > 0 and math.isfinite(self.photons)):
            raise ValueError(f"Poisson: photons: expected a finite number > 0, got {self.photons}")

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `Poisson(photons * clean) / photons`; negative clean values are an error."""
        if bool((clean < 0).any()):
            raise ValueError(
                f"Poisson: sample: expected clean values >= 0, got {float(clean.min()):.4g}; "
                "clip or shift the measurement"
            )
        rate = (self.photons * clean).to(generator.device)
        return (torch.poisson(rate, generator=generator) / self.photons).to(clean.device)

    def log_likelihood(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `sum k log(lambda) - lambda - log k!` with `k = photons y`, `lambda = photons clean`, `(B,)`.

        Clean values at or below 1e-6 of one photon are raised to it, so that the gradient stays finite.
        """
        k = (self.photons * y).flatten(1)
        lam = (self.photons * clean).flatten(1).clamp(min=1e-6)
        return (k * lam.log() - lam - torch.lgamma(k + 1)).sum(1)
