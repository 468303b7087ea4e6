"""The contract of a noise model: the distribution of a measurement `y` given the clean one, `z = A(x)`.

In most models the entries of a measurement are independent,

    log p(y | z) = sum_i log p(y_i | z_i),      E[y_i | z_i] = z_i (or nearly),      Var[y_i | z_i] = v(z_i)

The Gaussian approximation `y ~ N(z, diag(std)^2)`, `std^2 = v(y)`, has the variance `v` at the measured values. Methods
that need Gaussian noise use it. Noise of unequal levels becomes white if it is rescaled: with `w = s / std`,
`w y = w A(x) + s n`. See `invdiff.whitening`.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from ..checks import is_number, number
from ..errors import NotApplicable, UserError, UserTypeError
from ..unknowns import FamilyType, Unknowns


class Noise(metaclass=FamilyType):
    """The distribution of a measurement given the clean one.

    A subclass defines `sample` and `log_likelihood`; noise with independent entries derives from `Independent`.

    Attributes:
        name: under which the registry lists the class; "" for one that is not listed.
        summary: one line for listings.
        ranges: where an argument of the class lies when it is unknown and no range is given, by name.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    ranges: ClassVar[Unknowns] = {}

    @abc.abstractmethod
    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return a noisy measurement, like `clean`, `(B, ...)`."""

    @abc.abstractmethod
    def log_likelihood(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `log p(y | clean)` of each image, `(B,)`, in nats; differentiable in `clean`."""

    @property
    def is_gaussian(self) -> bool:
        """Whether `gaussian` is this model itself, for every measurement."""
        return False

    def gaussian(self, y: Tensor) -> GaussianMap:
        """Return the Gaussian approximation of this noise at the measured values.

        Args:
            y: one measurement, `(1, *out_shape)`.

        Raises:
            ValueError: this model has none.
        """
        raise NotApplicable(
            f"{type(self).__name__}: it has no Gaussian approximation; define its `gaussian`, or choose a solver that "
            "needs no Gaussian noise"
        )

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError unless this noise fits measurements of that shape, without the batch axis."""

    def to(self, device: torch.device | str) -> Self:
        """Return this noise with its tensors on a device."""
        return self


class Independent(Noise):
    """Noise with independent entries; a subclass defines `sample`, `log_density` and `variance`."""

    @abc.abstractmethod
    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `log p(y_i | clean_i)` of each entry, in nats, like `y`, `(B, ...)`."""

    @abc.abstractmethod
    def variance(self, clean: Tensor) -> Tensor:
        """Return the variance of each entry given its clean value, like `clean`, `(B, ...)`."""

    def log_likelihood(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `sum_i log p(y_i | clean_i)`, `(B,)`, in nats."""
        return self.log_density(y, clean).flatten(1).sum(1)

    def gaussian(self, y: Tensor) -> GaussianMap:
        """Return Gaussian noise with the variance of each entry at its measured value."""
        if len(y) != 1:
            raise ValueError(
                f"{type(self).__name__}.gaussian: y: expected one measurement, as the variance depends on it, "
                f"got {len(y)}; take them one by one"
            )
        return GaussianMap(self.variance(y[0]).sqrt())


@dataclass(frozen=True, eq=False)
class GaussianMap(Independent):
    """Additive Gaussian noise with a standard deviation for each entry of the measurement.

    Attributes:
        std: standard deviations in units of the measurement, positive, broadcastable to `(*out_shape)`.

    Raises:
        TypeError: no floating-point tensor.
        ValueError: a standard deviation that is not positive and finite.

    Example:
        >>> GaussianMap(torch.tensor([[0.01, 0.02]]))
        GaussianMap((1, 2), std 0.01 to 0.02)
    """

    std: Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.std, Tensor) or not self.std.is_floating_point():
            got = f"{self.std.dtype}" if isinstance(self.std, Tensor) else type(self.std).__name__
            raise UserTypeError(
                f"GaussianMap: std: expected a floating-point tensor, got {got}; for one number take Gaussian(std)"
            )
        if not bool((self.std > 0).all() & torch.isfinite(self.std).all()) or self.std.numel() == 0:
            bad = self.std[~((self.std > 0) & torch.isfinite(self.std))].flatten()
            raise UserError(
                "GaussianMap: std: expected positive, finite numbers, "
                + (f"got {bad[0].item():g}; " if bad.numel() else "got none; ")
                + "mark what was not measured with a mask, and give exact entries a small std"
            )

    @property
    def is_gaussian(self) -> bool:
        """True."""
        return True

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return `clean + std n`."""
        return clean + self.std.to(clean) * normal(clean, generator)

    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return `-(y - clean)^2 / (2 std^2) - log(std sqrt(2 pi))` of each entry."""
        std = self.std.to(y)
        return -0.5 * ((y - clean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)

    def variance(self, clean: Tensor) -> Tensor:
        """Return `std^2`."""
        return (self.std.to(clean) ** 2).expand_as(clean)

    def gaussian(self, y: Tensor) -> GaussianMap:
        """Return this noise."""
        return self

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError unless the map broadcasts to measurements of that shape."""
        try:
            fits = torch.broadcast_shapes(self.std.shape, shape) == torch.Size(shape)
        except RuntimeError:
            fits = False
        if not fits:
            raise UserError(
                f"GaussianMap: std: expected a map that broadcasts to measurements {tuple(shape)}, "
                f"got {tuple(self.std.shape)}; give one standard deviation for each entry, without the batch axis"
            )

    def to(self, device: torch.device | str) -> Self:
        """Return this noise with its map on a device."""
        return type(self)(self.std.to(device))

    def __repr__(self) -> str:
        low, high = float(self.std.min()), float(self.std.max())
        return f"GaussianMap({tuple(self.std.shape)}, std {low:.3g} to {high:.3g})"


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return standard normal numbers in the shape, type and place of a tensor, drawn where the generator is."""
    n = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device)
    return n.to(like.device)


def finite(owner: str, name: str, value: object, *, positive: bool) -> float:
    """Return a finite number that is positive, or not negative.

    Raises:
        TypeError: no number.
        ValueError: another number; the message names class, parameter, what was expected and what came.
    """
    if not is_number(value):
        raise UserTypeError(f"{owner}: {name}: expected a number, got {type(value).__name__}")
    return number(f"{owner}: {name}", value, 0, positive=positive)
