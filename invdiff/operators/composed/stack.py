"""Several measurements of one image.

[A; B] x = (A x, B x),      [A; B]^T (u, v) = A^T u + B^T v
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import UserError, UserTypeError
from ..base import LinearOperator, Operator
from .algebra import linear_operand


class _Parts(Operator):
    """Several operators on one image; the measurement is the row of their measurements, flattened, `(n,)`."""

    operators: tuple[Operator, ...]

    def _build(self, operators: Sequence[Operator]) -> None:
        owner = type(self).__name__
        self.operators = tuple(operators)
        if not self.operators:
            raise UserError(
                f"{owner}: operators: expected one operator or more, got none; list what measures the image"
            )
        for i, a in enumerate(self.operators):
            if not isinstance(a, Operator):
                raise UserTypeError(f"{owner}: operators[{i}]: expected an Operator, got {type(a).__name__}")
            if tuple(a.in_shape) != tuple(self.operators[0].in_shape):
                raise UserError(
                    f"{owner}: operators[{i}]: expected an operator on images {tuple(self.operators[0].in_shape)}, "
                    f"got {a!r}; build all of them for one image"
                )
        self.in_shape = tuple(self.operators[0].in_shape)
        self.out_shape = (sum(math.prod(a.out_shape) for a in self.operators),)

    def forward(self, x: Tensor) -> Tensor:
        """Return the measurements of all operators, `(B, n)`."""
        return torch.cat([a.forward(x).flatten(1) for a in self.operators], 1)

    def split(self, y: Tensor) -> tuple[Tensor, ...]:
        """Return the measurement of each operator, `(B, *out_shape)`, from the joint one, `(B, n)`."""
        parts = torch.split(y, [math.prod(a.out_shape) for a in self.operators], 1)
        return tuple(p.reshape(-1, *a.out_shape) for p, a in zip(parts, self.operators, strict=True))

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the joint measurement `(B, n)` from those of each operator, in their order."""
        if len(parts) != len(self.operators):
            raise ValueError(
                f"{type(self).__name__}.join: parts: expected {len(self.operators)} measurements, got {len(parts)}"
            )
        for a, p in zip(self.operators, parts, strict=True):
            a._check(p, a.out_shape, "a measurement", "parts")
        return torch.cat([p.flatten(1) for p in parts], 1)

    @property
    def observed(self) -> Tensor | None:
        """The observed entries of all operators, in a row."""
        if all(a.observed is None for a in self.operators):
            return None
        parts: list[Tensor] = []
        for a in self.operators:
            known = torch.ones(()) > 0 if a.observed is None else a.observed
            parts.append(known.expand(tuple(a.out_shape)).flatten())
        device = next(a.observed.device for a in self.operators if a.observed is not None)
        return torch.cat([p.to(device) for p in parts])

    def __repr__(self) -> str:
        return f"stack([{', '.join(map(repr, self.operators))}])"


class Stack(_Parts, LinearOperator):
    """Several linear measurements of one image, `x -> [A(x); B(x); ...]`, in one row `(n,)`.

    Args:
        operators: linear operators on the same image; `split` and `join` convert between their measurements and the
            joint one.

    Raises:
        TypeError: one of them is not linear.
        ValueError: no operators, or operators on different images.

    Example:
        >>> from invdiff.operators import Downsample, Identity
        >>> Stack([Identity((1, 4, 4)), Downsample((1, 4, 4), factor=2)]).out_shape
        (20,)
    """

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        for i, a in enumerate(operators):
            linear_operand("Stack", f"operators[{i}]", a)
        self._build(operators)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `A^T y_1 + B^T y_2 + ...`, `(B, *in_shape)`."""
        terms = [a.adjoint(p) for a, p in zip(self._linear, self.split(y), strict=True)]
        return sum(terms[1:], start=terms[0])

    def normal(self, x: Tensor) -> Tensor:
        """Return `A^T A x + B^T B x + ...`."""
        terms = [a.normal(x) for a in self._linear]
        return sum(terms[1:], start=terms[0])

    @property
    def _linear(self) -> tuple[LinearOperator, ...]:
        return tuple(a for a in self.operators if isinstance(a, LinearOperator))


class NonlinearStack(_Parts):
    """Several measurements of one image, of which at least one is not linear, in one row `(n,)`.

    Args:
        operators: operators on the same image; `split` and `join` convert between their measurements and the joint one.

    Raises:
        ValueError: no operators, or operators on different images.

    Example:
        >>> from invdiff.operators import Identity
        >>> NonlinearStack([Identity((1, 4, 4)), Identity((1, 4, 4))]).out_shape
        (32,)
    """

    def __init__(self, operators: Sequence[Operator]) -> None:
        self._build(operators)


def stack(operators: Sequence[Operator]) -> Stack | NonlinearStack:
    """Return the operator that measures one image with each of `operators`, linear if all of them are.

    Args:
        operators: one operator or more, on the same image.

    Returns:
        An operator with out_shape `(n,)`, and `split` and `join` between it and the single measurements.

    Raises:
        ValueError: no operators, or operators on different images.

    Example:
        >>> from invdiff.operators import Identity
        >>> stack([Identity((1, 4, 4)), 2 * Identity((1, 4, 4))]).out_shape
        (32,)
    """
    linear = [a for a in operators if isinstance(a, LinearOperator)]
    return Stack(linear) if len(linear) == len(operators) else NonlinearStack(operators)
