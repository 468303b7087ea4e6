"""White Gaussian noise, `y ~ N(z, std^2 I)`; with one standard deviation for each entry it is `GaussianMap`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import NotApplicable
from ..unknowns import Unknown, Unknowns
from .base import Independent, finite, normal


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
    ranges: ClassVar[Unknowns] = {"std": Unknown(1e-3, 0.25, "log_uniform")}

    def __post_init__(self) -> None:
        finite("Gaussian", "std", self.std, positive=False)

    @property
    def is_gaussian(self) -> bool:
        """True."""
        return True

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean + std n`."""
        return clean + self.std * normal(clean, generator)

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
            raise NotApplicable(
                "Gaussian: log_likelihood: the likelihood of noiseless data has no density; give std > 0"
            )
        return math.log(self.std * math.sqrt(2 * math.pi))
