"""Noise of counted photons, with `N = photons` for the count that a clean value of 1 stands for.

    camera              y = k / N,                  k ~ Poisson(N z)
    camera, read noise  y = k / N + std n           k ~ Poisson(N z),  n ~ N(0, 1)
    X-ray transmission  y = -log(k / N)             k ~ Poisson(N exp(-z)),  z a line integral of the attenuation

With read noise the density is a sum over the photons that nobody saw, `sum_k Poisson(k; N z) N(y; k / N, std^2)`. Its
terms are a smooth bump in `k`, at the root of `(k - N y) / (N std)^2 = log(N z / k)` and about
`w = 1 / sqrt(1 / (N std)^2 + 1 / k)` wide. Every `h`-th of them, `h <= w / 1.3`, times `h` gives the sum: the error of
such a rule is `exp(-2 pi^2 (w / h)^2)`, 3e-15, and 1e-8 where the bump is cut at `k = 0`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Independent, finite

LEAST = 1e-2
"""Photons that a clean value stands for at least where a likelihood is asked for; below, its logarithm goes on as a
straight line, so that gradients stay finite and push back up."""

TERMS = 96


@dataclass(frozen=True)
class Poisson(Independent):
    """Photon noise: counts with mean `photons * clean`, scaled back to the units of the clean measurement.

    `gaussian` has the variance `max(y, 1 / photons) / photons`. Weights that depend on the counts themselves pull a
    least-squares estimate down by about one photon (Neyman's chi-square): small beside the noise of a pixel, not beside
    that of a mean over many dark ones.

    Attributes:
        photons: expected count for a clean value of 1.

    Example:
        >>> import torch
        >>> Poisson(1e6).sample(torch.zeros(1, 1, 1, 1), torch.Generator().manual_seed(0)).item()
        0.0
    """

    photons: float

    def __post_init__(self) -> None:
        finite("Poisson", "photons", self.photons, positive=True)

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `Poisson(photons * clean) / photons`; negative clean values are an error."""
        return _counts("Poisson", self.photons * clean, generator) / self.photons

    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `k log(lambda) - lambda - log k!` with `k = photons y`, `lambda = photons clean`, of each entry.

        Below `LEAST` photons `log(lambda)` goes on as its tangent, and below 0 `lambda` counts as 0.
        """
        k, rate = self.photons * y, self.photons * clean
        return k * _log(rate) - rate.clamp(min=0) - torch.lgamma(k + 1)

    def variance(self, clean: Tensor) -> Tensor:
        """Return `clean / photons`, that of one photon at least."""
        return clean.clamp(min=1 / self.photons) / self.photons


@dataclass(frozen=True)
class PoissonGaussian(Independent):
    """Photon noise and the Gaussian noise of reading it out, as a camera has.

    Attributes:
        photons: expected count for a clean value of 1.
        std: standard deviation of the read noise, in units of the measurement, positive.

    References:
        Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data (Foi et al., 2008),
        https://doi.org/10.1109/TIP.2008.2001399, section II.

    Example:
        >>> PoissonGaussian(1000.0, 0.01).variance(torch.tensor(0.5)).mul(1e4).round().item()
        6.0
    """

    photons: float
    std: float

    def __post_init__(self) -> None:
        finite("PoissonGaussian", "photons", self.photons, positive=True)
        finite("PoissonGaussian", "std", self.std, positive=True)

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `Poisson(photons * clean) / photons + std n`; negative clean values are an error."""
        counts = _counts("PoissonGaussian", self.photons * clean, generator)
        n = torch.randn(clean.shape, generator=generator, dtype=clean.dtype, device=generator.device)
        return counts / self.photons + self.std * n.to(clean.device)

    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `log sum_k Poisson(k; lambda) N(y; k / photons, std^2)` of each entry, to 1e-8.

        Rates below `LEAST` photons go on as in `Poisson.log_density`. It is computed in float64.
        """
        rate = self.photons * clean.double()
        seen, read = self.photons * y.double(), self.photons * self.std
        with torch.no_grad():
            k, h = _terms(rate.detach().clamp(min=LEAST), seen, read)
        logs = k * _log(rate)[..., None] - torch.lgamma(k + 1) - 0.5 * ((seen[..., None] - k) / read) ** 2
        out = logs.logsumexp(-1) + h.log() - rate.clamp(min=0) - math.log(self.std * math.sqrt(2 * math.pi))
        return out.to(y.dtype)

    def variance(self, clean: Tensor) -> Tensor:
        """Return `clean / photons + std^2`."""
        return clean.clamp(min=0) / self.photons + self.std**2


@dataclass(frozen=True)
class TransmissionPoisson(Independent):
    """Noise of X-ray transmission: the clean measurement is a line integral, and photons are counted behind it.

    A ray that no photon survived counts as half a photon, so that its logarithm exists. `gaussian` has the variance
    `1 / k`, one over the photons counted, of the logarithm of a Poisson variable; it holds above some tens of photons.

    Attributes:
        photons: expected count of a ray that meets nothing, `I_0`.

    References:
        Statistical Image Reconstruction for Transmission Tomography (Fessler, 2000), in: Handbook of Medical Imaging
        2, https://doi.org/10.1117/3.831079.ch1, section 1.2.

    Example:
        >>> TransmissionPoisson(1e4).variance(torch.tensor(0.0)).sqrt()
        tensor(0.0100)
    """

    photons: float

    def __post_init__(self) -> None:
        finite("TransmissionPoisson", "photons", self.photons, positive=True)

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `-log(k / photons)` with `k ~ Poisson(photons exp(-clean))`, at least half a photon.

        Raises:
            ValueError: most rays expect less than one photon: the clean values are in other units than attenuation.
        """
        rate = self.photons * (-clean).exp()
        if clean.numel() and float((rate < 1).double().mean()) > 0.5:
            raise ValueError(
                f"TransmissionPoisson: sample: expected line integrals of the attenuation, got clean values up to "
                f"{float(clean.max()):.4g}, at which exp(-value) of the photons arrive: fewer than one on most rays; "
                "choose the operator's pixel_size so that they stay below 10, or more photons"
            )
        counts = _counts("TransmissionPoisson", rate, generator)
        return -(counts.clamp(min=0.5) / self.photons).log()

    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `k log(lambda) - lambda - log k!`, `k = photons exp(-y)`, `lambda = photons exp(-clean)`.

        This is the probability of the count `k`, of which `y` is another name.
        """
        k = self._counted(y)
        return k * (math.log(self.photons) - clean) - self.photons * (-clean).exp() - torch.lgamma(k + 1)

    def variance(self, clean: Tensor) -> Tensor:
        """Return `1 / lambda` with `lambda = photons exp(-clean)` and at least 1: the delta method's."""
        return 1 / (self.photons * (-clean).exp()).clamp(min=1)

    def _counted(self, y: Tensor) -> Tensor:
        k = self.photons * (-y).exp()
        return torch.where(k < 0.75, 0, k)  # half a photon stands for none


def _counts(owner: str, rate: Tensor, generator: torch.Generator) -> Tensor:
    if bool((rate < 0).any()):
        raise ValueError(
            f"{owner}: sample: expected clean values >= 0, got {float(rate.min()):.4g} photons; "
            "clip or shift the measurement"
        )
    return torch.poisson(rate.to(generator.device), generator=generator).to(rate.device)


def _log(rate: Tensor) -> Tensor:
    """Return `log(rate)`, below `LEAST` its tangent there."""
    low = rate.clamp(min=LEAST)
    return low.log() + (rate - low) / LEAST


def _terms(rate: Tensor, seen: Tensor, read: float) -> tuple[Tensor, Tensor]:
    """Return the counts to sum over, `(..., TERMS)`, and their distance `h`, `(...)`.

    Args:
        rate: expected counts, positive.
        seen: measured values in photons.
        read: standard deviation of the read noise in photons.
    """
    # Newton's steps on u = log k for (e^u - seen) / read^2 + u = log(rate), which is increasing and convex in u:
    # from above the root they come down to it.
    u = torch.maximum(seen.clamp(min=0), rate).clamp(min=0.1).log()
    for _ in range(30):
        k = u.exp()
        u = u - ((k - seen) / read**2 + u - rate.log()) / (k / read**2 + 1)
    mode = u.exp()
    width = (1 / read**2 + 1 / mode.clamp(min=0.25)) ** -0.5
    h = (width / 1.3).floor().clamp(min=1)
    low = (mode - 9 * width).floor().clamp(min=0)
    return low[..., None] + h[..., None] * torch.arange(TERMS, dtype=rate.dtype, device=rate.device), h
