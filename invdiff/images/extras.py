"""The libraries of single fields, from the extra `science`."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from ..errors import UserError


def library(name: str, path: Path) -> Any:
    """Return a module of the extra `science`.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{path}: is read by {package_of(name)}, which is missing; install invdiff[science]") from error


def package_of(module: str) -> str:
    """Return the name under which the package of a module is installed."""
    return {"pillow_heif": "pillow-heif"}.get(module, module).partition(".")[0]


def is_installed(module: str) -> bool:
    """Return whether a module can be found; it is not imported."""
    return importlib.util.find_spec(module) is not None
