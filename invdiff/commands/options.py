"""The options of operators and solvers, as `name:key=value` takes them."""

from __future__ import annotations

import inspect

from .. import registry
from ..operators.builders.factory import find_builder


def describe(kind: str, name: str) -> str:
    """Return the options of a registered name with their defaults, in one line.

    Args:
        kind: "operators", "solvers", "samplers", "priors" or "tasks".
        name: a registered name.
    """
    if kind not in ("operators", "solvers", "samplers", "priors", "tasks"):
        return "no options"
    if kind == "operators":
        found = list(find_builder(name).options().values())
    else:
        target = getattr(registry, kind)[name]
        found = [
            p
            for p in inspect.signature(target).parameters.values()
            if p.name not in ("in_shape", "image_shape", "shape", "self")
        ]
    return ", ".join(_option(p) for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)) or "no options"


def _option(parameter: inspect.Parameter) -> str:
    # None stands for "not given": a value of that name would tell the reader nothing.
    if parameter.default is parameter.empty or parameter.default is None:
        return parameter.name
    return f"{parameter.name}={parameter.default}"
