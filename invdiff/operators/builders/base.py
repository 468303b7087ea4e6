"""What a builder of operators is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..base import Operator

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Builder:
    """How a built-in operator is made of options.

    Attributes:
        build: from the image's shape and the options.
        image_shape: the image's shape from that of a measurement and the options.
        implicit: what `build` takes beside the options: "mask", "seed".
        inferred: options that the shape of a measurement decides where they are not given.
    """

    build: Callable[..., Operator]
    image_shape: Callable[[Shape, Mapping[str, Any]], Shape]
    implicit: frozenset[str] = frozenset()
    inferred: Callable[[Shape], Mapping[str, Any]] = lambda shape: {}

    def options(self) -> list[str]:
        """Return the names of the options."""
        names = [p.name for p in inspect.signature(self.build).parameters.values() if p.kind is p.KEYWORD_ONLY]
        return [n for n in names if n not in self.implicit]


def same_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """Return the measurement's shape: the image has it too."""
    return shape
