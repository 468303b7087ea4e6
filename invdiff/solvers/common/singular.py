"""A measurement in the singular vectors of its operator, found once for a run.

With `A = U diag(s) V^T` as fast transforms, `d = U^T y` and `e = d - s V^T x`,

    A^T (y - A x)                          = V s e
    (A^T A + rho I)^{-1} A^T (y - A x)     = V s / (s^2 + rho) e
    |y - A x|^2                            = |e|^2 + |y|^2 - |d|^2

two transforms, where the operator and its adjoint take two each if they are filters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...operators.base import LinearOperator, Spectrum
from ...problem import Problem
from .run import Run

SEEN = 1e-6  # singular values below this share of the largest count as zero where one is divided by


@dataclass(frozen=True)
class SingularData:
    """A measurement in the singular vectors of its operator.

    Attributes:
        spectrum: the decomposition.
        s: singular values in the type of the images; axes along which they are the same have length 1.
        seen: which of them do not count as zero, like `s`.
        d: `U^T y`, `(N, *coefficients)`; 0 where `s` is.
        outside: `|y|^2 - |d|^2`, what no image explains, `(N,)`, float64.
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
        """Return the data of some of the rows, by their numbers."""
        return replace(self, d=self.d[index], outside=self.outside[index])

    def misfit(self, x: Tensor) -> Tensor:
        """Return `e = d - s V^T x`, `(N, *coefficients)`, for images `(N, C, H, W)`."""
        return torch.addcmul(self.d, self.spectrum.Vt(x), self.s, value=-1)

    def inverse(self, rho: float | Tensor) -> Tensor:
        """Return `s / (s^2 + rho)`, like `s`, or `1 / s` where it counts for `rho = 0`.

        Args:
            rho: non-negative weight, or positive ones, `(N,)`: the result then has a row for each.
        """
        if isinstance(rho, Tensor):
            return self.s / (self.s.square() + rho.to(self.s).reshape(-1, *[1] * self.s.ndim))
        if rho > 0:
            return self.s / (self.s.square() + rho)
        return torch.where(self.seen, 1 / torch.where(self.seen, self.s, 1), 0)

    def correction(self, x: Tensor, rho: float | Tensor, noise: Tensor | None = None) -> Tensor:
        """Return `(A^T A + rho I)^{-1} A^T (y + n - A x)`, like `x`; for `rho = 0` with `A^+` in its place.

        Args:
            x: images, `(N, C, H, W)`.
            rho: non-negative weight, or positive ones, `(N,)`.
            noise: `n`, like the measurement; none unless given.
        """
        e = self.misfit(x)
        if noise is not None:
            e += self.spectrum.Ut(noise)
        return self.spectrum.V(e.mul_(self.inverse(rho)))


def singular_data(run: Run) -> SingularData | None:
    """Return the data of a run in the singular vectors of its operator; `None` without a spectrum."""
    return run.once("data in singular vectors", lambda: SingularData.of(run.problem))


def short_cut(run: Run) -> SingularData | None:
    """Return `singular_data` where that is the short way: a mask is faster than its spectrum."""
    return singular_data(run) if run.problem.operator.observed is None else None


def compact(s: Tensor) -> Tensor:
    """Return an expanded tensor with length 1 along the axes that repeat themselves."""
    repeated = (step == 0 and n > 1 for n, step in zip(s.shape, s.stride(), strict=True))
    return s[tuple(slice(0, 1) if r else slice(None) for r in repeated)]


def squared(x: Tensor) -> Tensor:
    """Return the sum of squares of each row, `(N,)`, accumulated in float64."""
    return x.square().flatten(1).sum(1, dtype=torch.float64)
