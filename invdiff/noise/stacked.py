"""Several measurements of one image, each with its own noise.

    p(y_1, y_2, ... | x) = p_1(y_1 | A_1 x) p_2(y_2 | A_2 x) ...

The measurement is the row `(n,)` that `invdiff.operators.composed.stack` concatenates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ..errors import UserError, UserTypeError
from .base import GaussianMap, Independent, Noise
from .gaussian import Gaussian


@dataclass(frozen=True)
class StackedNoise(Independent):
    """The noise of a stack of operators.

    Attributes:
        parts: the noise of each operator, with independent entries.
        shapes: the shape of each operator's measurement, without the batch axis.

    Raises:
        TypeError: a part is no noise of independent entries.
        ValueError: no parts, or a different number of shapes.

    Example:
        >>> noise = StackedNoise((Gaussian(0.1), Gaussian(0.2)), ((1, 2, 2), (1, 1, 1)))
        >>> noise.variance(torch.zeros(1, 5)).sqrt()
        tensor([[0.1000, 0.1000, 0.1000, 0.1000, 0.2000]])
    """

    parts: tuple[Independent, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "shapes", tuple(tuple(s) for s in self.shapes))
        for i, part in enumerate(self.parts):
            if not isinstance(part, Independent):
                raise UserTypeError(
                    f"StackedNoise: parts[{i}]: expected noise of independent entries such as Gaussian(std=0.025), "
                    f"got {type(part).__name__}; derive its class from Independent"
                )
        if not self.parts or len(self.parts) != len(self.shapes):
            raise UserError(
                f"StackedNoise: parts: expected one noise for each of {len(self.shapes)} measurements, "
                f"got {len(self.parts)}; list as many as the stack has operators"
            )

    @classmethod
    def of(cls, parts: Iterable[Noise | float], shapes: Iterable[tuple[int, ...]]) -> StackedNoise:
        """Return the noise of measurements of these shapes; a number is a standard deviation."""
        laws = tuple(Gaussian(p) if isinstance(p, int | float) else p for p in parts)
        return cls(laws, tuple(shapes))  # type: ignore[arg-type]  # the class checks its parts itself

    @property
    def is_gaussian(self) -> bool:
        """Whether all parts are Gaussian."""
        return all(p.is_gaussian for p in self.parts)

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return the noisy measurements in one row."""
        return self._each(lambda noise, z: noise.sample(z, generator), clean)

    def log_density(self, y: Tensor, clean: Tensor) -> Tensor:
        """Return the log density of each entry under its own noise."""
        return self._each(lambda noise, v, z: noise.log_density(v, z), y, clean)

    def variance(self, clean: Tensor) -> Tensor:
        """Return the variance of each entry under its own noise."""
        return self._each(lambda noise, z: noise.variance(z), clean)

    def gaussian(self, y: Tensor) -> GaussianMap:
        """Return the standard deviations of all parts at the measured values.

        Raises:
            ValueError: a part is noiseless, so it has no finite weight.
        """
        for i, part in enumerate(self.parts):
            if isinstance(part, Gaussian) and part.std == 0:
                raise UserError(
                    f"StackedNoise: parts[{i}]: expected a positive standard deviation beside other measurements, "
                    "got 0; give exact measurements a small one"
                )
        if self.is_gaussian:
            return GaussianMap(self.variance(torch.zeros_like(y[:1]))[0].sqrt())
        return super().gaussian(y)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a ValueError unless the parts together form a row of that length."""
        n = sum(math.prod(s) for s in self.shapes)
        if tuple(shape) != (n,):
            raise UserError(
                f"StackedNoise: shapes: expected measurements {tuple(shape)} in all, got {list(self.shapes)}, "
                f"a row of {n}; give the out_shape of each operator of the stack"
            )
        for part, one in zip(self.parts, self.shapes, strict=True):
            part.check(one)

    def to(self, device: torch.device | str) -> Self:
        """Return this noise on a device."""
        return type(self)(tuple(p.to(device) for p in self.parts), self.shapes)

    def _each(self, f: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """Apply `f(noise, *entries)` to each part, of shape `(B, *shape)`, and put the results in a row."""
        sizes = [math.prod(s) for s in self.shapes]
        split = [torch.split(r, sizes, -1) for r in rows]
        out = []
        for i, (part, shape) in enumerate(zip(self.parts, self.shapes, strict=True)):
            entries = [s[i].reshape(*s[i].shape[:-1], *shape) for s in split]
            out.append(f(part, *entries).reshape(*rows[0].shape[:-1], sizes[i]))
        return torch.cat(out, -1)
