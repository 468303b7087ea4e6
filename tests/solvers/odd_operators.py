"""Operators without a closed form, linear and not, that several tests of solvers share."""

from __future__ import annotations

import torch
from torch import Tensor

from invdiff.operators import LinearOperator, Operator


class Rows(LinearOperator):
    """Six random rows, without a closed form."""

    in_shape, out_shape = (1, 4, 4), (6,)

    def forward(self, x: Tensor) -> Tensor:
        g = torch.Generator().manual_seed(5)
        return x.flatten(1) @ torch.randn(16, 6, generator=g, dtype=torch.float64).to(x)


class Curve(Operator):
    in_shape = out_shape = (1, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.sin(3 * x.roll(1, -1))
