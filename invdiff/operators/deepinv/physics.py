"""Operators as physics of deepinv; not in `adapters`, because importing deepinv takes seconds."""

from __future__ import annotations

from typing import Any

import torch
from deepinv.physics import LinearPhysics, Physics, ZeroNoise
from torch import Tensor

from ..base import LinearOperator, Operator


class InvdiffPhysics(Physics):  # type: ignore[misc]
    """An operator as a physics."""

    def __init__(self, operator: Operator, noise_model: Any = None) -> None:
        super().__init__(noise_model=ZeroNoise() if noise_model is None else noise_model)
        self.operator = operator
        self.img_size = operator.in_shape

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Return the measurement without noise."""
        return self.operator(x)


class InvdiffLinearPhysics(LinearPhysics):  # type: ignore[misc]
    """A linear operator as a physics."""

    def __init__(self, operator: LinearOperator, noise_model: Any = None) -> None:
        super().__init__(noise_model=ZeroNoise() if noise_model is None else noise_model, img_size=operator.in_shape)
        self.operator = operator

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Return the measurement without noise."""
        return self.operator(x)

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        """Return `A^T y`."""
        return self.operator.adjoint(y)

    def A_adjoint_A(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Return `A^T A x`."""
        return self.operator.normal(x)

    def A_dagger(self, y: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return `A^+ y`, in closed form if the operator has one."""
        return self.operator.pinv(y)

    def prox_l2(self, z: Any, y: Tensor, gamma: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return the minimiser of `gamma/2 ||A x - y||^2 + 1/2 ||x - z||^2`, in closed form if there is one."""
        b = self.operator.adjoint(y)
        start = torch.zeros_like(b) if z is None else z
        g = torch.as_tensor(gamma, dtype=b.dtype, device=b.device).reshape(-1)
        rho = (1 / g).expand(len(b))
        return self.operator.solve(b + start * rho.reshape(-1, *[1] * (b.ndim - 1)), rho)
