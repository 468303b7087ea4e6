"""Operators from a function or a matrix.

A x = f(x)                      A x = M vec(x)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import UserError, UserTypeError
from ..base import LinearOperator, Operator, Spectrum
from ..numerics.constants import Constant, Movable, linear
from ..numerics.sparse import SparseMatrix

DENSE_LIMIT = 4096
"""Largest side of a dense matrix for which the decomposition is computed."""


def _output_shape(
    owner: str, f: object, in_shape: tuple[int, ...], out_shape: tuple[int, ...] | None
) -> tuple[int, ...]:
    if not callable(f):
        raise UserTypeError(f"{owner}: f: expected a function of a batch of images, got {type(f).__name__}")
    if out_shape is not None:
        return tuple(out_shape)
    with torch.no_grad():
        y = f(torch.zeros((1, *in_shape)))
    if not isinstance(y, Tensor) or y.ndim < 2 or len(y) != 1:
        got = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise UserTypeError(
            f"{owner}: f: expected a tensor (1, ...) for an image (1, ...), got {got}; keep the batch axis"
        )
    return tuple(y.shape[1:])


class Function(Operator):
    """The operator `A x = f(x)`, `Operator.from_function`.

    Args:
        f: maps batches of images to measurements.
        in_shape: shape of one image.
        out_shape: shape of one measurement; default: found by calling `f` on zeros.

    Raises:
        TypeError: `f` cannot be called, or returns no tensor.

    Example:
        >>> Function(torch.tanh, (1, 2, 2)).out_shape
        (1, 2, 2)
    """

    def __init__(
        self, f: Callable[[Tensor], Tensor], in_shape: tuple[int, ...], *, out_shape: tuple[int, ...] | None = None
    ) -> None:
        self.in_shape = tuple(in_shape)
        self.out_shape = _output_shape("Function", f, self.in_shape, out_shape)
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        """Return `f(x)`."""
        return self.f(x)

    def _describe(self) -> str:
        return getattr(self.f, "__name__", type(self.f).__name__)


class LinearFunction(LinearOperator):
    """The linear operator `A x = f(x)`, `LinearOperator.from_function`.

    Args:
        f: maps batches of images to measurements, linear.
        in_shape: shape of one image.
        out_shape: shape of one measurement; default: found by calling `f` on zeros.
        adjoint: maps measurements to images; default: by autograd.

    Raises:
        TypeError: `f` cannot be called, or returns no tensor.

    Example:
        >>> LinearFunction(torch.Tensor.mT.__get__, (1, 2, 3)).out_shape
        (1, 3, 2)
    """

    def __init__(
        self,
        f: Callable[[Tensor], Tensor],
        in_shape: tuple[int, ...],
        *,
        out_shape: tuple[int, ...] | None = None,
        adjoint: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.in_shape = tuple(in_shape)
        self.out_shape = _output_shape("LinearFunction", f, self.in_shape, out_shape)
        self.f, self.ft = f, adjoint

    def forward(self, x: Tensor) -> Tensor:
        """Return `f(x)`."""
        return self.f(x) if self.ft is None else linear(x, self.f, self.ft)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the given adjoint of `y`, or that of autograd."""
        return super().adjoint(y) if self.ft is None else linear(y, self.ft, self.f)

    def _describe(self) -> str:
        return getattr(self.f, "__name__", type(self.f).__name__)


class _DenseSpectrum(Movable):
    """The decomposition of a dense matrix, computed on first use."""

    def __init__(self, matrix: Constant) -> None:
        self.matrix = matrix
        self._factors: tuple[Constant, Constant, Constant] | None = None

    def to(self, device: torch.device | str) -> _DenseSpectrum:
        moved = self.matrix.to(device)
        return self if moved is self.matrix else _DenseSpectrum(moved)

    def factors(self) -> tuple[Constant, Constant, Constant]:
        if self._factors is None:
            with torch.inference_mode(False):  # cached tensors must be usable in a later autograd graph
                u, s, vt = torch.linalg.svd(self.matrix.value.double(), full_matrices=False)
                self._factors = Constant(u), Constant(s), Constant(vt)
        return self._factors


class Matrix(LinearOperator):
    """The operator `A x = M vec(x)` of a matrix, `LinearOperator.from_matrix`.

    Args:
        matrix: `M`, `(m, n)`: a tensor, an array, or a sparse matrix of scipy.
        in_shape: shape of one image, with `n` entries; default: `(n,)`.
        out_shape: shape of one measurement, with `m` entries; default: `(m,)`.

    Raises:
        ValueError: no matrix, values that are NaN or infinite, or shapes that do not fit.

    Example:
        >>> Matrix(torch.eye(4)[:2], (1, 2, 2)).svd.s
        tensor([1., 1.], dtype=torch.float64)
    """

    def __init__(
        self, matrix: Any, in_shape: tuple[int, ...] | None = None, *, out_shape: tuple[int, ...] | None = None
    ) -> None:
        sparse = hasattr(matrix, "tocsr")
        values = matrix if sparse else torch.as_tensor(matrix if isinstance(matrix, Tensor) else np.asarray(matrix))
        if len(values.shape) != 2 or 0 in values.shape:
            raise UserError(f"Matrix: matrix: expected shape (m, n), got {tuple(values.shape)}")
        m, n = int(values.shape[0]), int(values.shape[1])
        self.in_shape = (n,) if in_shape is None else tuple(in_shape)
        self.out_shape = (m,) if out_shape is None else tuple(out_shape)
        for name, shape, count in (("in_shape", self.in_shape, n), ("out_shape", self.out_shape, m)):
            if math.prod(shape) != count:
                raise UserError(
                    f"Matrix: {name}: expected {count} entries for a matrix {m} x {n}, "
                    f"got {shape}, {math.prod(shape)} entries"
                )
        self._sparse: SparseMatrix | None = None
        self._dense: Constant | None = None
        self._spectrum: _DenseSpectrum | None = None
        if sparse:
            self._sparse = SparseMatrix.from_scipy(values)
        else:
            if values.is_complex() or not bool(torch.isfinite(values).all()):
                raise UserError("Matrix: matrix: expected finite real values, got NaN, infinite or complex ones")
            self._dense = Constant(values.detach().double())
            self._spectrum = _DenseSpectrum(self._dense) if max(m, n) <= DENSE_LIMIT else None

    def forward(self, x: Tensor) -> Tensor:
        """Return `M vec(x)`, `(B, *out_shape)`."""
        flat = x.flatten(1)
        if self._dense is not None:
            return (flat @ self._dense.like(x).T).reshape(-1, *self.out_shape)
        assert self._sparse is not None
        return self._sparse.times(flat).reshape(-1, *self.out_shape)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `M^T vec(y)`, `(B, *in_shape)`."""
        flat = y.flatten(1)
        if self._dense is not None:
            return (flat @ self._dense.like(y)).reshape(-1, *self.in_shape)
        assert self._sparse is not None
        return self._sparse.transposed_times(flat).reshape(-1, *self.in_shape)

    @property
    def svd(self) -> Spectrum | None:
        """The decomposition of a dense matrix of up to 4096 rows and columns, computed on first use."""
        if self._spectrum is None:
            return None
        u, s, vt = self._spectrum.factors()
        return Spectrum(
            s=s.value,
            V=lambda c: (c @ vt.like(c)).reshape(-1, *self.in_shape),
            Vt=lambda x: x.flatten(1) @ vt.like(x).T,
            U=lambda c: (c @ u.like(c).T).reshape(-1, *self.out_shape),
            Ut=lambda y: y.flatten(1) @ u.like(y),
        )
