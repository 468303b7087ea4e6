"""Names that refer to files: objects in Python files, and weights of networks."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import UserError
from .names import unknown

WEIGHTS = frozenset({".bin", ".ckpt", ".pkl", ".pt", ".pth", ".safetensors"})
"""Suffixes of files of network weights."""

_MODULE = "_invdiff_file_"


def is_weights(spec: str) -> bool:
    """Return whether a spec, with or without options, refers to weights: a file with such a suffix, or any folder."""
    path = weights_path(spec)
    return path.suffix.lower() in WEIGHTS or path.is_dir()


def weights_path(spec: str) -> Path:
    """Return the path in `path` or `path:key=value,...`."""
    whole, bare = Path(spec), Path(spec.rpartition(":")[0])
    options = "=" in spec.rpartition(":")[2] and (bare.exists() or bare.suffix.lower() in WEIGHTS)
    return bare if options and not whole.exists() else whole


def in_file_of_user(error: BaseException) -> str:
    """Return `path/to/file.py:line` of the innermost line in a file that `load_from_file` read; "" if there is none.

    Args:
        error: an exception that was caught.
    """
    loaded = loaded_files()
    places = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in loaded]
    if not places:
        return ""
    file, here = Path(places[-1].filename), Path.cwd()
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{places[-1].lineno}"


def is_foreign(error: BaseException) -> bool:
    """Return whether an exception comes from a file that was loaded, or from a package that declares entry points.

    Args:
        error: an exception that was caught. It counts as a package's if its code raised it itself.
    """
    if in_file_of_user(error):
        return True
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    package = str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames else ""
    points = entry_points()
    groups = (g for g in points.groups if g.startswith("invdiff."))
    return package in {p.module.partition(".")[0] for g in groups for p in points.select(group=g)} - {"invdiff"}


def load_from_file(spec: str) -> Any:
    """Return the object of `path/to/file.py:Name`.

    Raises:
        ValueError: no such file, no such name in it, or the file fails to import.
    """
    path_text, _, name = spec.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise UserError(f"{spec!r}: no file {path_text!r}; expected path/to/file.py:Name")
    module = importlib.import_module(own) if (own := own_module(path)) else _module_of(path)
    if not hasattr(module, name):
        public = [k for k, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__]
        raise UserError(f"{path_text}: {unknown('name', name, public)}")
    return getattr(module, name)


def loaded_files() -> tuple[str, ...]:
    """Return the paths of the files that `load_from_file` has loaded in this process."""
    return tuple(str(m.__file__) for name, m in list(sys.modules.items()) if name.startswith(_MODULE))


def load_files(paths: tuple[str, ...]) -> None:
    """Load the files of another process, so that objects of their classes can be received from it.

    Raises:
        ValueError: a file that is not there, or fails to import.
    """
    for path in map(Path, paths):
        if not path.is_file():
            raise UserError(f"{path}: no such file on this worker; every worker needs it at the same path")
        _module_of(path)


def own_module(path: Path) -> str:
    """Return the name of the module of this package in a file, also for a path with links; "" for other files.

    Raises:
        ValueError: the file belongs to another copy of this package.
    """
    file, package = path.resolve(), Path(__file__).resolve().parents[1]
    folders = [p for p in file.parents if p.name == package.name and (p / "registry" / "files.py").is_file()]
    if not folders:
        return ""
    if folders[0] != package:
        raise UserError(
            f"{path}: expected a file of the {package.name} that runs, in {package.parent}, got one of the copy in "
            f"{folders[0].parent}; install that one with pip install -e, or copy the file elsewhere"
        )
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _module_of(path: Path) -> ModuleType:
    """Return the module of a file that belongs to no package; it is loaded once.

    Raises:
        ValueError: it fails to import.
    """
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]  # the same in every process
    name = f"{_MODULE}{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{path}: fails to import: {type(error).__name__}: {error}") from error
    return module
