"""Sparse matrices with 32-bit indices, stored with their transposes, so both products read rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .constants import Movable, linear

Arrays = tuple[Any, Any, Any, tuple[int, int]]
"""Values, indices of columns, beginnings of rows, and the shape: the CSR format of scipy."""


def csr_tensor(arrays: Arrays, like: Tensor) -> Tensor:
    """Return the matrix as a torch tensor in the precision and on the device of `like`."""
    values, columns, starts, shape = arrays
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns once that its CSR format is in beta
        return torch.sparse_csr_tensor(
            torch.from_numpy(starts.astype(np.int32, copy=False)),
            torch.from_numpy(columns.astype(np.int32, copy=False)),
            torch.from_numpy(values).to(like.dtype),
            size=shape,
            check_invariants=False,
        ).to(like.device)


class SparseMatrix(Movable):
    """A matrix `M` and its transpose, applied to batches of vectors.

    Args:
        matrix: `M`.
        transpose: `M^T`.
    """

    def __init__(self, matrix: Arrays, transpose: Arrays) -> None:
        self._arrays = (matrix, transpose)
        self._cast: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    @classmethod
    def from_scipy(cls, matrix: Any) -> SparseMatrix:
        """Return the matrix of a sparse matrix of scipy.

        Raises:
            ValueError: values that are NaN, infinite or complex.
        """
        a = matrix.tocsr()
        if np.iscomplexobj(a.data) or not np.isfinite(a.data).all():
            raise ValueError("SparseMatrix: matrix: expected finite real values, got NaN, infinite or complex ones")
        at = a.T.tocsr()
        return cls((a.data, a.indices, a.indptr, a.shape), (at.data, at.indices, at.indptr, at.shape))

    def to(self, device: torch.device | str) -> SparseMatrix:
        """Return this matrix, which follows the device of its operand."""
        return self

    def __getstate__(self) -> tuple[Arrays, Arrays]:
        return self._arrays

    def __setstate__(self, state: tuple[Arrays, Arrays]) -> None:
        self._arrays, self._cast = state, {}

    def pair(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return `M` and `M^T` as tensors, in the precision and on the device of `like`."""
        key = (like.dtype, like.device)
        if key not in self._cast:
            with torch.inference_mode(False):
                self._cast[key] = csr_tensor(self._arrays[0], like), csr_tensor(self._arrays[1], like)
        return self._cast[key]

    def times(self, x: Tensor) -> Tensor:
        """Return `M x` for each row of `x`, `(B, n) -> (B, m)`."""
        return linear(x, self._times, self._transposed_times)

    def transposed_times(self, y: Tensor) -> Tensor:
        """Return `M^T y` for each row of `y`, `(B, m) -> (B, n)`."""
        return linear(y, self._transposed_times, self._times)

    def _times(self, x: Tensor) -> Tensor:
        return (self.pair(x)[0] @ x.T.contiguous()).T

    def _transposed_times(self, y: Tensor) -> Tensor:
        return (self.pair(y)[1] @ y.T.contiguous()).T
