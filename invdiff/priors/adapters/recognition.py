"""Recognising the library that wrote a file or folder, and loading the prior in it."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ...errors import UserError
from ...registry import unknown
from ..base import Prior
from .checkpoint import Checkpoint, read_checkpoint


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: of the library.
        contents: the names by which it is recognised.
        module: of this package, with `recognises` and `load`.
    """

    name: str
    contents: str
    module: str

    @property
    def code(self) -> Any:
        """The module."""
        return importlib.import_module(f".{self.module}", __package__)


FILES = (
    Format("guided-diffusion, improved-diffusion", "input_blocks.*, middle_block.*, output_blocks.*", "adm"),
    Format("NVlabs/edm", "enc.32x32_*, dec.32x32_*", "edm"),
    Format("score_sde_pytorch", "all_modules.*", "score_sde"),
    Format("deepinv", "m_head, m_down1.* (DRUNet) or in_conv, conv_list.* (DnCNN)", "deepinv_models"),
)
FOLDERS = (Format("diffusers", "model_index.json or unet/config.json", "diffusers_folder"),)


def load_foreign(path: Path, options: Mapping[str, object]) -> Prior:
    """Return the prior in a file or folder of another library.

    Args:
        path: the file or folder.
        options: values by name, those of the `load` of its format.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: an unknown format, an unknown option or one of the wrong type.
    """
    if not path.exists():
        raise FileNotFoundError(f"prior: no file or folder {str(path)!r}; docs/priors.md says where weights come from")
    if path.is_dir():
        for kind in FOLDERS:
            if kind.code.recognises(path):
                return _load(kind, path, options)
        names = sorted(p.name for p in path.iterdir())
        raise UserError(_unrecognised(path, f"a folder with {_some(names)}"))
    file = read_checkpoint(path)
    for kind in FILES:
        if kind.code.recognises(file):
            return _load(kind, file, options)
    raise UserError(_unrecognised(path, _why(file)))


def call_with_options(function: Callable[..., Any], options: Mapping[str, object], what: str) -> Any:
    """Call a function with named options.

    Args:
        function: annotated, its options keyword arguments.
        options: values by name; integers are accepted where floats are expected.
        what: the owner of the options, for messages.

    Raises:
        ValueError: an unknown option (the message names the nearest known one) or a value of the wrong type.
    """
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(getattr(function, "func", function)) if options else {}
    for name in options:
        if name not in parameters:
            raise UserError(unknown(f"option of {what}", name, parameters))
    for name, p in parameters.items():
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and name not in options:
            raise UserError(f"{what}: {name}: expected a value, which it needs, got none; give {name}=VALUE behind it")
    for name, value in options.items():
        if name in hints and not _fits(value, hints[name]):
            raise UserError(f"{what}: {name}: expected {_words(hints[name])}, got {value!r}")
    return function(**options)


def _load(kind: Format, source: Checkpoint | Path, options: Mapping[str, object]) -> Prior:
    made: Prior = call_with_options(functools.partial(kind.code.load, source), options, kind.name)
    return made


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, h) for h in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if inspect.isclass(hint) else True


def _words(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_words(h) for h in get_args(hint) if h is not type(None))
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    return {float: "a number", int: "an integer", bool: "true or false", str: "text"}.get(hint, str(hint))


def _why(file: Checkpoint) -> str:
    """Return the content of a file that is not recognised, for messages."""
    names = list(file.tensors)
    hint = ""
    if any(k.startswith(("model.diffusion_model.", "first_stage_model.")) for k in names):
        hint = ", as latent diffusion models have, which are no priors of images"
    elif file.has("conv_in.weight", "time_embedding.linear_1.weight"):
        hint = ", the weights of a diffusers model alone: give its folder, with config.json and its scheduler"
    elif any(k.startswith("decoder.0.0.") for k in names) and file.path.suffix == ".safetensors":
        hint = f", as invdiff train exports them, but not their metadata: put {file.path.stem}.json beside the file"
    return f"{len(names)} tensors named {_some(names)}{hint}"


def _some(names: list[str]) -> str:
    return (", ".join(names[:4]) + (", ..." if len(names) > 4 else "")) if names else "nothing"


def _unrecognised(path: Path, got: str) -> str:
    known = [f"{f.name} ({f.contents})" for f in (*FILES, *FOLDERS)]
    known.append("an export of invdiff train (NAME.safetensors with NAME.json)")
    return (
        f"{path}: prior: got {got}; recognised are {'; '.join(known)}; for anything else write a file with a function "
        "that returns invdiff.priors.from_epsilon(...) or the like, and give path/to/file.py:function"
    )
