"""Adapters: deepinv's physics as operators, and operators as deepinv's physics.

    theirs -> ours     physics.A -> A,  physics.A_adjoint -> A^T;  noise stays behind, an operator holds none
    ours -> theirs     A -> physics.A,  A^T -> physics.A_adjoint,  pinv -> A_dagger,  solve -> prox_l2

Complex measurements become two channels, real and imaginary part, after the batch axis; lists of measurements become
one row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError, UserTypeError, first_line
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
            raise UserTypeError(
                f"from_deepinv: physics: expected measurements that are tensors, got {type(y).__name__}"
            )

    def ours(self, y: Any) -> Tensor:
        """Return a measurement of deepinv as one real tensor."""
        if self.parts:
            return torch.cat([p.ours(v).flatten(1) for p, v in zip(self.parts, y.x, strict=True)], 1)
        return torch.stack([y.real, y.imag], 1) if self.complex else y

    def back(self, y: Tensor) -> Any:
        """Return one real tensor as a measurement of deepinv."""
        if self.parts:
            from deepinv.utils import TensorList

            sizes = [torch.Size(p.shape).numel() for p in self.parts]
            pieces = zip(self.parts, torch.split(y, sizes, 1), strict=True)
            return TensorList([p.back(v.reshape(-1, *p.shape)) for p, v in pieces])
        return torch.complex(y[:, 0], y[:, 1]) if self.complex else y


class _Physics(Movable):
    """A physics with a copy for each precision and device, because its tensors have only one.

    What it can take is tried out on two random images.

    Args:
        physics: the physics.
        in_shape: shape of one image.

    Attributes:
        complex_images: whether it takes complex images only.
        single: whether it cannot compute in float64.
        alone: whether it takes one image at a time only.
        layout: how a measurement of one image is laid out.

    Raises:
        ValueError: it does not take these images, or its measurements are not finite.
        TypeError: its measurements are no tensors.
    """

    def __init__(self, physics: Any, in_shape: tuple[int, ...]) -> None:
        self.physics = physics
        self.complex_images = self.single = self.alone = False
        self._copies: dict[tuple[torch.dtype, torch.device], Any] = {}
        fine = torch.rand((2, *in_shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        x = fine.float()
        with torch.no_grad():
            y = self._first_measurement(x[:1])
            self.layout = _Layout(y)
            if not bool(self.layout.ours(y).isfinite().all()):
                raise UserError(
                    f"from_deepinv: physics: {type(physics).__name__} measures NaN or infinite values of an image in "
                    "[0, 1]; check its parameters and its precision"
                )
            self.single = not _works(lambda: self.measure(fine[:1])) or self._rounds(fine[:1])
            each = torch.cat([self.measure(row) for row in x.split(1)])
            self.alone = not _works(lambda: torch.testing.assert_close(self.measure(x), each))

    def _first_measurement(self, x: Tensor) -> Any:
        try:
            return self._run("A", x)
        except Exception as error:
            self.complex_images = True
            if _works(lambda: self._run("A", x)):
                return self._run("A", x)
            raise UserError(
                f"from_deepinv: in_shape: {type(self.physics).__name__} takes no images {tuple(x.shape[1:])}: "
                f"{first_line(error)}; "
                "give the shape (C, H, W) that it was built for"
            ) from error

    def _rounds(self, x: Tensor) -> bool:
        """Return whether a float64 result was computed in lower precision."""
        y = self.measure(x)
        return bool((y == y.float().double()).all()) and bool((y != 0).any())

    def to(self, device: torch.device | str) -> _Physics:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_copies": {}}

    def measure(self, x: Tensor) -> Tensor:
        """Return deepinv's `A(x)` as one real tensor."""
        if self.alone and len(x) != 1:
            rows = [self.measure(row) for row in x.split(1)] if len(x) else []
            return torch.cat(rows) if rows else x.new_zeros((0, *self.layout.shape))
        y: Tensor = self.layout.ours(_cast(self._run("A", x), x.dtype))
        return y

    def transpose(self, y: Tensor) -> Tensor:
        """Return the real part of deepinv's `A_adjoint(y)`."""
        if self.alone and len(y) > 1:
            return torch.cat([self.transpose(row) for row in y.split(1)])
        x: Tensor = self._run("A_adjoint", self.layout.back(y))
        return (x.real if x.is_complex() else x).to(y.dtype)

    def _run(self, method: str, value: Any) -> Any:
        real = _leaf(value).real if _leaf(value).is_complex() else _leaf(value)
        dtype = torch.float32 if self.single else real.dtype
        value = _cast(value, dtype)
        if method == "A" and self.complex_images:
            value = value.to(dtype.to_complex())
        return getattr(self._like(dtype, real.device), method)(value)

    def _like(self, dtype: torch.dtype, device: torch.device) -> Any:
        """Return the physics in a precision and on a device."""
        if (dtype, device) not in self._copies:
            # Module.to would drop the imaginary parts of complex buffers.
            copy = self.physics.clone()._apply(lambda t: _cast(t, dtype).to(device))
            for module in copy.modules():
                for name, value in vars(module).items():
                    if isinstance(value, Tensor):
                        setattr(module, name, _cast(value, dtype).to(device))
                    elif isinstance(value, torch.dtype):
                        setattr(module, name, _cast(torch.empty(0, dtype=value), dtype).dtype)
                    elif isinstance(value, torch.device):
                        setattr(module, name, device)
            self._copies[dtype, device] = copy
        return self._copies[dtype, device]


def _works(call: Callable[[], Any]) -> bool:
    """Return whether a call of foreign code succeeds."""
    try:
        call()
    except Exception:
        return False
    return True


def _leaf(value: Any) -> Tensor:
    """Return the first tensor of a list of deepinv's, or the tensor itself."""
    return value if isinstance(value, Tensor) else _leaf(value.x[0])


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
        TypeError: its measurements are no tensors.
        ValueError: it takes no images of that shape.
    """

    def __init__(self, physics: Any, in_shape: tuple[int, ...]) -> None:
        self._physics = _Physics(physics, in_shape)
        self.in_shape, self.out_shape = tuple(in_shape), self._physics.layout.shape

    def forward(self, x: Tensor) -> Tensor:
        """Return the measurement of the physics, without noise."""
        return self._physics.measure(x)

    def _describe(self) -> str:
        return type(self._physics.physics).__name__


class DeepinvLinearOperator(LinearOperator):
    """A linear physics of deepinv, as `from_deepinv` returns it.

    Their adjoint is used if it passes the dot test; that of autograd otherwise.

    Args:
        physics: the physics.
        in_shape: shape of one image.

    Raises:
        TypeError: its measurements are no tensors.
        ValueError: it takes no images of that shape.
    """

    def __init__(self, physics: Any, in_shape: tuple[int, ...]) -> None:
        self._physics = _Physics(physics, in_shape)
        self.in_shape, self.out_shape = tuple(in_shape), self._physics.layout.shape
        self._accuracy = 1e-5 if self._physics.single else 1e-8
        self._own_adjoint = _works(self._dot_test)

    def _dot_test(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn((2, *self.in_shape), generator=generator, dtype=torch.float64)
        y = torch.randn((2, *self.out_shape), generator=generator, dtype=torch.float64)
        with torch.no_grad():
            ax, aty = self._physics.measure(x), self._physics.transpose(y)
        assert aty.shape == x.shape
        gap = ((ax * y).flatten(1).sum(1) - (x * aty).flatten(1).sum(1)).abs()
        assert bool((gap <= self._accuracy * ax.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1)).all())

    def superposes(self) -> bool:
        """Return whether `A(x + z) = A(x) + A(z)`, which fails for a linear physics with an offset."""
        generator = torch.Generator().manual_seed(1)
        x, z = torch.rand((2, 1, *self.in_shape), generator=generator, dtype=torch.float64)
        with torch.no_grad():
            ax, az, both = (self._physics.measure(v) for v in (x, z, x + z))
        return bool((both - ax - az).norm() <= self._accuracy * (ax.norm() + az.norm()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the measurement of the physics, without noise."""
        measure, transpose = self._physics.measure, self._physics.transpose
        return linear(x, measure, transpose) if self._own_adjoint else measure(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the adjoint of `y`."""
        measure, transpose = self._physics.measure, self._physics.transpose
        return linear(y, transpose, measure) if self._own_adjoint else super().adjoint(y)

    def _describe(self) -> str:
        return type(self._physics.physics).__name__


def from_deepinv(physics: Any, in_shape: tuple[int, ...]) -> Operator:
    """Return the operator of a physics of deepinv, without its noise.

    Args:
        physics: a `deepinv.physics.Physics`; a copy is kept for each precision, so later changes have no effect.
        in_shape: shape of one image that it takes, `(C, H, W)`.

    Returns:
        A `LinearOperator` for a `LinearPhysics` that is linear, else an `Operator`. A physics that cannot run in
        float64 runs in float32 for float64 images, too; one that takes a single image only, once for each image of a
        batch. On complex images, it acts on the real ones among them.

    Raises:
        TypeError: not a physics, or its measurements are not tensors.
        ValueError: the physics does not take images of that shape, or its measurements are not finite.
    """
    from deepinv.physics import LinearPhysics, Physics

    if not isinstance(physics, Physics):
        raise UserTypeError(f"from_deepinv: physics: expected a deepinv Physics, got {type(physics).__name__}")
    if isinstance(physics, LinearPhysics) and (operator := DeepinvLinearOperator(physics, in_shape)).superposes():
        return operator
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
        raise UserTypeError(f"to_deepinv: operator: expected an Operator, got {type(operator).__name__}")
    from .physics import InvdiffLinearPhysics, InvdiffPhysics

    if isinstance(operator, LinearOperator):
        return InvdiffLinearPhysics(operator, noise_model)
    return InvdiffPhysics(operator, noise_model)
