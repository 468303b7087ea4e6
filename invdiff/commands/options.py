"""The options of operators and solvers, in the notation `name:key=value`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from .. import registry
from ..operators.builders.base import SHAPE_NAMES
from ..operators.builders.factory import find_builder


def describe(kind: str, name: str) -> str:
    """Return the options of a registered name with their defaults, in one line.

    Args:
        kind: "operators", "noises", "solvers", "samplers", "priors" or "tasks".
        name: a registered name.
    """
    if kind not in ("operators", "noises", "solvers", "samplers", "priors", "tasks"):
        return "no options"
    if kind == "operators":
        found, choices = list(find_builder(name).options().values()), dict[str, dict[str, object]]()
    else:
        target = getattr(registry, kind)[name]
        hidden = {*SHAPE_NAMES, "self"}
        found = [p for p in inspect.signature(target).parameters.values() if p.name not in hidden]
        choices = getattr(target, "choices", {})
    shown = (p for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
    return ", ".join(_option(p, choices.get(p.name, {})) for p in shown) or "no options"


def _option(parameter: inspect.Parameter, choices: Mapping[str, object]) -> str:
    # None means "not given", so it is not a useful value to show.
    if parameter.default is parameter.empty or parameter.default is None:
        return parameter.name
    named = [name for name, choice in choices.items() if choice is parameter.default]
    return f"{parameter.name}={named[0] if named else parameter.default}"
