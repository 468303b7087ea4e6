"""Solvers from names and values, as the command line and suites give them."""

from __future__ import annotations

import dataclasses

from ..registry import unknown
from .base import Solver


def parameters(solver: type[Solver]) -> dict[str, dataclasses.Field[object]]:
    """Return the hyper-parameters of a solver class, by name."""
    return {f.name: f for f in dataclasses.fields(solver)}


def make_solver(cls: type[Solver], options: dict[str, object]) -> Solver:
    """Build a solver from named options, as the command line and suites give them.

    Args:
        cls: the solver class.
        options: values by name; integers are taken where floats are expected.

    Raises:
        ValueError: an unknown option (the message names the nearest known one) or a value of the wrong type.
    """
    known = parameters(cls)
    for name, value in options.items():
        if name not in known:
            raise ValueError(unknown(f"parameter of {cls.__name__}", name, known))
        default = known[name].default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            options = {**options, name: float(value)}
        elif isinstance(default, int | float | str) and type(value) is not type(default):
            raise ValueError(f"{cls.__name__}: {name}: expected {type(default).__name__}, got {value!r}")
    return cls(**options)
