"""Entries of the registry: the location and the facts of a named object, without importing it.

The facts are attributes of the object itself. `of` reads them from the object: for the generated table in `entries`,
and for objects of other packages and files on request.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

NEEDS = {
    "linear": "linear operator", "svd": "closed-form SVD", "gaussian": "Gaussian noise", "vjp": "gradients",
    "pixelwise": "operator on single pixels",
}  # fmt: skip
"""Needs of solvers, in the words of a listing."""


@dataclass(frozen=True)
class Entry:
    """The location of a named object.

    Attributes:
        target: `module:attribute`.
        summary: one line for `invdiff list`.
        source: "built in", or the distribution that declares it.
    """

    target: str
    summary: str
    source: str = "built in"

    def load(self) -> Any:
        """Import the object."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)

    @classmethod
    def of(cls, found: Any, entry: Entry) -> Self:
        """Return an entry with the facts of its object.

        Args:
            found: the class or factory.
            entry: its location.
        """
        return cls(entry.target, entry.summary, entry.source)


@dataclass(frozen=True)
class NoiseEntry(Entry):
    """The location of a noise model, and its parameters.

    Attributes:
        parameters: defaults by name, `None` for a parameter without one.

    Example:
        >>> NoiseEntry("m:N", "a noise", parameters={"photons": None, "std": 0.1}).example
        'photons=1,std=0.1'
    """

    parameters: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Any, entry: Entry) -> Self:
        """Return an entry with the parameters of a noise model's class."""
        known = inspect.signature(found).parameters.values()
        return cls(
            entry.target,
            entry.summary,
            entry.source,
            {p.name: None if p.default is p.empty else p.default for p in known},
        )

    @property
    def example(self) -> str:
        """Values for all parameters, in the notation of the command line."""
        return ",".join(f"{name}={1 if default is None else default}" for name, default in self.parameters.items())


@dataclass(frozen=True)
class OperatorEntry(Entry):
    """The location of an operator, and the kind of its measurements; see `invdiff.operators.Operator`.

    Attributes:
        photographic: whether a measurement is an image.
        sinogram: whether a measurement has a row of detectors for each angle.
        complex_valued: whether a measurement is complex.
        takes_mask: whether the operator takes a mask of known pixels.
    """

    photographic: bool = False
    sinogram: bool = False
    complex_valued: bool = False
    takes_mask: bool = False

    @classmethod
    def of(cls, found: Any, entry: Entry) -> Self:
        """Return an entry with the facts of an operator's class, or of the function that builds it."""
        flags = ("photographic", "sinogram", "complex_valued", "takes_mask")
        stated = {name: bool(getattr(found, name, False)) for name in flags}
        return cls(entry.target, entry.summary, entry.source, **stated)


@dataclass(frozen=True)
class SolverEntry(Entry):
    """The location of a solver, and the facts for a choice.

    Attributes:
        paper: authors and year; "" if there is no paper.
        needs: names of `NEEDS` with spaces between.
        limit: the parameter in whose limit the samples are exact; "" for none.
        point: whether it gives one estimate instead of samples.

    Example:
        >>> SolverEntry("m:S", "a solver", paper="Cardoso et al. 2024", needs="linear svd", limit="particles").facts
        'Cardoso et al. 2024; needs linear operator, closed-form SVD; exact in the limit (particles)'
    """

    paper: str = ""
    needs: str = ""
    limit: str = ""
    point: bool = False

    @classmethod
    def of(cls, found: Any, entry: Entry) -> Self:
        """Return an entry with the facts of a solver's class."""
        needs = " ".join(sorted(found.needs, key=[*NEEDS, *sorted(found.needs)].index))
        return cls(entry.target, entry.summary, entry.source, found.paper, needs, found.limit, found.point)

    @property
    def kind(self) -> str:
        """The class of the solver, in words."""
        if self.limit:
            return f"exact in the limit ({self.limit})"
        return "one estimate" if self.point else "approximate"

    @property
    def facts(self) -> str:
        """Paper, needs and class, in one line."""
        needs = ", ".join(NEEDS.get(n, n) for n in self.needs.split())
        return "; ".join(t for t in (self.paper, f"needs {needs}" if needs else "any problem", self.kind) if t)
