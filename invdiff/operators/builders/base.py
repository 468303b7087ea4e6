"""The contract of a builder of operators."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...unknowns import Unknowns
from ..base import Operator

Shape = tuple[int, int, int]

SHAPE_NAMES = ("in_shape", "image_shape", "shape")
"""Names of a first parameter for the image's shape."""


def same_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the measurement's shape, which is also the image's."""
    return shape


def square_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the shape of a square image as wide as the row of detectors."""
    return shape[0], shape[2], shape[2]


def noted(operator: Operator, notes: tuple[str, ...]) -> Operator:
    """Return a new operator with what the user should know about how it was built."""
    if notes:
        operator.notes = notes
    return operator


@dataclass(frozen=True)
class Builder:
    """Building an operator from options.

    Attributes:
        build: the function of the options and, if it takes one, the image's shape.
        image_shape: the image's shape from that of a measurement and the options.
        inferred: default options from the shape of a measurement.
        takes_shape: whether the first argument of `build` is the image's shape.
        implicit: further arguments of `build`.
        ranges: where an option lies when it is unknown and no range is given, by name.
    """

    build: Callable[..., Operator]
    image_shape: Callable[[Shape, Mapping[str, Any]], Shape] = same_shape
    inferred: Callable[[Shape], Mapping[str, Any]] = lambda shape: {}
    takes_shape: bool = True
    implicit: frozenset[str] = frozenset({"seed"})
    ranges: Unknowns = field(default_factory=dict)

    @classmethod
    def of(cls, target: Callable[..., Any]) -> Builder:
        """Return the builder of an operator that is not built in.

        Args:
            target: a class of operators, or a function that returns one. Its parameters are the options, except a first
                one of `SHAPE_NAMES`. If the image and the measurement differ in shape, a static method
                `image_shape(shape, options)` returns that of the image.
        """
        first = next(iter(inspect.signature(target).parameters), None)
        usual = square_shape if getattr(target, "sinogram", False) else same_shape
        image_shape = getattr(target, "image_shape", usual)
        ranges = getattr(target, "ranges", {})
        return cls(target, image_shape, takes_shape=first in SHAPE_NAMES, implicit=frozenset(), ranges=ranges)

    def options(self) -> dict[str, inspect.Parameter]:
        """Return the options by name."""
        found = list(inspect.signature(self.build).parameters.values())[int(self.takes_shape) :]
        named = (p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        return {p.name: p for p in named if p.name not in self.implicit}

    @property
    def takes(self) -> frozenset[str]:
        """Names of all parameters of `build`."""
        return frozenset(inspect.signature(self.build).parameters)

    @property
    def takes_any(self) -> bool:
        """Whether `build` accepts options of any name."""
        return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(self.build).parameters.values())
