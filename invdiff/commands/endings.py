"""How a command ends: its exit codes, and the code and the message of an error."""

from __future__ import annotations

import traceback
from pathlib import Path

from ..errors import UserError
from ..registry import in_file_of_user, is_foreign

DIVERGED = 3
"""A solver diverged; its results are written, and say so."""

FAILED = 4
"""Some of several pictures failed; the others are written."""

INTERRUPTED = 130

_SHOWN = 300  # characters of a message
_PACKAGE = Path(__file__).parent.parent


def ending(failure: Exception) -> tuple[int, str]:
    """Return the exit code and the message for an error: 2 for those of the user, else 1."""
    if callable(tell := getattr(failure, "format_message", None)):  # typer's own: unknown option, missing argument, ...
        path = getattr(getattr(failure, "ctx", None), "command_path", "invdiff")
        return 2, f"{tell().rstrip('.')}; see: {path} --help"
    extra = isinstance(failure, ImportError) and "pip install" in str(failure)  # an extra that is not installed
    if extra or isinstance(failure, UserError):
        return 2, str(failure)
    if isinstance(failure, OSError):
        named = f"{failure.filename}: " if failure.filename and failure.strerror else ""
        return 2, named + (failure.strerror or str(failure))
    crowded = isinstance(failure, RuntimeError) and "can't allocate memory" in str(failure)  # torch's on a CPU
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError" or crowded:
        return 1, "out of memory; lower --samples, --batch-size or the number of steps, or take a smaller image"
    what = type(failure).__name__ + (f": {failure}" if str(failure) else "")
    if is_foreign(failure):
        if isinstance(failure, ValueError | TypeError):
            return 2, str(failure)
        return 2, f"{in_file_of_user(failure) or _place(failure)}: {what}; see all of it with: invdiff --traceback ..."
    return 1, (
        f"a fault of invdiff, not of what it was given: {' '.join(what.split())[:_SHOWN]} (at {_place(failure)}); "
        "please report it with what the same command prints after: invdiff --traceback ..."
    )


def _place(failure: Exception) -> str:
    """Return file and line of the innermost code of a failure that is this package's, or of any code."""
    frames = traceback.extract_tb(failure.__traceback__)
    ours = [f for f in frames if Path(f.filename).is_relative_to(_PACKAGE)]
    if not frames:
        return "a worker"
    last = (ours or frames)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"
