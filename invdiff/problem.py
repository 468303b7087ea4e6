"""An inverse problem `y = A(x) + noise`, and its simulation from a clean image."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .errors import UserError, UserTypeError
from .noise import Gaussian, Independent, Noise, NoiseFamily, StackedNoise
from .operators.base import LinearOperator, Operator
from .operators.composed.stack import NonlinearStack, Stack
from .operators.family import OperatorFamily
from .operators.numerics.norms import derivative_norm, largest_singular_value
from .streams import generator
from .unknowns import Unknown


@dataclass(frozen=True)
class Problem:
    """A batch of measurements with their operator and noise model.

    Attributes:
        operator: the forward operator `A`, or a family of them with unknown parameters.
        noise: the distribution of `y` given `A(x)`, or a family of them.
        measurement: `y`, `(B, *operator.out_shape)`. Entries that the operator does not observe are set to zero.
        image_index: index of each image, for its random streams; by default 0 to B - 1.

    Example:
        >>> import torch
        >>> from invdiff.operators import Identity
        >>> Problem(Identity((1, 8, 8)), Gaussian(0.1), torch.zeros(2, 1, 8, 8))[1].image_index
        (1,)
    """

    operator: Operator
    noise: Noise
    measurement: Tensor
    image_index: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.operator, Operator):
            raise UserTypeError(
                f"Problem: operator: expected an invdiff Operator, got {type(self.operator).__name__}; "
                "wrap a function with Operator.from_function"
            )
        if not isinstance(self.noise, Noise):
            raise UserTypeError(
                f"Problem: noise: expected a Noise such as Gaussian(std=0.025), got {type(self.noise).__name__}"
            )
        y = self.measurement
        self.operator._check(y, self.operator.out_shape, "a measurement", "measurement")
        self.noise.check(tuple(self.operator.out_shape))
        if not bool(torch.isfinite(y).all()):
            bad = int((~torch.isfinite(y)).sum())
            raise UserError(
                f"Problem: measurement: expected finite numbers, got {bad} NaN or infinite; "
                "mark missing pixels with a mask instead"
            )
        if self.operator.observed is not None:
            object.__setattr__(self, "measurement", y * self.operator.observed.to(y))
        index = self.image_index or tuple(range(y.shape[0]))
        if len(index) != y.shape[0]:
            raise ValueError(
                f"Problem: image_index: expected {y.shape[0]} numbers, one for each image, got {len(index)}"
            )
        object.__setattr__(self, "image_index", tuple(index))

    def __len__(self) -> int:
        """Return the number of images."""
        return int(self.measurement.shape[0])

    def __getitem__(self, rows: int | slice | list[int]) -> Problem:
        """Return the problem of some of the images; they keep their random streams."""
        selected = (
            list(range(len(self)))[rows] if isinstance(rows, slice) else [rows] if isinstance(rows, int) else rows
        )
        selected = [range(len(self))[i] for i in selected]
        part = copy.copy(self)  # without checks, which the whole has passed: solvers do this at each step
        whole = selected == list(range(len(self)))  # not copied for each sample of a large picture
        object.__setattr__(part, "measurement", self.measurement if whole else self.measurement[selected])
        object.__setattr__(part, "image_index", tuple(self.image_index[i] for i in selected))
        return part

    @cached_property
    def unknowns(self) -> dict[str, Unknown]:
        """The unknown parameters of the operator and of the noise, by name; none for a problem of known ones."""
        return unknowns_of(self.operator, self.noise)

    def at(self, values: Mapping[str, float]) -> Problem:
        """Return the problem at a value for each unknown parameter.

        Args:
            values: by name; none for a problem without unknowns.

        Raises:
            ValueError: a value that is missing, of no unknown, or out of range.
        """
        for name in values:
            if name not in self.unknowns:
                raise UserError(f"Problem.at: {name}: expected a value of {', '.join(self.unknowns) or 'no parameter'}")
        operator, noise = self.operator, self.noise
        if isinstance(operator, OperatorFamily):
            operator = operator.at({k: v for k, v in values.items() if k in operator.unknowns})
        if isinstance(noise, NoiseFamily):
            noise = noise.at({k: v for k, v in values.items() if k in noise.unknowns})
        return Problem(operator, noise, self.measurement, self.image_index)

    @cached_property
    def typical(self) -> Problem:
        """The problem in the middle of the ranges of its unknown parameters; itself if it has none."""
        if not self.unknowns:
            return self
        operator, noise = self.operator, self.noise
        return Problem(
            operator.typical if isinstance(operator, OperatorFamily) else operator,
            noise.typical if isinstance(noise, NoiseFamily) else noise,
            self.measurement,
            self.image_index,
        )

    @cached_property
    def observations(self) -> int:
        """Number of observed entries of one measurement."""
        observed, shape = self.operator.observed, self.operator.out_shape
        return math.prod(shape) if observed is None else int(observed.expand(shape).sum())

    @cached_property
    def gain(self) -> float:
        """The operator's largest singular value; that of its derivative at a gray image if it is not linear.

        It is `operator.spectral_norm`, in double precision; in the type and on the device of the measurement for a
        function that takes no other images.
        """
        op, y = self.operator, self.measurement
        try:
            return op.spectral_norm
        except RuntimeError:  # of torch, for a type or a device; any other one comes again below
            if isinstance(op, LinearOperator):
                return largest_singular_value(op.normal, tuple(op.in_shape), dtype=y.dtype, device=y.device).value
            return derivative_norm(op.forward, tuple(op.in_shape), y)

    def residual(self, x: Tensor) -> Tensor:
        """Return `y - A(x)`, zero where nothing was observed, `(B, *out_shape)`."""
        r = self.measurement - self.operator(x)
        observed = self.operator.observed
        return r if observed is None else r * observed.to(r)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Return `log p(y | x)` of each image, `(B,)`, over the observed entries."""
        observed = self.operator.observed
        if isinstance(self.noise, Gaussian):
            return self.noise.log_of_residual(self.residual(x), self.observations)
        y, clean = self.measurement, self.operator(x)
        if observed is not None:
            keep = observed.to(y.device).expand(y.shape[1:])
            if isinstance(self.noise, Independent):
                return torch.where(keep, self.noise.log_density(y, clean), 0).flatten(1).sum(1)
            y, clean = y[:, keep], clean[:, keep]
        return self.noise.log_likelihood(y, clean)

    def to(self, device: torch.device | str) -> Problem:
        """Return this problem on a device."""
        return Problem(self.operator.to(device), self.noise.to(device), self.measurement.to(device), self.image_index)

    def gaussian(self) -> Problem:
        """Return this problem with the Gaussian approximation of its noise, for solvers that need Gaussian noise.

        Its variance is that of the noise at the measured values; each noise model states its accuracy. If the variance
        depends on the measurement, call it on a problem of one image, `problem[i].gaussian()`.

        Raises:
            ValueError: several images, or noise that has no Gaussian approximation.

        Example:
            >>> from invdiff.noise import Poisson
            >>> from invdiff.operators import Identity
            >>> Problem(Identity((1, 1, 1)), Poisson(100.0), torch.ones(1, 1, 1, 1)).gaussian().noise
            GaussianMap((1, 1, 1), std 0.1 to 0.1)
        """
        if isinstance(self.noise, Gaussian):
            return self
        return dataclasses.replace(self, noise=self.noise.gaussian(self.measurement))


def unknowns_of(operator: Operator, noise: Noise) -> dict[str, Unknown]:
    """Return the unknown parameters of an operator and of a noise model, by name."""
    families = (f for f in (operator, noise) if isinstance(f, OperatorFamily | NoiseFamily))
    return {name: unknown for family in families for name, unknown in family.unknowns.items()}


def simulate(
    operator: Operator,
    x: Tensor,
    noise: Noise | float | Sequence[Noise | float],
    seed: int = 0,
    *,
    parameters: Mapping[str, float] | None = None,
) -> Problem:
    """Corrupt clean images: `y = A(x) + noise`.

    Image `i` draws its noise from its own stream, derived from `(seed, i)`, so a measurement does not depend on the
    rest of its batch.

    Args:
        operator: the forward operator.
        x: clean images in [0, 1], `(B, *operator.in_shape)`.
        noise: a `Noise`, or the standard deviation of Gaussian noise; for a stack of operators also one for each.
        seed: non-negative integer.
        parameters: the true value of each unknown parameter of the operator and of the noise; the problem that is
            returned does not hold them.

    Returns:
        The problem, with its measurement.

    Raises:
        ValueError: the number of noises is not the number of operators of the stack; an unknown parameter without a
            value.

    Example:
        >>> import torch
        >>> from invdiff.operators import Identity
        >>> simulate(Identity((1, 4, 4)), torch.zeros(1, 1, 4, 4), 0.1, seed=0).measurement.shape
        torch.Size([1, 1, 4, 4])
    """
    law = noise_for(operator, noise)
    if isinstance(operator, OperatorFamily) or isinstance(law, NoiseFamily) or parameters:
        blank = Problem(operator, law, x.new_zeros((0, *operator.out_shape)))
        true = blank.at(parameters or {})
        return Problem(operator, law, simulate(true.operator, x, true.noise, seed).measurement)
    clean = operator(x)
    law.check(tuple(operator.out_shape))
    rows = [law.sample(clean[i : i + 1], generator(seed, i)) for i in range(clean.shape[0])]
    return Problem(operator, law, torch.cat(rows) if rows else clean)


def noise_for(operator: Operator, noise: Noise | float | Sequence[Noise | float]) -> Noise:
    """Return the noise model for the measurements of an operator.

    Args:
        operator: the operator.
        noise: a `Noise`; a number, the standard deviation of Gaussian noise; or, for a stack, one of these for each of
            its operators.

    Raises:
        TypeError: several noises for an operator that is no stack, or no noise.
        ValueError: the number of noises is not the number of operators of the stack.
    """
    if isinstance(noise, Noise):
        return noise
    if isinstance(noise, int | float) and not isinstance(noise, bool):
        return Gaussian(noise)
    if isinstance(noise, Sequence) and isinstance(operator, Stack | NonlinearStack):
        return StackedNoise.of(noise, [tuple(a.out_shape) for a in operator.operators])
    raise UserTypeError(
        f"noise: expected a Noise or a standard deviation, or one for each operator of a stack, "
        f"got {type(noise).__name__} for {operator!r}"
    )
