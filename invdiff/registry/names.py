"""Errors for unknown names, with the nearest known one."""

from __future__ import annotations

import difflib
from typing import Any

from ..errors import UserError


class UnknownNameError(KeyError, UserError):
    """An unknown name; the message gives the nearest known one."""

    def __str__(self) -> str:
        """Return the message without the quotes that KeyError puts around it."""
        return str(self.args[0])


def unknown(kind: str, name: str, known: Any) -> str:
    """Return the message for an unknown name: the nearest known one, or all of them."""
    if name.endswith(".py"):
        return f"{kind} {name!r}: expected path/to/file.py:Name, got no name behind the file"
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return f"unknown {kind} {name!r}; {hint}"
