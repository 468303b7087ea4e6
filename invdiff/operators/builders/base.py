"""What a builder of operators is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..base import Operator

Shape = tuple[int, int, int]

SHAPE_NAMES = ("in_shape", "image_shape", "shape")
"""Names of a first parameter that takes the image's shape."""


def same_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the measurement's shape: the image has it too."""
    return shape


def square_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the shape of a square image as wide as a sinogram's row of detectors."""
    return shape[0], shape[2], shape[2]


@dataclass(frozen=True)
class Builder:
    """How an operator is made of options.

    Attributes:
        build: from the image's shape, where it takes one, and the options.
        image_shape: the image's shape from that of a measurement and the options.
        inferred: options that the shape of a measurement decides where they are not given.
        takes_shape: whether the first argument of `build` is the image's shape.
        implicit: what `build` takes beside the options.
    """

    build: Callable[..., Operator]
    image_shape: Callable[[Shape, Mapping[str, Any]], Shape] = same_shape
    inferred: Callable[[Shape], Mapping[str, Any]] = lambda shape: {}
    takes_shape: bool = True
    implicit: frozenset[str] = frozenset({"seed"})

    @classmethod
    def of(cls, target: Callable[..., Any]) -> Builder:
        """Return the builder of an operator that is not built in.

        Args:
            target: a class of operators, or a function that returns one. Its parameters are the options, but for a
                first one of `SHAPE_NAMES`. Where an image has another shape than its measurement, a static method
                `image_shape(shape, options)` of it says which.
        """
        first = next(iter(inspect.signature(target).parameters), None)
        usual = square_shape if getattr(target, "sinogram", False) else same_shape
        image_shape = getattr(target, "image_shape", usual)
        return cls(target, image_shape, takes_shape=first in SHAPE_NAMES, implicit=frozenset())

    def options(self) -> dict[str, inspect.Parameter]:
        """Return the options by name."""
        found = list(inspect.signature(self.build).parameters.values())[int(self.takes_shape) :]
        named = (p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        return {p.name: p for p in named if p.name not in self.implicit}

    @property
    def takes(self) -> frozenset[str]:
        """Names of all that `build` takes."""
        return frozenset(inspect.signature(self.build).parameters)

    @property
    def takes_any(self) -> bool:
        """Whether `build` takes options of any name."""
        return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(self.build).parameters.values())
