"""Numbers of an operator or a noise model that are not known, and classes that accept them in the place of a number.

An unknown `theta` in `[low, high]` has a prior that is uniform in the coordinate `u` in [0, 1],

    theta = low + u (high - low)             uniform
    theta = low (high / low)^u               log_uniform

An operator or a noise model that is called with an unknown makes a family `theta -> A_theta` instead of one object.
"""

from __future__ import annotations

import abc
import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .checks import is_number
from .errors import UserError

PRIORS = ("uniform", "log_uniform")
_TEXT = re.compile(r"^\?\s*(?:(?P<low>[^.:?]*(?:\.[^.:?]+)?)\s*\.\.\s*(?P<high>[^:?]+?))?\s*(?::\s*(?P<kind>\w+))?$")
_KINDS = {None: "uniform", "uniform": "uniform", "log": "log_uniform", "log_uniform": "log_uniform"}


@dataclass(frozen=True)
class Unknown:
    """A number that is to be inferred from the measurement.

    Attributes:
        low: smallest value; `None` for the range that the operator or the noise model declares.
        high: largest value; `None` for the declared one.
        prior: "uniform" on the range, or "log_uniform", uniform in the logarithm.
        periodic: whether `low` and `high` are the same, as for directions.

    Raises:
        ValueError: ends that are no finite numbers, or in the wrong order; an unknown prior; a logarithm without a
            positive `low`.

    Example:
        >>> Unknown.parse("?1..5"), str(Unknown(0.01, 1, "log_uniform"))
        (Unknown(low=1.0, high=5.0, prior='uniform', periodic=False), '?0.01..1:log')
    """

    low: float | None = None
    high: float | None = None
    prior: str = "uniform"
    periodic: bool = False

    def __post_init__(self) -> None:
        if self.prior not in PRIORS:
            raise UserError(f"Unknown: prior: expected {' or '.join(PRIORS)}, got {self.prior!r}")
        if self.low is None and self.high is None:
            return
        for name, value in (("low", self.low), ("high", self.high)):
            if not is_number(value) or not math.isfinite(value):  # type: ignore[arg-type]
                raise UserError(f"Unknown: {name}: expected a finite number, got {value!r}; as in Unknown(1, 5)")
        low, high = self.ends
        if low >= high:
            raise UserError(
                f"Unknown: expected low < high, got {low:g} and {high:g}"
                + ("; exchange them" if low > high else "; a known value needs no Unknown")
            )
        if self.prior == "log_uniform" and low <= 0:
            raise UserError(f"Unknown: low: expected a positive number for a log_uniform prior, got {low:g}")
        object.__setattr__(self, "low", float(low))
        object.__setattr__(self, "high", float(high))

    @classmethod
    def parse(cls, text: str) -> Unknown:
        """Return the unknown of a text: `?`, `?1..5`, or `?0.01..1:log` for a log-uniform prior.

        Raises:
            ValueError: another text.
        """
        found = _TEXT.match(text.strip())
        try:
            if found is None or found["kind"] not in _KINDS:
                raise ValueError
            low, high = (None, None) if found["high"] is None else (float(found["low"]), float(found["high"]))
        except ValueError:
            raise UserError(f"unknown: expected ?, ?LOW..HIGH or ?LOW..HIGH:log, as ?1..5, got {text!r}") from None
        return cls(low, high, _KINDS[found["kind"]])

    def __str__(self) -> str:
        """Return the text for `parse`."""
        log = ":log" if self.prior == "log_uniform" else ""
        return f"?{self.low:g}..{self.high:g}{log}" if self.has_range else f"?{log}"

    @property
    def has_range(self) -> bool:
        """Whether the range is stated."""
        return self.low is not None

    @property
    def ends(self) -> tuple[float, float]:
        """The range.

        Raises:
            ValueError: it is not stated.
        """
        if self.low is None or self.high is None:
            raise UserError("Unknown: expected a range, got none; give Unknown(low, high)")
        return self.low, self.high

    def within(self, declared: Unknown | None) -> Unknown:
        """Return this unknown with the declared range, prior and period where it states none."""
        if declared is None:
            return self
        if not self.has_range:
            prior = declared.prior if self.prior == "uniform" else self.prior
            return Unknown(declared.low, declared.high, prior, declared.periodic)
        whole = declared.periodic and math.isclose(self.ends[1] - self.ends[0], declared.ends[1] - declared.ends[0])
        return Unknown(self.low, self.high, self.prior, self.periodic or whole)

    def value(self, u: float) -> float:
        """Return `theta` at the coordinate `u`; a periodic one comes back into its range."""
        low, high = self.ends
        if self.periodic:
            return low + (u % 1.0) * (high - low)
        u = min(max(u, 0.0), 1.0)
        return low * (high / low) ** u if self.prior == "log_uniform" else low + u * (high - low)

    def coordinate(self, value: float) -> float:
        """Return `u` of a value of `theta`."""
        low, high = self.ends
        if self.prior == "log_uniform":
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    def check(self, where: str, value: float) -> float:
        """Return a value, or raise a ValueError if it lies outside the range; a periodic one has none."""
        low, high = self.ends
        slack = 1e-9 * (high - low)
        if not is_number(value) or not math.isfinite(value):
            raise UserError(f"{where}: expected a finite number, got {value!r}")
        if not self.periodic and not low - slack <= value <= high + slack:
            raise UserError(f"{where}: expected a number in [{low:g}, {high:g}], its range, got {value:g}")
        return float(value)


Unknowns = Mapping[str, Unknown]
"""Unknown numbers by name."""


class FamilyType(abc.ABCMeta):
    """The metaclass of operators and noise models: a call with an `Unknown` makes the family of such objects.

    A class says that it is the family of a base class by `class OperatorFamily(Operator, family_of=Operator)`.
    """

    _family: ClassVar[Any] = None

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, family_of: Any = None, **more: Any
    ) -> FamilyType:
        """Make the class, and note whose family it is."""
        made = super().__new__(mcls, name, bases, namespace, **more)
        if family_of is not None:
            family_of._family = made
        return made

    @property
    def __signature__(cls) -> inspect.Signature:
        """The arguments of the class, which `__call__` would hide."""
        if cls.__init__ is object.__init__:  # type: ignore[misc]
            return inspect.Signature()
        found = inspect.signature(cls.__init__)  # type: ignore[misc]
        return found.replace(parameters=list(found.parameters.values())[1:])

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        """Make an object, or the family of objects if an argument is unknown."""
        family = cls._family
        unknown = any(isinstance(value, Unknown) for value in (*arguments, *options.values()))
        if unknown and family is not None and not issubclass(cls, family):
            return family(cls, *arguments, **options)
        return super().__call__(*arguments, **options)
