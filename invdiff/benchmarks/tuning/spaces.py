"""The search space of a study: the ranges that a solver declares, with the changes of the caller."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ...errors import UserError
from ...registry import unknown
from ...solvers import Solver
from ...solvers.base import parameters
from ...solvers.common.search import Range


def space(
    name: str, cls: type[Solver], fixed: Mapping[str, object], ranges: Mapping[str, Range] | None = None
) -> dict[str, Range]:
    """Return the search space of a solver: the declared ranges, with changes, without fixed parameters.

    Args:
        name: of the solver, for messages.
        cls: its class.
        fixed: parameters with given values.
        ranges: additions to, and replacements of, the declared ranges.

    Raises:
        ValueError: a range for an unknown, non-numeric or fixed parameter, or an empty search space.
    """
    known = parameters(cls)
    for key in ranges or {}:
        if key not in known:
            raise UserError(unknown(f"parameter of {cls.__name__}", key, known))
        if key in fixed:
            raise UserError(f"{cls.__name__}: {key!r} is fixed at {fixed[key]!r} and has a range; leave one out")
        if not _is_number(known[key]):
            raise UserError(f"{cls.__name__}: {key}: expected a parameter that is a number, its default is not one")
    chosen = {k: r for k, r in {**cls.search, **(ranges or {})}.items() if k not in fixed}
    if not chosen:
        numbers = ", ".join(k for k, f in known.items() if _is_number(f) and k not in fixed) or "none"
        raise UserError(
            f"solver {name!r} has no parameter with a range that is not fixed; give one as parameter=low:high[:log], "
            f"numbers are: {numbers}"
        )
    return chosen


def _is_number(f: dataclasses.Field[object]) -> bool:
    return isinstance(f.default, int | float) and not isinstance(f.default, bool)
