"""A call whose result depends on unknown numbers: what families of operators and of noise models are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .errors import UserError
from .unknowns import Unknown, Unknowns

T = TypeVar("T")


@dataclass(frozen=True)
class Recipe(Generic[T]):
    """A class or a function with its known arguments, and the ranges of the unknown ones.

    Attributes:
        target: called with the known arguments and a value for each unknown.
        known: arguments by name; those before the first unknown by position.
        unknowns: ranges by name of argument.
        owner: name of the target, for messages.
        first: arguments by position.
    """

    target: Callable[..., T]
    known: Mapping[str, Any]
    unknowns: Unknowns
    owner: str
    first: tuple[Any, ...] = ()

    @classmethod
    def of(
        cls,
        target: Callable[..., T],
        arguments: tuple[Any, ...],
        options: Mapping[str, Any],
        ranges: Unknowns,
        owner: str,
    ) -> Recipe[T]:
        """Return the recipe of a call.

        Args:
            target: a class or a function.
            arguments: by position, any of them an `Unknown`.
            options: by name, likewise.
            ranges: the ranges that the target declares for arguments that state none.
            owner: name of the target.

        Raises:
            ValueError: no unknown; one without a range; or one in the place of something that is no real number.
        """
        taken = next((i for i, a in enumerate(arguments) if isinstance(a, Unknown)), len(arguments))
        named = dict(options)
        parameters = _parameters(target)
        for position, value in enumerate(arguments[taken:], taken):
            if position >= len(parameters) or parameters[position].kind is inspect.Parameter.VAR_POSITIONAL:
                raise UserError(f"{owner}: expected unknown arguments by name, as in sigma=Unknown(1, 5)")
            named[parameters[position].name] = value
        unknowns = {k: v for k, v in named.items() if isinstance(v, Unknown)}
        if not unknowns:
            raise UserError(f"{owner}: expected an unknown argument, as in sigma=Unknown(1, 5), got none")
        takes = {p.name: p for p in parameters}
        for name, unknown in unknowns.items():
            if name in takes:
                check_real(owner, name, takes[name].annotation)
            unknowns[name] = unknown.within(ranges.get(name))
            if not unknowns[name].has_range:
                declared = f"; ranges are declared for {', '.join(sorted(ranges))}" if ranges else ""
                raise UserError(
                    f"{owner}: {name}: expected the range of the unknown, as in {name}=?1..5 or Unknown(1, 5), got none"
                    + declared
                )
        known = {k: v for k, v in named.items() if k not in unknowns}
        return cls(target, known, unknowns, owner, arguments[:taken])

    def at(self, values: Mapping[str, float]) -> T:
        """Return the object at a value for each unknown; periodic ones may lie outside their range.

        Raises:
            ValueError: a value that is missing, unknown or out of range.
        """
        for name in values:
            if name not in self.unknowns:
                raise UserError(f"{self.owner}: {name}: expected a value of {', '.join(self.unknowns)}, got {name!r}")
        checked = {}
        for name, unknown in self.unknowns.items():
            if name not in values:
                raise UserError(f"{self.owner}: {name}: expected a value of the unknown, got none; give {name}=...")
            checked[name] = unknown.check(f"{self.owner}: {name}", float(values[name]))
        return self.target(*self.first, **self.known, **checked)

    @property
    def middle(self) -> dict[str, float]:
        """The middles of the ranges."""
        return {name: unknown.value(0.5) for name, unknown in self.unknowns.items()}

    def at_ends(self) -> list[tuple[str, float, T]]:
        """Return the objects at both ends of each range, the others in the middle, as (name, value, object).

        Raises:
            ValueError: a range beyond what the target allows.
        """
        made = []
        for name, unknown in self.unknowns.items():
            for value in unknown.ends:
                try:
                    made.append((name, value, self.at({**self.middle, name: value})))
                except UserError as error:
                    raise UserError(
                        f"{self.owner}: {name}: the range {unknown} goes beyond what is allowed; at {value:g}: {error}"
                    ) from None
        return made

    def describe(self) -> str:
        """Return the unknowns with their ranges."""
        return ", ".join(f"{name} in {str(unknown)[1:]}" for name, unknown in self.unknowns.items())


def _parameters(target: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # a built-in function without a signature
        return []


def check_real(owner: str, name: str, annotation: Any) -> None:
    """Raise a ValueError if an annotation says that an argument is no real number.

    Args:
        owner: for the message.
        name: of the argument.
        annotation: a type or its text; none stands for any value.
    """
    if annotation is inspect.Parameter.empty or annotation is Any:
        return
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    kinds = {part.strip() for part in text.split("|")} - {"None"}
    if "float" in kinds or "Any" in kinds:
        return
    if "int" in kinds:
        raise UserError(
            f"{owner}: {name}: is a whole number, which can change shapes; it cannot be unknown, give its value"
        )
    raise UserError(f"{owner}: {name}: expected {text}, which is no real number; it cannot be unknown, give its value")
