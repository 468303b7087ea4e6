"""Noise with unknown parameters: a family of noise models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self

import torch
from torch import Tensor

from ..errors import NotApplicable
from ..recipe import Recipe
from ..unknowns import Unknowns
from .base import Noise

NAME = "noise"
"""Name of the only unknown of a noise model; those of a model with several begin with it."""


class NoiseFamily(Noise, family_of=Noise):
    """The noise models that one class makes for all values of its unknown arguments.

    A noise model's class called with an `Unknown` returns its family. Its unknown has the name `noise`; two have names
    such as `noise_photons` and `noise_std`.

    Args:
        target: a class of noise models, or a function that returns one.
        *arguments: of `target`.
        ranges: ranges of unknowns that state none; by default `target.ranges`.
        **options: of `target`; at least one argument is an `Unknown`.

    Attributes:
        unknowns: ranges by name.
        typical: the noise in the middle of all ranges.

    Raises:
        ValueError: no unknown argument, or a range beyond what the noise model allows.

    Example:
        >>> from invdiff.noise import Gaussian
        >>> from invdiff.unknowns import Unknown
        >>> Gaussian(Unknown(0.01, 0.1)).at(noise=0.02)
        Gaussian(std=0.02)
    """

    def __init__(
        self, target: Callable[..., Noise], *arguments: Any, ranges: Unknowns | None = None, **options: Any
    ) -> None:
        owner = getattr(target, "__name__", type(target).__name__)
        declared = getattr(target, "ranges", {}) if ranges is None else ranges
        self._recipe = Recipe.of(target, arguments, options, declared, owner)
        self._recipe.at_ends()
        names = list(self._recipe.unknowns)
        self._names = {NAME if len(names) == 1 else f"{NAME}_{n}": n for n in names}
        self.unknowns = {name: self._recipe.unknowns[n] for name, n in self._names.items()}
        self.typical = self._recipe.at(self._recipe.middle)

    def at(self, values: Mapping[str, float] | None = None, /, **named: float) -> Noise:
        """Return the noise model at a value for each unknown.

        Raises:
            ValueError: a value that is missing or out of range.
        """
        given = {**(values or {}), **named}
        return self._recipe.at({self._names.get(name, name): value for name, value in given.items()})

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Raise: the distribution is known at values of the unknowns only."""
        self._refuse()

    def log_likelihood(self, y: Tensor, clean: Tensor) -> Tensor:
        """Raise: the distribution is known at values of the unknowns only."""
        self._refuse()

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError unless the noise fits measurements of that shape."""
        self.typical.check(shape)

    def to(self, device: torch.device | str) -> Self:
        """Return this family: the noise models hold numbers."""
        return self

    def __repr__(self) -> str:
        """Return the noise model with its ranges."""
        return f"{self._recipe.owner}(unknown {self._recipe.describe()})"

    def _refuse(self) -> NoReturn:
        raise NotApplicable(
            f"NoiseFamily: expected values of {', '.join(self.unknowns)}, got none; call at(...), or simulate with "
            "parameters={...}"
        )
