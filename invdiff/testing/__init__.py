"""Checks of operators, priors and solvers against exact answers, for this package and for third parties."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exact import exact_problems, mixture_problem, operator_problem
    from .hard import hard_problems
    from .operator import check_operator
    from .prior import check_prior
    from .solver import Grade, check_solver, grade_solver

_HOME = {
    "Grade": "solver",
    "check_operator": "operator",
    "check_prior": "prior",
    "check_solver": "solver",
    "exact_problems": "exact",
    "grade_solver": "solver",
    "hard_problems": "hard",
    "mixture_problem": "exact",
    "operator_problem": "exact",
}

__all__ = [
    "Grade",
    "check_operator",
    "check_prior",
    "check_solver",
    "exact_problems",
    "grade_solver",
    "hard_problems",
    "mixture_problem",
    "operator_problem",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
