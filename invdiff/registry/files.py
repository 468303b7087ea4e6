"""Names that refer to files: objects in Python files, and weights of networks."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

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
    loaded = {str(m.__file__) for name, m in list(sys.modules.items()) if name.startswith(_MODULE)}
    places = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in loaded]
    if not places:
        return ""
    file, here = Path(places[-1].filename), Path.cwd()
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{places[-1].lineno}"


def load_from_file(spec: str) -> Any:
    """Return the object of `path/to/file.py:Name`.

    Raises:
        ValueError: no such file, no such name in it, or the file fails to import.
    """
    path_text, _, name = spec.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise ValueError(f"{spec!r}: no file {path_text!r}; expected path/to/file.py:Name")
    module_name = f"{_MODULE}{path.stem}_{abs(hash(path.resolve()))}"
    if module_name not in sys.modules:
        module_spec = importlib.util.spec_from_file_location(module_name, path)
        assert module_spec is not None and module_spec.loader is not None
        module = importlib.util.module_from_spec(module_spec)
        sys.modules[module_name] = module
        try:
            module_spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            raise ValueError(f"{path_text}: fails to import: {type(error).__name__}: {error}") from error
    module = sys.modules[module_name]
    if not hasattr(module, name):
        public = [k for k, v in vars(module).items() if getattr(v, "__module__", None) == module_name]
        raise ValueError(f"{path_text}: {unknown('name', name, public)}")
    return getattr(module, name)
