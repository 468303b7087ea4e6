"""Gaussian noise.

    white               y ~ N(z, std^2 I)
    one std per entry   y ~ N(z, diag(std)^2)

Noise of unequal levels becomes white if it is rescaled: with `w = s / std`, `w y = w A(x) + s n`. See
`invdiff.whitening`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from .base import Independent, finite


@dataclass(frozen=True)
class Gaussian(Independent):
    """Additive white Gaussian noise.

    Attributes:
        std: standard deviation in units of the measurement; 0 for none.

    Example:
        >>> Gaussian(0.025)
        Gaussian(std=0.025)
    """

    std: float

    name: ClassVar[str] = "gaussian"
    summary: ClassVar[str] = "white Gaussian noise of one standard deviation, or a map of them in a file"

    def __post_init__(self) -> None:
        finite("Gaussian", "std", self.std, positive=False)

    @property
    def is_gaussian(self) -> bool:
        """True."""
        return True

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean + std n`."""
        return clean + self.std * _normal(clean, generator)

    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `-(y - clean)^2 / (2 std^2) - log(std sqrt(2 pi))` of each entry; needs `std > 0`."""
        return -0.5 * ((y - clean) / self.std) ** 2 - self._log_scale()

    def log_likelihood(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `-||y - clean||^2 / (2 std^2) - m log(std sqrt(2 pi))`, `(B,)`, in nats; needs `std > 0`."""
        return self.log_of_residual(y - clean, math.prod(y.shape[1:]))

    def log_of_residual(self, residual: Tensor, count: int) -> Tensor:
        """Return the log density of a residual with `count` observed entries, `(B,)`, in nats.

        Args:
            residual: `y - clean`, `(B, ...)`, zero where nothing was observed.
            count: number of observed entries of one measurement.
        """
        constant = count * self._log_scale()
        return residual.square().flatten(1).sum(1) / (-2 * self.std) / self.std - constant

    def variance(self, clean: Tensor) -> Tensor:
        """Return `std^2`."""
        return torch.full_like(clean, self.std**2)

    def _log_scale(self) -> float:
        """Return `log(std sqrt(2 pi))`."""
        if self.std == 0:
            raise ValueError("Gaussian: log_likelihood: the likelihood of noiseless data has no density; give std > 0")
        return math.log(self.std * math.sqrt(2 * math.pi))


@dataclass(frozen=True, eq=False)
class GaussianMap(Independent):
    """Additive Gaussian noise with a standard deviation for each entry of the measurement.

    Attributes:
        std: standard deviations in units of the measurement, positive, broadcastable to `(*out_shape)`.

    Raises:
        TypeError: no floating-point tensor.
        ValueError: a standard deviation that is not positive and finite.

    Example:
        >>> GaussianMap(torch.tensor([[0.01, 0.02]]))
        GaussianMap((1, 2), std 0.01 to 0.02)
    """

    std: Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.std, Tensor) or not self.std.is_floating_point():
            got = f"{self.std.dtype}" if isinstance(self.std, Tensor) else type(self.std).__name__
            raise TypeError(
                f"GaussianMap: std: expected a floating-point tensor, got {got}; for one number take Gaussian(std)"
            )
        if not bool((self.std > 0).all() & torch.isfinite(self.std).all()) or self.std.numel() == 0:
            bad = self.std[~((self.std > 0) & torch.isfinite(self.std))].flatten()
            raise ValueError(
                "GaussianMap: std: expected positive, finite numbers, "
                + (f"got {bad[0].item():g}; " if bad.numel() else "got none; ")
                + "mark what was not measured with a mask, and give exact entries a small std"
            )

    @property
    def is_gaussian(self) -> bool:
        """True."""
        return True

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean + std n`."""
        return clean + self.std.to(clean) * _normal(clean, generator)

    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `-(y - clean)^2 / (2 std^2) - log(std sqrt(2 pi))` of each entry."""
        std = self.std.to(y)
        return -0.5 * ((y - clean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)

    def variance(self, clean: Tensor) -> Tensor:
        """Return `std^2`."""
        return (self.std.to(clean) ** 2).expand_as(clean)

    def gaussian(self, y: Tensor) -> GaussianMap:
        """Return this noise."""
        return self

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError unless the map broadcasts to measurements of that shape."""
        try:
            fits = torch.broadcast_shapes(self.std.shape, shape) == torch.Size(shape)
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"GaussianMap: std: expected a map that broadcasts to measurements {tuple(shape)}, "
                f"got {tuple(self.std.shape)}; give one standard deviation for each entry, without the batch axis"
            )

    def to(self, device: torch.device | str) -> Self:
        """Return this noise with its map on a device."""
        return type(self)(self.std.to(device))

    def __repr__(self) -> str:
        low, high = float(self.std.min()), float(self.std.max())
        return f"GaussianMap({tuple(self.std.shape)}, std {low:.3g} to {high:.3g})"


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    n = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device)
    return n.to(like.device)
