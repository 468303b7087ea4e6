"""deepinv's physics as our operators, and our operators as deepinv's physics.

    theirs -> ours     physics.A -> A,  physics.A_adjoint -> A^T;  noise stays behind, an operator holds none
    ours -> theirs     A -> physics.A,  A^T -> physics.A_adjoint,  pinv -> A_dagger,  solve -> prox_l2

Complex measurements become two channels, real and imaginary part, after the batch axis; lists of measurements become
one row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..base import LinearOperator, Operator
from ..numerics.constants import Movable, linear


class _Layout:
    """Conversion of a measurement of deepinv to one real tensor, and back."""

    def __init__(self, y: Any) -> None:
        self.parts: tuple[_Layout, ...] = ()
        if isinstance(y, Tensor):
            self.theirs = tuple(y.shape[1:])
            self.complex = y.is_complex()
            self.shape = (2, *self.theirs) if self.complex else self.theirs
        elif hasattr(y, "x") and isinstance(y.x, (list, tuple)):  # deepinv.utils.TensorList
            self.parts = tuple(_Layout(part) for part in y.x)
            self.shape = (sum(torch.Size(p.shape).numel() for p in self.parts),)
        else:
            raise TypeError(f"from_deepinv: physics: expected measurements that are tensors, got {type(y).__name__}")

    def ours(self, y: Any) -> Tensor:
        """Return their measurement as one real tensor."""
        if self.parts:
            return torch.cat([p.ours(v).flatten(1) for p, v in zip(self.parts, y.x, strict=True)], 1)
        return torch.stack([y.real, y.imag], 1) if self.complex else y

    def back(self, y: Tensor) -> Any:
        """Return one real tensor as their measurement."""
        if self.parts:
            from deepinv.utils import TensorList

            sizes = [torch.Size(p.shape).numel() for p in self.parts]
            pieces = zip(self.parts, torch.split(y, sizes, 1), strict=True)
            return TensorList([p.back(v.reshape(-1, *p.shape)) for p, v in pieces])
        return torch.complex(y[:, 0], y[:, 1]) if self.complex else y


class _Physics(Movable):
    """A physics with a copy for each precision and device, because its buffers have only one."""

    def __init__(self, physics: Any) -> None:
        self.physics = physics
        self.single = False  # some cannot run in float64
        self._copies: dict[tuple[torch.dtype, torch.device], Any] = {}

    def to(self, device: torch.device | str) -> _Physics:
        return self

    def __getstate__(self) -> tuple[Any, bool]:
        return self.physics, self.single

    def __setstate__(self, state: tuple[Any, bool]) -> None:
        (self.physics, self.single), self._copies = state, {}

    def measure(self, x: Tensor) -> Any:
        """Return their `A(x)`."""
        return self._run("A", x)

    def transpose(self, y: Any) -> Tensor:
        """Return their `A_adjoint(y)`."""
        out: Tensor = self._run("A_adjoint", y)
        return out

    def _run(self, method: str, value: Any) -> Any:
        first = value if isinstance(value, Tensor) else value.x[0]
        real = first.real if first.is_complex() else first
        if real.dtype == torch.float64 and self.single:
            return _cast(getattr(self._like(real.float()), method)(_cast(value, torch.float32)), torch.float64)
        return getattr(self._like(real), method)(value)

    def _like(self, x: Tensor) -> Any:
        """Return the physics in the precision and on the device of a real tensor."""
        key = (x.dtype, x.device)
        if key not in self._copies:
            # Module.to would drop the imaginary parts of complex buffers.
            self._copies[key] = self.physics.clone()._apply(lambda t: _cast(t, x.dtype).to(x.device))
        return self._copies[key]


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Return a tensor, or a list of deepinv's, in another precision; integers and booleans are unchanged."""
    if not isinstance(value, Tensor):
        return type(value)([_cast(v, dtype) for v in value.x])
    if value.is_complex():
        return value.to(dtype.to_complex())
    return value.to(dtype) if value.is_floating_point() else value


class DeepinvOperator(Operator):
    """A physics of deepinv that is not linear, as `from_deepinv` returns it.

    Args:
        physics: the physics.
        in_shape: shape of one image.

    Raises:
        TypeError: its measurements are not tensors.
    """

    def __init__(self, physics: Any, in_shape: tuple[int, ...]) -> None:
        self._physics = _Physics(physics)
        self._layout = _Layout(_measured(self._physics, in_shape))
        self.in_shape, self.out_shape = tuple(in_shape), self._layout.shape

    def forward(self, x: Tensor) -> Tensor:
        """Return the measurement of the physics, without noise."""
        return self._layout.ours(self._physics.measure(x))

    def _describe(self) -> str:
        return type(self._physics.physics).__name__


class DeepinvLinearOperator(LinearOperator):
    """A linear physics of deepinv, as `from_deepinv` returns it.

    Their adjoint is used if it passes the dot test; that of autograd otherwise.

    Args:
        physics: the physics.
        in_shape: shape of one image.

    Raises:
        TypeError: its measurements are not tensors.
    """

    def __init__(self, physics: Any, in_shape: tuple[int, ...]) -> None:
        self._physics = _Physics(physics)
        self._layout = _Layout(_measured(self._physics, in_shape))
        self.in_shape, self.out_shape = tuple(in_shape), self._layout.shape
        try:
            self._own_adjoint = self._dot_test()
        except RuntimeError:
            self._physics.single = True
            self._own_adjoint = self._dot_test()

    def _dot_test(self) -> bool:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn((1, *self.in_shape), generator=generator, dtype=torch.float64)
        y = torch.randn((1, *self.out_shape), generator=generator, dtype=torch.float64)
        with torch.no_grad():
            ax, aty = self._apply(x), self._apply_transposed(y)
        if aty.shape != x.shape:
            return False
        error = ((ax * y).sum() - (x * aty).sum()).abs() / (ax.norm() * y.norm()).clamp(min=1e-30)
        return bool(error <= (1e-5 if self._physics.single else 1e-8))

    def forward(self, x: Tensor) -> Tensor:
        """Return the measurement of the physics, without noise."""
        return linear(x, self._apply, self._apply_transposed) if self._own_adjoint else self._apply(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the adjoint of `y`."""
        return linear(y, self._apply_transposed, self._apply) if self._own_adjoint else super().adjoint(y)

    def _apply(self, x: Tensor) -> Tensor:
        return self._layout.ours(self._physics.measure(x))

    def _apply_transposed(self, y: Tensor) -> Tensor:
        return self._physics.transpose(self._layout.back(y))

    def _describe(self) -> str:
        return type(self._physics.physics).__name__


def _measured(physics: _Physics, in_shape: tuple[int, ...]) -> Any:
    x = torch.zeros((1, *in_shape))
    try:
        with torch.no_grad():
            y = physics.measure(x)
    except Exception as error:
        raise ValueError(
            f"from_deepinv: in_shape: {type(physics.physics).__name__} takes no images {tuple(in_shape)}: {error}; "
            "give the shape (C, H, W) that it was built for"
        ) from error
    try:
        with torch.no_grad():
            physics.measure(x.double())
    except RuntimeError:
        physics.single = True
    return y


def from_deepinv(physics: Any, in_shape: tuple[int, ...]) -> Operator:
    """Return the operator of a physics of deepinv, without its noise.

    Args:
        physics: a `deepinv.physics.Physics`; a copy is kept for each precision, so later changes have no effect.
        in_shape: shape of one image that it takes, `(C, H, W)`.

    Returns:
        A `LinearOperator` for a `LinearPhysics`, else an `Operator`. A physics that cannot run in float64 runs in
        float32 for float64 images, too.

    Raises:
        TypeError: not a physics, or its measurements are not tensors.
        ValueError: the physics does not take images of that shape.
    """
    from deepinv.physics import LinearPhysics, Physics

    if not isinstance(physics, Physics):
        raise TypeError(f"from_deepinv: physics: expected a deepinv Physics, got {type(physics).__name__}")
    if isinstance(physics, LinearPhysics):
        return DeepinvLinearOperator(physics, in_shape)
    return DeepinvOperator(physics, in_shape)


def to_deepinv(operator: Operator, noise_model: Any = None) -> Any:
    """Return an operator as a physics of deepinv.

    Args:
        operator: the operator; the closed forms of a linear one become `A_dagger` and `prox_l2`.
        noise_model: a `deepinv.physics.NoiseModel`; default: none.

    Returns:
        A `deepinv.physics.LinearPhysics` for a linear operator, else a `deepinv.physics.Physics`.

    Raises:
        TypeError: not an operator.
    """
    if not isinstance(operator, Operator):
        raise TypeError(f"to_deepinv: operator: expected an Operator, got {type(operator).__name__}")
    from .physics import InvdiffLinearPhysics, InvdiffPhysics

    if isinstance(operator, LinearOperator):
        return InvdiffLinearPhysics(operator, noise_model)
    return InvdiffPhysics(operator, noise_model)
