"""Operators that act on rows and columns separately.

    A = R (x) C,          A x = R x C^T              for each channel, R: (H', H), C: (W', W)

With small decompositions `R = U_r diag(s_r) V_r^T` and `C = U_c diag(s_c) V_c^T`,

    A = (U_r (x) U_c) diag(s_r s_c^T) (V_r (x) V_c)^T

so the pseudo-inverse and the proximal step cost four products with small matrices.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

from ..base import LinearOperator, Spectrum
from ..numerics.constants import Constant, Movable, linear
from ..numerics.norms import largest_singular_value
from ..shapes import image_shape

SVD_LIMIT = 2048
"""Largest short side of a matrix for which it is decomposed; at 2048 x 2048 that takes some seconds, once."""


class _Factor(Movable):
    """The matrix of one axis and, on demand, its decomposition."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = Constant(matrix)
        self._svd: tuple[Constant, Constant, Constant] | None = None

    def to(self, device: torch.device | str) -> Self:
        """Return the axis on another device."""
        moved = self.matrix.to(device)
        return self if moved is self.matrix else type(self)(moved.value)

    def svd(self) -> tuple[Constant, Constant, Constant] | None:
        """Return thin `U`, `s`, `V`, or `None` if the matrix is too large."""
        if self._svd is None:
            with torch.inference_mode(False):  # cached tensors must be usable in a later autograd graph
                self._svd = self._decomposed()
        return self._svd

    def _decomposed(self) -> tuple[Constant, Constant, Constant] | None:
        m = self.matrix.value.double()
        gram = m @ m.T
        squares = gram.diagonal()
        if bool((squares > 0).all()) and bool(((gram - torch.diag(squares)).abs() <= 1e-14 * squares.max()).all()):
            s = squares.sqrt()  # orthogonal rows: the matrix is its own decomposition, at any size
            return Constant(torch.eye(len(s), dtype=m.dtype, device=m.device)), Constant(s), Constant(m.T / s)
        if min(m.shape) > SVD_LIMIT:
            return None
        u, s, vt = torch.linalg.svd(m, full_matrices=False)
        return Constant(u), Constant(s), Constant(vt.T.contiguous())


def _norm(m: Tensor) -> float:
    """Return the largest singular value of a matrix by iteration, within 1e-3."""
    m = m.double()
    return largest_singular_value(lambda v: (v @ m.T) @ m, (m.shape[1],), device=m.device).value


def _two_sided(rows: Tensor, x: Tensor, columns: Tensor) -> Tensor:
    """Return `R x C^T`, in the cheaper order."""
    (hr, h), (wc, w) = rows.shape, columns.shape
    if hr * w * (h + wc) < h * wc * (w + hr):
        return torch.matmul(torch.matmul(rows, x), columns.T)
    return torch.matmul(rows, torch.matmul(x, columns.T))


class Separable(LinearOperator):
    """A linear operator that acts on rows and columns separately: `y = R x C^T` for each channel.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        rows: matrix on the vertical axis `R`, `(H', H)`.
        columns: matrix on the horizontal axis, `(W', W)`.

    Raises:
        ValueError: the matrices do not fit the image.

    Example:
        >>> import torch
        >>> A = Separable((1, 2, 3), rows=torch.ones(1, 2), columns=torch.eye(3))
        >>> A(torch.ones(1, 1, 2, 3))
        tensor([[[[2., 2., 2.]]]])
    """

    def __init__(self, in_shape: tuple[int, ...], *, rows: Tensor, columns: Tensor) -> None:
        self.in_shape = image_shape(type(self).__name__, in_shape)
        channels, h, w = self.in_shape
        for name, m, n, axis in (("rows", rows, h, "height"), ("columns", columns, w, "width")):
            if m.ndim != 2 or m.shape[1] != n:
                raise ValueError(
                    f"{type(self).__name__}: {name}: expected a matrix with {n} columns, the image's {axis}, "
                    f"got shape {tuple(m.shape)}; build it for images {self.in_shape}"
                )
        self.out_shape = (channels, rows.shape[0], columns.shape[0])
        self._rows, self._columns = _Factor(rows), _Factor(columns)

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """The two matrices, `(H', H)` and `(W', W)`."""
        return self._rows.matrix.value, self._columns.matrix.value

    def forward(self, x: Tensor) -> Tensor:
        """Return `R x C^T`, `(B, C, H', W')`."""
        return linear(x, self._apply, self._apply_transposed)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `R^T y C`, `(B, C, H, W)`."""
        return linear(y, self._apply_transposed, self._apply)

    def _apply(self, x: Tensor) -> Tensor:
        return _two_sided(self._rows.matrix.like(x), x, self._columns.matrix.like(x))

    def _apply_transposed(self, y: Tensor) -> Tensor:
        return _two_sided(self._rows.matrix.like(y).T, y, self._columns.matrix.like(y).T)

    def norm(self) -> float:
        """Return the largest singular value, the product of those of the two matrices."""
        if self.svd is not None:
            return super().norm()
        return math.prod(_norm(f.matrix.value) for f in (self._rows, self._columns))

    @property
    def svd(self) -> Spectrum | None:
        """The product of the two small decompositions.

        It is `None` if both sides of a matrix have more than 2048 pixels, unless its rows are orthogonal.
        """
        r, c = self._rows.svd(), self._columns.svd()
        if r is None or c is None:
            return None
        (ur, sr, vr), (uc, sc, vc) = r, c
        s = (sr.value[:, None] * sc.value).expand(self.in_shape[0], -1, -1)
        return Spectrum(
            s=s,
            V=lambda z: _two_sided(vr.like(z), z, vc.like(z)),
            Vt=lambda x: _two_sided(vr.like(x).T, x, vc.like(x).T),
            U=lambda z: _two_sided(ur.like(z), z, uc.like(z)),
            Ut=lambda y: _two_sided(ur.like(y).T, y, uc.like(y).T),
        )
