"""Solvers from names and values, as the command line and suites give them."""

from __future__ import annotations

import dataclasses

from ..specs import with_options
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
    return with_options(cls, options)
