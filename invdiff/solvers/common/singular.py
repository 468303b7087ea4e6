"""A measurement in the singular vectors of its operator, computed once for a run.

With `A = U diag(s) V^T` as fast transforms, `d = U^T y` and `e = d - s V^T x`,

    A^T (y - A x)                          = V s e
    (A^T A + rho I)^{-1} A^T (y - A x)     = V s / (s^2 + rho) e
    |y - A x|^2                            = |e|^2 + |y|^2 - |d|^2

two transforms, where the operator and its adjoint take two each if they are filters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ...operators.base import LinearOperator
from ...operators.spectrum import SEEN, Spectrum
from ...problem import Problem


class NormalizedData(NamedTuple):
    """Data divided by their singular values, `d = U^T y / s`, with noise of standard deviation `tau = sigma_y / s`.

    Attributes:
        spectrum: the decomposition.
        seen: 1 for measured coefficients, 0 for others, in the type of the images; broadcasts to them, as `tau`.
        d: the data, `(N, ...)`; 0 for unmeasured coefficients.
        tau: the standard deviation of their noise; 0 for unmeasured coefficients.
    """

    spectrum: Spectrum
    seen: Tensor
    d: Tensor
    tau: Tensor


class DataLevels(NamedTuple):
    """Data as coefficients of a noisy image.

    `a = U^T y / s` has the distribution of a coefficient at level `tau = sigma_y / s`.

    Attributes:
        spectrum: the decomposition.
        a: the data, `(N, ...)`; 0 for unmeasured coefficients.
        tau: their levels, float64; infinite for unmeasured coefficients.
    """

    spectrum: Spectrum
    a: Tensor
    tau: Tensor


@dataclass(frozen=True)
class SingularData:
    """A measurement in the singular vectors of its operator.

    Attributes:
        spectrum: the decomposition.
        s: singular values in the type of the images; axes along which they are the same have length 1.
        seen: whether each counts as nonzero, like `s`.
        d: `U^T y`, `(N, *coefficients)`; 0 where `s` is.
        outside: `|y|^2 - |d|^2`, the part outside the operator's range, `(N,)`, float64.
    """

    spectrum: Spectrum
    s: Tensor
    seen: Tensor
    d: Tensor
    outside: Tensor

    @classmethod
    def of(cls, problem: Problem) -> SingularData | None:
        """Return the data of a problem, or `None` for an operator without a spectrum."""
        operator, y = problem.operator, problem.measurement
        spectrum = operator.svd if isinstance(operator, LinearOperator) else None
        if spectrum is None:
            return None
        s = compact(spectrum.s).to(y)
        d = spectrum.Ut(y) * (s > 0).to(y)
        seen = s > SEEN * s.max() if s.numel() else s > 0
        return cls(spectrum, s, seen, d, (squared(y) - squared(d)).clamp(min=0))

    def rows(self, index: list[int]) -> SingularData:
        """Return the data of some rows, by index."""
        return replace(self, d=self.d[index], outside=self.outside[index])

    def bands(self, most: int) -> tuple[Tensor, Tensor]:
        """Return groups of coefficients with close singular values, equally large, the smallest first.

        Args:
            most: number of groups; fewer where there are fewer coefficients. What is not seen joins the first.

        Returns:
            The number of the group of each entry of `s`, flat, and the number of coefficients in each group.
        """
        entries = self._order.numel()
        groups = min(most, entries)
        band = torch.div(self._order * groups, entries, rounding_mode="floor")
        repeats = self.d[0].numel() // entries
        return band, repeats * torch.bincount(band, minlength=groups)

    @cached_property
    def _order(self) -> Tensor:
        """The place of each entry of `s` in their rising order, flat."""
        return self.s.flatten().argsort().argsort()

    def misfit(self, x: Tensor) -> Tensor:
        """Return `e = d - s V^T x`, `(N, *coefficients)`, for images `(N, C, H, W)`."""
        return torch.addcmul(self.d, self.spectrum.Vt(x), self.s, value=-1)

    def inverse(self, rho: float | Tensor) -> Tensor:
        """Return `s / (s^2 + rho)`, like `s`, or `1 / s` for nonzero `s` and `rho = 0`.

        Args:
            rho: non-negative weight, or positive ones, `(N,)`: the result then has a row for each.
        """
        if isinstance(rho, Tensor):
            return self.s / (self.s.square() + rho.to(self.s).reshape(-1, *[1] * self.s.ndim))
        if rho > 0:
            return self.s / (self.s.square() + rho)
        return torch.where(self.seen, 1 / torch.where(self.seen, self.s, 1), 0)

    def normalized(self, std: float) -> NormalizedData:
        """Return the data divided by their singular values, for noise of standard deviation `std`."""
        inverse = self.inverse(0.0)
        return NormalizedData(self.spectrum, self.seen.to(self.d), inverse * self.d, std * inverse)

    def levels(self, std: float) -> DataLevels:
        """Return the data as coefficients of a noisy image, for noise of standard deviation `std`."""
        s = compact(self.spectrum.s).to(device=self.d.device, dtype=torch.float64)
        tau = torch.where(self.seen, std / torch.where(self.seen, s, 1.0), math.inf)
        return DataLevels(self.spectrum, self.d * self.inverse(0.0), tau)


def compact(s: Tensor) -> Tensor:
    """Return an expanded tensor with length 1 along its repeated axes."""
    repeated = (step == 0 and n > 1 for n, step in zip(s.shape, s.stride(), strict=True))
    return s[tuple(slice(0, 1) if r else slice(None) for r in repeated)]


def squared(x: Tensor) -> Tensor:
    """Return the sum of squares of each row, `(N,)`, accumulated in float64."""
    return x.square().flatten(1).sum(1, dtype=torch.float64)
