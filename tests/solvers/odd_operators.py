"""Operators without a closed form, linear and not, that several tests of solvers share."""

from __future__ import annotations

import torch
from torch import Tensor

from invdiff.operators import LinearOperator, Operator


class MatrixRows(LinearOperator):
    """The rows of a matrix `(m, n)`, without a closed form, on images of n pixels."""

    def __init__(self, a: Tensor, in_shape: tuple[int, ...] = (1, 2, 3)) -> None:
        self.a, self.in_shape, self.out_shape = a, in_shape, (len(a),)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.a.T.to(x)


class Rows(MatrixRows):
    """Six random rows on images of 4 x 4 pixels."""

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(5)
        super().__init__(torch.randn(16, 6, generator=g, dtype=torch.float64).T, (1, 4, 4))


class Curve(Operator):
    in_shape = out_shape = (1, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.sin(3 * x.roll(1, -1))
