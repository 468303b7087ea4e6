"""The libraries of single fields, from the extra `science`."""

from __future__ import annotations

import importlib
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
        package = {"pillow_heif": "pillow-heif"}.get(name, name).partition(".")[0]
        raise UserError(f"{path}: is read by {package}, which is missing; install invdiff[science]") from error
