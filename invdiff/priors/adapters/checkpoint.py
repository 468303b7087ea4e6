"""Reading files of tensors without running code from them.

PyTorch's older files are pickles, which can call any function when they are read. Here they are read with
`weights_only=True`, which accepts tensors and plain containers and nothing else.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...errors import UserError, first_line

SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".pkl"})
"""Suffixes of files of weights."""
_INSIDE = ("state_dict", "model_state_dict", "ema_state_dict", "params_ema", "ema", "params", "model", "net")
_WRAPPERS = ("module.", "_orig_mod.")
_CONVERT = (
    "where you trust the file, read it once with the code that wrote it and save its tensors alone: "
    "torch.save(net.state_dict(), 'weights.pt'); docs/priors.md has the lines"
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a file.

    Attributes:
        path: the file.
        tensors: by name, without the prefixes of `DataParallel` and `torch.compile`.
        content: everything in the file, for formats that keep more than one set of tensors.
        metadata: text by key, of a safetensors file.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    content: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def has(self, *names: str) -> bool:
        """Return whether there are tensors of all these names."""
        return all(n in self.tensors for n in names)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file of tensors.

    Args:
        path: `.safetensors`, or a file of `torch.save`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that contains code, is damaged, or holds no tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"prior: no file {str(path)!r}; docs/priors.md says where published weights come from")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files name storage classes that torch has replaced
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _is_pickle(path):
            raise _damaged(path) from error
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        code = f" ({found[1]})" if found else ""
        raise UserError(
            f"{path}: prior: expected tensors alone, got a pickle that runs code when it is read{code}, which invdiff "
            f"refuses; {_CONVERT}"
        ) from error
    except Exception as error:  # a file that is no pickle can raise anything
        raise _damaged(path) from error
    tensors = _tensors(content)
    if not tensors:
        raise UserError(
            f"{path}: prior: expected a state dict (tensors by name), got {_describe(content)}; "
            "save net.state_dict() instead"
        )
    return Checkpoint(path, _unwrap(tensors), content if isinstance(content, Mapping) else {})


def _is_pickle(path: Path) -> bool:
    """Return whether a file begins as a pickle of protocol 2 or higher does, or as a zip that holds one."""
    with path.open("rb") as file:
        start = file.read(4)
    return start[:1] == b"\x80" or start == b"PK\x03\x04"


def _damaged(path: Path) -> ValueError:
    return UserError(
        f"{path}: prior: expected weights that torch.save wrote, got {path.stat().st_size} bytes of something else, or "
        "damaged; fetch or save the file again"
    )


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (it is no mapping)
            return Checkpoint(path, _unwrap(tensors), {}, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: prior: expected a safetensors file, got a damaged one ({first_line(error)[:160]}); "
            "fetch or save it again"
        ) from error


def _tensors(content: Any) -> dict[str, Tensor]:
    """Return the first set of named tensors in a file's content."""
    if not isinstance(content, Mapping):
        return {}
    found = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if found:
        return found
    for key in _INSIDE:
        if inside := _tensors(content.get(key)):
            return inside
    return {}


def _unwrap(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the prefixes of wrappers."""
    for prefix in _WRAPPERS:
        if all(k.startswith(prefix) for k in tensors):
            return _unwrap({k.removeprefix(prefix): v for k, v in tensors.items()})
    return dict(tensors)


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a dict of {', '.join(map(repr, list(content)[:5]))}"
    return f"a {type(content).__name__}"
