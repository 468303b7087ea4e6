"""Quantisation to the levels of a file or a converter, after Gaussian noise.

    y = Q(z + std n),       Q(v) the nearest of the levels 0, 1 / (L - 1), ..., 1

Values beyond the first and the last level are assigned to these. With `d = 1 / (L - 1)`, the probability of a level is

    P(y | z) = Phi((y + d / 2 - z) / std) - Phi((y - d / 2 - z) / std),

without the second term at 0 and with 1 for the first at 1. Quantisation by itself adds an error of variance about `d^2
/ 12`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import integer
from ..errors import NotApplicable
from .base import Independent, finite


@dataclass(frozen=True)
class Quantized(Independent):
    """Gaussian noise, then rounding to equally spaced levels of [0, 1].

    Attributes:
        levels: number of levels; 256 for 8 bits.
        std: standard deviation of the Gaussian noise before rounding, in units of the measurement; 0 for none; the
            likelihood then has no gradient, and solvers need `gaussian`.

    Example:
        >>> Quantized(levels=3).sample(torch.tensor([0.2, 0.3, 2.0]), torch.Generator())
        tensor([0.0000, 0.5000, 1.0000])
    """

    levels: int = 256
    std: float = 0.0

    name: ClassVar[str] = "quantized"
    summary: ClassVar[str] = "Gaussian noise, then rounding to equally spaced levels"

    def __post_init__(self) -> None:
        integer("Quantized: levels", self.levels, 2, hint="8 bits have 256")
        finite("Quantized", "std", self.std, positive=False)

    @property
    def step(self) -> float:
        """Distance of two levels, `d = 1 / (levels - 1)`."""
        return 1 / (self.levels - 1)

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return the level nearest to `clean + std n`, for each entry."""
        v = clean
        if self.std > 0:
            n = torch.randn(clean.shape, generator=generator, dtype=clean.dtype, device=generator.device)
            v = clean + self.std * n.to(clean.device)
        return (v.clamp(0, 1) / self.step).round() * self.step

    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `log P(y | clean)` of each entry, the logarithm of a probability; needs `std > 0`."""
        if self.std == 0:
            raise NotApplicable(
                "Quantized: log_likelihood: rounding alone has a likelihood without a gradient; give std > 0, or take "
                "its Gaussian approximation, problem.gaussian()"
            )
        low = torch.where(y < self.step / 2, -torch.inf, (y - self.step / 2 - clean) / self.std)
        high = torch.where(y > 1 - self.step / 2, torch.inf, (y + self.step / 2 - clean) / self.std)
        # In the right tail both values of Phi round to 1; mirrored to the left tail, they are small numbers.
        flip = low > 0
        a, b = torch.where(flip, -high, low), torch.where(flip, -low, high)
        top, bottom = torch.special.log_ndtr(b), torch.special.log_ndtr(a)
        gap = (bottom - top).clamp(max=-1e-12)
        out: Tensor = top + torch.log1p(-gap.exp())
        return out

    def variance(self, clean: Tensor) -> Tensor:
        """Return `std^2 + d^2 / 12`, valid in (0, 1) if noise or detail spans at least one level."""
        return torch.full_like(clean, self.std**2 + self.step**2 / 12)
