"""Building blocks of the operators: constant tensors, and linear maps whose derivative is a hand-written adjoint.

For `y = A x` the vector-Jacobian product is `A^T g` and the Jacobian-vector product `A v`, at any point; `linear`
defines these for autograd. This is cheaper than the recorded graph, and works for operations without a derivative
(sparse products).
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor


class Movable(abc.ABC):
    """Part of an operator that `Operator.to` moves to another device."""

    __slots__ = ()

    @abc.abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """Return this part on another device."""


class Constant(Movable):
    """A constant tensor of an operator, converted once for each type and device of an input.

    Args:
        value: the tensor in its own precision, usually float64 or complex128.
    """

    __slots__ = ("_cast", "value")

    def __init__(self, value: Tensor) -> None:
        self.value = value.detach()
        self._cast: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def like(self, x: Tensor) -> Tensor:
        """Return the tensor in the precision and on the device of a real tensor `x`; integers are not converted."""
        dtype = self.value.dtype
        if dtype.is_complex:
            dtype = x.dtype.to_complex()
        elif dtype.is_floating_point or dtype == torch.bool:
            dtype = x.dtype
        key = (dtype, x.device)
        if key not in self._cast:
            with torch.inference_mode(False):  # a cached inference tensor could not enter a later autograd graph
                self._cast[key] = self.value.to(device=x.device, dtype=dtype)
        return self._cast[key]

    def to(self, device: torch.device | str) -> Self:
        """Return the constant on another device."""
        moved = self.value.to(device)
        return self if moved is self.value else type(self)(moved)

    def __getstate__(self) -> Tensor:
        return self.value

    def __setstate__(self, value: Tensor) -> None:
        self.value, self._cast = value, {}


def device_of(value: Any) -> torch.device | None:
    """Return the device of the first tensor that an operator holds, at any depth; `None` if it holds none.

    Args:
        value: the operator, or one of its attributes.
    """
    if isinstance(value, Tensor):
        return value.device
    if isinstance(value, Constant):
        return value.value.device
    held = value if isinstance(value, tuple) else vars(value).values() if hasattr(value, "in_shape") else ()
    return next((d for v in held if (d := device_of(v)) is not None), None)


def moved(value: Any, device: torch.device | str) -> Any:
    """Return an attribute of an operator on a device: a tensor, a part, an operator or a tuple of them.

    What is there already, and anything else, is returned itself.
    """
    if isinstance(value, (Tensor, Movable)) or hasattr(value, "in_shape"):
        return value.to(device)
    if isinstance(value, tuple):
        parts = tuple(moved(v, device) for v in value)
        return value if all(p is v for p, v in zip(parts, value, strict=True)) else parts
    return value


class _Linear(torch.autograd.Function):
    """The map `f`, whose derivative is its adjoint `ft`."""

    @staticmethod
    def forward(x: Tensor, f: Callable[[Tensor], Tensor], ft: Callable[[Tensor], Tensor]) -> Tensor:
        return f(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.f, ctx.ft = inputs

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        return linear(g, ctx.ft, ctx.f), None, None

    @staticmethod
    def jvp(ctx: Any, t: Tensor, *_: None) -> Tensor:
        return linear(t, ctx.f, ctx.ft)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, f: Any, ft: Any) -> tuple[Tensor, int]:
        x = x.movedim(in_dims[0], 0)  # type: ignore[arg-type]
        y = linear(x.flatten(0, 1), f, ft)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0


def linear(x: Tensor, f: Callable[[Tensor], Tensor], ft: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `f(x)` for a linear map of batches `f` with adjoint `ft`, differentiable to any order."""
    out: Tensor = _Linear.apply(x, f, ft)
    return out


def followed(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor | None:
    """Return `forward(x)` for an `x` that requires a gradient, or `None` where autograd cannot follow."""
    try:
        y = forward(x)
    except RuntimeError as error:  # of x.numpy()
        if "requires grad" not in str(error):
            raise
        return None
    return y if y.requires_grad else None
