"""Noise of photon counts, where `N = photons` is the expected count for a clean value of 1.

    camera              y = k / N,                  k ~ Poisson(N z)
    camera, read noise  y = k / N + std n           k ~ Poisson(N z),  n ~ N(0, 1)
    X-ray transmission  y = -log(k / N)             k ~ Poisson(N exp(-z)),  z a line integral of the attenuation

With read noise the density is a sum over the unknown count, `sum_k Poisson(k; N z) N(y; k / N, std^2)`. Its terms form
a smooth peak in `k`, at the root of `(k - N y) / (N std)^2 = log(N z / k)`, with a width of about `w = 1 / sqrt(1 / (N
std)^2 + 1 / k)`. The sum is approximated by `h` times the sum over every `h`-th term, `h <= w / 1.3`. The error of this
rule is `exp(-2 pi^2 (w / h)^2)`, which is 3e-15, or 1e-8 if the peak is cut off at `k = 0`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import UserError
from .base import Independent, finite

LEAST = 1e-2
"""Fewest photons of a clean value in a likelihood. Below, the logarithm continues as a straight line, so gradients stay
finite and point towards larger values."""

TERMS = 96


@dataclass(frozen=True)
class Poisson(Independent):
    """Photon noise: counts with mean `photons * clean`, scaled back to the units of the clean measurement.

    `gaussian` has the variance `max(y, 1 / photons) / photons`. Its weights depend on the counts themselves, so a
    least-squares estimate is too low by about one photon (Neyman's chi-square). This bias is small compared with the
    noise of one pixel, but not compared with that of a mean over many dark pixels.

    Attributes:
        photons: expected count for a clean value of 1.

    Example:
        >>> import torch
        >>> Poisson(1e6).sample(torch.zeros(1, 1, 1, 1), torch.Generator().manual_seed(0)).item()
        0.0
    """

    photons: float

    name: ClassVar[str] = "poisson"
    summary: ClassVar[str] = "photon counts"

    def __post_init__(self) -> None:
        finite("Poisson", "photons", self.photons, positive=True)

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `Poisson(photons * clean) / photons`; negative clean values are an error."""
        return _counts("Poisson", self.photons * clean, generator) / self.photons

    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `k log(lambda) - lambda - log k!` with `k = photons y`, `lambda = photons clean`, of each entry.

        Below `LEAST` photons `log(lambda)` continues as its tangent, and below 0 `lambda` counts as 0.
        """
        k, rate = self.photons * y, self.photons * clean
        return k * _log(rate) - rate.clamp(min=0) - torch.lgamma(k + 1)

    def variance(self, clean: Tensor) -> Tensor:
        """Return `clean / photons`, at least the variance of one photon."""
        return clean.clamp(min=1 / self.photons) / self.photons


@dataclass(frozen=True)
class PoissonGaussian(Independent):
    """Photon noise and Gaussian readout noise, as in a camera.

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

    name: ClassVar[str] = "poisson_gaussian"
    summary: ClassVar[str] = "photon counts and Gaussian readout noise"

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

        Rates below `LEAST` photons are handled as in `Poisson.log_density`. The computation is in float64.
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
    """Noise of X-ray transmission: the clean measurement is a line integral, and the transmitted photons are counted.

    A ray without a transmitted photon counts as half a photon, so its logarithm exists. `gaussian` has the variance `1
    / k` of the logarithm of a Poisson variable with the count `k`; it is accurate above some tens of photons.

    Attributes:
        photons: expected count of an unattenuated ray, `I_0`.

    References:
        Statistical Image Reconstruction for Transmission Tomography (Fessler, 2000), in: Handbook of Medical Imaging
        2, https://doi.org/10.1117/3.831079.ch1, section 1.2.

    Example:
        >>> TransmissionPoisson(1e4).variance(torch.tensor(0.0)).sqrt()
        tensor(0.0100)
    """

    photons: float

    name: ClassVar[str] = "transmission"
    summary: ClassVar[str] = "X-rays: logarithms of photon counts behind an object"

    def __post_init__(self) -> None:
        finite("TransmissionPoisson", "photons", self.photons, positive=True)

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `-log(k / photons)` with `k ~ Poisson(photons exp(-clean))`, at least half a photon.

        Raises:
            ValueError: most rays expect less than one photon, so the clean values are not in units of attenuation.
        """
        rate = self.photons * (-clean).exp()
        if clean.numel() and float((rate < 1).double().mean()) > 0.5:
            raise UserError(
                f"TransmissionPoisson: sample: expected line integrals of the attenuation, got clean values up to "
                f"{float(clean.max()):.4g}, at which exp(-value) of the photons arrive: fewer than one on most rays; "
                "choose the operator's pixel_size so that they stay below 10, or more photons"
            )
        counts = _counts("TransmissionPoisson", rate, generator)
        return -(counts.clamp(min=0.5) / self.photons).log()

    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `k log(lambda) - lambda - log k!`, `k = photons exp(-y)`, `lambda = photons exp(-clean)`.

        This is the probability of the count `k`, a function of `y`.
        """
        k = self._counted(y)
        return k * (math.log(self.photons) - clean) - self.photons * (-clean).exp() - torch.lgamma(k + 1)

    def variance(self, clean: Tensor) -> Tensor:
        """Return `1 / lambda` with `lambda = photons exp(-clean)`, at least 1, by the delta method."""
        return 1 / (self.photons * (-clean).exp()).clamp(min=1)

    def _counted(self, y: Tensor) -> Tensor:
        k = self.photons * (-y).exp()
        return torch.where(k < 0.75, 0, k)  # half a photon means none


def _counts(owner: str, rate: Tensor, generator: torch.Generator) -> Tensor:
    """Return counts of that rate; one below zero by no more than a Fourier transform rounds counts as zero."""
    if rate.numel():
        rounding = 32 * torch.finfo(rate.dtype).eps * rate.abs().max()
        rate = torch.where((rate < 0) & (rate >= -rounding), 0.0, rate)
    if bool((rate < 0).any()):
        raise UserError(
            f"{owner}: sample: expected clean values >= 0, got {float(rate.min()):.4g} photons; "
            "clip or shift the measurement"
        )
    return torch.poisson(rate.to(generator.device), generator=generator).to(rate.device)


def _log(rate: Tensor) -> Tensor:
    """Return `log(rate)`, and below `LEAST` its tangent at `LEAST`."""
    low = rate.clamp(min=LEAST)
    return low.log() + (rate - low) / LEAST


def _terms(rate: Tensor, seen: Tensor, read: float) -> tuple[Tensor, Tensor]:
    """Return the counts to sum over, `(..., TERMS)`, and their distance `h`, `(...)`.

    Args:
        rate: expected counts, positive.
        seen: measured values, in photons.
        read: standard deviation of the read noise in photons.
    """
    # Newton steps on u = log k for (e^u - seen) / read^2 + u = log(rate), which is increasing and convex in u: from
    # above the root they come down to it.
    u = torch.maximum(seen.clamp(min=0), rate).clamp(min=0.1).log()
    for _ in range(30):
        k = u.exp()
        u = u - ((k - seen) / read**2 + u - rate.log()) / (k / read**2 + 1)
    mode = u.exp()
    width = (1 / read**2 + 1 / mode.clamp(min=0.25)) ** -0.5
    h = (width / 1.3).floor().clamp(min=1)
    low = (mode - 9 * width).floor().clamp(min=0)
    return low[..., None] + h[..., None] * torch.arange(TERMS, dtype=rate.dtype, device=rate.device), h
