"""Operators with unknown parameters: a family `theta -> A_theta`, all of one shape.

y = A_theta(x) + noise,        theta in a box of ranges, with a prior
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from ..errors import NotApplicable, UserError, UserTypeError
from ..recipe import Recipe
from ..unknowns import Unknowns
from .base import LinearOperator, Operator


class OperatorFamily(Operator, family_of=Operator):
    """The operators that one constructor makes for all values of its unknown arguments.

    `Problem` takes a family in the place of an operator. Solvers that take unknowns infer them; all others refuse it.
    An operator's class called with an `Unknown` returns its family.

    Args:
        target: a class of operators, or a function that returns one; it takes a number for each unknown.
        *arguments: of `target`.
        ranges: ranges of unknowns that state none; by default `target.ranges`.
        owner: name of the target in messages; by default its own.
        **options: of `target`; at least one argument is an `Unknown`.

    Attributes:
        unknowns: ranges by name.
        typical: the operator in the middle of all ranges.

    Raises:
        ValueError: no unknown argument, one that cannot be unknown, a range beyond what the operator allows, or shapes
            that depend on it.
        TypeError: `target` makes no operator.

    Example:
        >>> from invdiff.operators import GammaCurve
        >>> from invdiff.unknowns import Unknown
        >>> family = OperatorFamily(GammaCurve, (1, 8, 8), gamma=Unknown(1, 3))
        >>> family.at(gamma=2.2)
        GammaCurve((1, 8, 8) -> (1, 8, 8), gamma 2.2)
    """

    def __init__(
        self,
        target: Callable[..., Operator],
        *arguments: Any,
        ranges: Unknowns | None = None,
        owner: str = "",
        **options: Any,
    ) -> None:
        name = owner or getattr(target, "__name__", type(target).__name__)
        declared = getattr(target, "ranges", {}) if ranges is None else ranges
        self._recipe = Recipe.of(target, arguments, options, declared, name)
        self._device: torch.device | str | None = None
        self.unknowns = dict(self._recipe.unknowns)
        self.typical = typical = self.at(self._recipe.middle)
        self.in_shape, self.out_shape = tuple(typical.in_shape), tuple(typical.out_shape)
        for parameter, value, operator in self._recipe.at_ends():
            shapes = tuple(operator.in_shape), tuple(operator.out_shape)
            if shapes != (self.in_shape, self.out_shape):
                raise UserError(
                    f"{name}: {parameter}: changes shapes, from {self.in_shape} -> {self.out_shape} in the middle of "
                    f"its range to {shapes[0]} -> {shapes[1]} at {value:g}; it cannot be unknown unless another option "
                    "fixes them, as size=31 does for a blur"
                )
            if not _same(operator.observed, typical.observed):
                raise UserError(
                    f"{name}: {parameter}: changes which entries are measured; it cannot be unknown, give its value"
                )
        facts = ("photographic", "sinogram", "complex_valued", "takes_mask", "exact_gradient", "notes")
        vars(self).update({fact: getattr(typical, fact) for fact in facts})

    def at(self, values: Mapping[str, float] | None = None, /, **named: float) -> Operator:
        """Return the operator `A_theta`.

        Args:
            values: a value for each unknown, by name.
            **named: likewise.

        Raises:
            ValueError: a value that is missing or out of range.
        """
        made = self._recipe.at({**(values or {}), **named})
        if not isinstance(made, Operator):
            raise UserTypeError(f"{self._recipe.owner}: expected a function that returns an Operator, got {made!r}")
        return made if self._device is None else made.to(self._device)

    @property
    def linear(self) -> bool:
        """Whether the operators are linear in the image."""
        return isinstance(self.typical, LinearOperator)

    @property
    def observed(self) -> Tensor | None:
        """Which entries of a measurement carry information, as of the operator in the middle."""
        return self.typical.observed

    def differentiable(self, like: Tensor) -> bool:
        """Return whether the output of the operators has a gradient in the image."""
        return self.typical.differentiable(like)

    def forward(self, x: Tensor) -> Tensor:
        """Raise: the map is known at values of the unknowns only."""
        call = ", ".join(f"{name}={value:g}" for name, value in self._recipe.middle.items())
        raise NotApplicable(
            f"OperatorFamily: expected values of {', '.join(self.unknowns)} to map an image, got none; call "
            f"at({call}), or simulate with parameters={{...}}"
        )

    def to(self, device: torch.device | str) -> Self:
        """Return this family with its operators on a device."""
        new = super().to(device)
        if new is self:
            new = object.__new__(type(self))
            vars(new).update(vars(self))
        new._device = device
        return new

    def _describe(self) -> str:
        return f"{self._recipe.owner}, unknown {self._recipe.describe()}"


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    """Return whether two masks are equal, or both missing."""
    return a is b or (a is not None and b is not None and torch.equal(a, b))
