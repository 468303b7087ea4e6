"""The contract of a noise model: the distribution of a measurement `y` given the clean one, `z = A(x)`.

In most models the entries of a measurement are independent,

    log p(y | z) = sum_i log p(y_i | z_i),      E[y_i | z_i] = z_i (or nearly),      Var[y_i | z_i] = v(z_i)

The Gaussian approximation `N(z, v(y))` has the variance `v` at the measured values. Methods that need Gaussian noise
use it.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from ..checks import is_number, number

if TYPE_CHECKING:
    from .gaussian import GaussianMap


class Noise(abc.ABC):
    """The distribution of a measurement given the clean one.

    A subclass defines `sample` and `log_likelihood`; noise with independent entries derives from `Independent`.

    Attributes:
        name: under which the registry lists the class; "" for one that is not listed.
        summary: one line for listings.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""

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
        raise ValueError(
            f"{type(self).__name__}: it has no Gaussian approximation; define its `gaussian`, or choose a solver that "
            "needs no Gaussian noise"
        )

    def check(self, shape: tuple[int, ...]) -> None:  # noqa: B027  most models fit any shape
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
        from .gaussian import GaussianMap

        if len(y) != 1:
            raise ValueError(
                f"{type(self).__name__}.gaussian: y: expected one measurement, as the variance depends on it, "
                f"got {len(y)}; take them one by one"
            )
        return GaussianMap(self.variance(y[0]).sqrt())


def finite(owner: str, name: str, value: object, *, positive: bool) -> float:
    """Return a finite number that is positive, or not negative.

    Raises:
        TypeError: no number.
        ValueError: another number; the message names class, parameter, what was expected and what came.
    """
    if not is_number(value):
        raise TypeError(f"{owner}: {name}: expected a number, got {type(value).__name__}")
    return number(f"{owner}: {name}", value, 0, positive=positive)
