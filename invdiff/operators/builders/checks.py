"""Checks of options and of the built operator, in the words of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ...errors import UserError, UserTypeError
from ...registry import unknown
from ...specs import Where
from ..base import Operator
from .base import Builder, Shape


class Named(Where):
    """The name of an operator, as prefix of messages."""

    def __init__(self, name: str) -> None:
        super().__init__(f"operator {name!r}", "option")
        self.name = name

    def unknown(self, key: str, known: Iterable[str]) -> str:
        """Return the message for an unknown option."""
        return f"{self.owner}: {unknown('option', key, known)}"

    def missing(self, key: str) -> str:
        """Return the message for a missing option."""
        return f"{self.at(key)}: expected a value, got none; write {self.name}:{key}=..."


def check_options(where: Where, builder: Builder, options: Mapping[str, Any], mask: Tensor | None) -> None:
    """Raise a ValueError for an option that the operator does not have, or a mask that it does not take."""
    known = builder.options()
    if not builder.takes_any:
        for key in options:
            if key not in known:
                raise UserError(where.unknown(key, known))
    if mask is not None and "mask" not in known:
        raise UserError(f"{where.at('mask')}: it takes none; leave the mask out or choose 'inpainting'")
    if mask is not None and "mask" in options:
        raise UserError(f"{where.at('mask')}: given twice; leave out the option or the mask")


def check_operator(where: Where, built: object) -> Operator:
    """Return the built object, or raise a TypeError unless it is an operator with its two shapes."""
    if not isinstance(built, Operator):
        raise UserTypeError(
            f"{where.owner}: expected an Operator, got {type(built).__name__}; derive the class from it"
        )
    for attribute in ("in_shape", "out_shape"):
        if not hasattr(built, attribute):
            raise UserTypeError(
                f"{where.owner}: expected in_shape and out_shape, got no {attribute}; set it in __init__"
            )
    return built


def check_images(where: Where, built: Operator, shape: Shape) -> None:
    """Raise a ValueError unless an operator acts on images of that shape."""
    if tuple(built.in_shape) != shape:
        raise UserError(
            f"{where.owner}: expected one for images {shape}, got {built!r}; "
            "give an image of that size, or let the class take in_shape as its first argument"
        )


def check_measurements(where: Where, built: Operator, shape: Shape) -> None:
    """Raise a ValueError unless an operator makes measurements of that shape; the message has the remedy."""
    made = tuple(built.out_shape)
    if made == shape:
        return
    if built.sinogram and len(made) == 3 and made[1] != shape[1]:
        hint = f"give {shape[1]} angles, one for each row of the sinogram"
    elif len(made) == 3 and made[0] != shape[0]:
        hint = f"give a measurement of {made[0]} channel{'s' * (made[0] > 1)}{' (gray)' * (made[0] == 1)}; "
        hint += "a clean image is corrupted first by --simulate"
    else:
        hint = "give image_size=[height, width], or a measurement of that shape"
    raise UserError(
        f"{where.owner}: expected measurements {shape}, the shape of the given one, but {built!r} makes {made}; {hint}"
    )
