"""A hash of a prior's content: its class, weights and constants, independent of the file that it came from.

It must not depend on the machine or the number of threads, which change the last digits of sums. So numbers are rounded
to nine digits, and tensors in private attributes are ignored if there are tensors in public ones, from which they are
derived.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

IGNORED = frozenset({"_cache", "training_images"})
"""Attributes that change with use, or that only say where an object came from."""


def fingerprint(thing: object) -> str:
    """Return 12 hexadecimal digits that change when a tensor, number or text in an object does.

    Example:
        >>> from invdiff.priors import photograph_gaussian
        >>> fingerprint(photograph_gaussian()) == fingerprint(photograph_gaussian())
        True
    """
    digest = hashlib.sha256()
    for part in _parts(thing, ()):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:12]


def _changes_with_use(thing: object, name: str) -> bool:
    """Return whether an attribute is made when it is first used."""
    return name in IGNORED or isinstance(getattr(type(thing), name, None), cached_property)


def _parts(thing: object, above: tuple[int, ...]) -> Iterator[bytes]:
    """Yield the bytes of an object and of everything in it."""
    if id(thing) in above:
        return
    above = (*above, id(thing))
    yield type(thing).__qualname__.encode()
    if isinstance(thing, Tensor):
        values = thing.detach().cpu().contiguous()
        yield str((tuple(values.shape), values.dtype)).encode()
        yield values.flatten().view(torch.uint8).numpy().tobytes() if values.numel() else b""
    elif isinstance(thing, np.ndarray):
        yield str((thing.shape, thing.dtype)).encode() + thing.tobytes()
    elif isinstance(thing, nn.Module):
        for name, value in sorted(thing.state_dict().items()):
            yield name.encode()
            yield from _parts(value, above)
    elif isinstance(thing, Mapping):
        for name in sorted(thing, key=repr):
            yield repr(name).encode()
            yield from _parts(thing[name], above)
    elif isinstance(thing, list | tuple):
        for value in thing:
            yield from _parts(value, above)
    elif isinstance(thing, set | frozenset):
        yield repr(sorted(thing, key=repr)).encode()
    elif isinstance(thing, float):
        yield f"{thing:.9g}".encode()
    elif thing is None or isinstance(thing, str | int | bytes):
        yield repr(thing).encode()
    elif callable(thing) and hasattr(thing, "__qualname__"):
        yield f"{thing.__module__}.{thing.__qualname__}".encode()
    elif hasattr(thing, "__dict__"):
        state = {name: value for name, value in vars(thing).items() if not _changes_with_use(thing, name)}
        if any(isinstance(v, Tensor) and not name.startswith("_") for name, v in state.items()):
            state = {n: v for n, v in state.items() if not (isinstance(v, Tensor) and n.startswith("_"))}
        yield from _parts(state, above)
    else:
        yield repr(thing).encode()  # types and devices of torch, ranges and the like
