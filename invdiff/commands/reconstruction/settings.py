"""What a result depends on: options by their values, files by their content.

`result.json` has it as `settings`, so that the same command finds what it has done before, and one with other settings
is told apart.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from ... import __version__
from ...images.parts import split_part
from ...registry import is_weights
from ...specs import Spec
from ..checks import RESULT
from .request import Request
from .results import plain

WHERE = frozenset({"out", "device", "threads", "batch_size", "memory", "workers", "scheduler", "overwrite", "command"})
"""Fields of a request that say where and how the work is done; they change a result by rounding at most."""


def settings_of(request: Request) -> dict[str, Any]:
    """Return the settings of a request by name, as plain values of JSON."""
    told = {f.name: _told(getattr(request, f.name)) for f in dataclasses.fields(request) if f.name not in WHERE}
    if request.prior is not None and is_weights(request.prior):
        told["prior"] = content_of(request.prior)
    named: dict[str, Any] = plain({"version": __version__, **told})
    return named


def key_of(settings: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits that change with the settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def earlier_result(out: Path) -> dict[str, Any] | None:
    """Return the record of a complete result in a folder; `None` if there is none."""
    try:
        record = json.loads((out / RESULT).read_text())
        files = [str(name) for name in record["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if all((out / name).exists() for name in files) else None


def differences(settings: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """Return in which settings an earlier result differs, in words; none if it is the result of these settings."""
    then = record.get("settings")
    if not isinstance(then, dict):
        return ["made by an earlier version, without its settings"]
    names = [name for name in {**settings, **then} if settings.get(name) != then.get(name)]
    return [f"{name} {_brief(then.get(name))} then, {_brief(settings.get(name))} now" for name in names]


def content_of(path: str | Path) -> str:
    """Return the path of a file or folder as what it holds: a hash of its content, and the chosen part."""
    file, part = split_part(path)
    file = file if file.exists() else Path(str(file).partition(".py:")[0] + ".py")  # a function in a file
    if not file.exists():
        return str(path)
    digest = hashlib.sha256()
    for one in sorted(f for f in file.rglob("*") if f.is_file()) if file.is_dir() else [file]:
        state = one.stat()
        digest.update(_digest(one, state.st_size, state.st_mtime_ns))
    return f"file {digest.hexdigest()[:16]}" + (f"#{part}" if part else "")


@lru_cache(maxsize=64)
def _digest(file: Path, size: int, changed: int) -> bytes:
    """Return the SHA-256 of a file, once for all pictures that share it; a new size or time of change is a new file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _told(value: object) -> object:
    if isinstance(value, Spec):
        name = content_of(value.name) + value.name.rpartition(":")[2] if ".py:" in value.name else value.name
        return {"name": name, **{key: _told(v) for key, v in value.options.items()}}
    if isinstance(value, Path):
        return content_of(value)
    if isinstance(value, str) and ":" in value and "=" in value:  # a noise model with options, maybe a file
        return ",".join(str(_told(part)) for part in value.replace("=", ",").split(","))
    if isinstance(value, str) and split_part(value)[0].suffix and split_part(value)[0].exists():
        return content_of(value)
    return value


def _brief(value: object) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 60 else text[:57] + "..."
