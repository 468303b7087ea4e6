"""A singular value decomposition as fast transforms, and its closed forms.

With `A = U diag(s) V^T`,

    A^+ y                         = V diag(1 / s) U^T y                     over the nonzero singular values
    (A^T A + r I)^{-1} b          = b / r + V diag(1 / (s^2 + r) - 1 / r) V^T b
    (A^T A + r I)^{-1} A^T y      = V diag(s / (s^2 + r)) U^T y
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SEEN = 1e-6  # singular values below this fraction of the largest count as zero in divisions


@dataclass(frozen=True)
class Spectrum:
    """Singular value decomposition `A = U diag(s) V^T` as fast transforms.

    `V` is an isometry from coefficients to images, square or thin: `Vt(V(c)) = c`. `U` is an isometry from the
    coefficients with `s > 0` to measurements. Coefficients have the shape of `s`, with the batch axis in front.

    Attributes:
        s: singular values, non-negative, in any shape and order.
        V: coefficients `(B, *s.shape)` -> images `(B, *in_shape)`.
        Vt: images -> coefficients.
        U: coefficients -> measurements `(B, *out_shape)`.
        Ut: measurements -> coefficients.
    """

    s: Tensor
    V: Callable[[Tensor], Tensor]
    Vt: Callable[[Tensor], Tensor]
    U: Callable[[Tensor], Tensor]
    Ut: Callable[[Tensor], Tensor]

    def pinv(self, y: Tensor) -> Tensor:
        """Return `A^+ y`, `(B, *in_shape)`, for measurements `(B, *out_shape)`."""
        s = self.s.to(y)
        keep = s > SEEN * s.max() if s.numel() else s > 0
        return self.V(self.Ut(y) * torch.where(keep, 1 / torch.where(keep, s, 1), 0))

    def solve(self, b: Tensor, r: Tensor) -> Tensor:
        """Return `(A^T A + r I)^{-1} b`, like `b`, for positive weights `r`, a scalar or one for each image, `(B,)`."""
        s = self.s.to(b)
        rs = r.reshape(-1, *[1] * s.ndim)
        out = self.V(self.Vt(b) * (1 / (s**2 + rs) - 1 / rs))
        return out + b / r.reshape(-1, *[1] * (b.ndim - 1))

    def tikhonov(self, y: Tensor, r: Tensor) -> Tensor:
        """Return `(A^T A + r I)^{-1} A^T y`, `(B, *in_shape)`, for weights `r` like those of `solve`."""
        s = self.s.to(y)
        return self.V(self.Ut(y) * (s / (s**2 + r.reshape(-1, *[1] * s.ndim))))
