"""The command line's notation for a name with options.

    name                                  blur
    name:key=value,key=value              blur:sigma=3,border=circular
    path/to/file.py:Name[:key=value,...]  my_operator.py:Foveate:radius=12

Values are integers, floats, `true`, `false`, `none`, lists in brackets, and otherwise text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from .registry import unknown

T = TypeVar("T")

_FILE = re.compile(r"^(?P<name>.+?\.py:[A-Za-z_]\w*)(?::(?P<options>.*))?$")
_OPTION = re.compile(r"\s*[A-Za-z_]\w*\s*=")


@dataclass(frozen=True)
class Spec:
    """A name with options.

    Attributes:
        name: a registered name, or `path/to/file.py:Name`.
        options: values by key.
        text: the original text.
    """

    name: str
    options: dict[str, object] = field(default_factory=dict)
    text: str = ""

    def __str__(self) -> str:
        """Return the original text."""
        return self.text or self.name


def parse_spec(text: str) -> Spec:
    """Split `name:key=value,key=value` into a name and options.

    Args:
        text: as on the command line.

    Raises:
        ValueError: no name, an option without a value, or one that is given twice.

    Example:
        >>> parse_spec("dps:steps=100,scale=0.5").options
        {'steps': 100, 'scale': 0.5}
    """
    if match := _FILE.match(text):
        name, rest = match["name"], match["options"] or ""
    else:
        name, _, rest = text.partition(":")
    if not name.strip():
        raise ValueError(f"{text!r}: expected a name, as in 'blur:sigma=3', got none")
    options: dict[str, object] = {}
    for part in _split(rest) if rest.strip() else ():
        key, equals, value = part.partition("=")
        key = key.strip()
        if key.isidentifier() and not equals:
            raise ValueError(f"{text!r}: expected a value, as in {key}=true or {key}=3, got {part.strip()!r} alone")
        if not equals or not key.isidentifier() or not value.strip():
            raise ValueError(f"{text!r}: expected options as key=value, separated by commas, got {part.strip()!r}")
        if key in options:
            raise ValueError(f"{text!r}: option {key!r} is given twice; leave one out")
        options[key] = parse_value(value)
    return Spec(name.strip(), options, text)


def parse_value(text: str) -> object:
    """Parse an integer, float, truth value, `None`, tuple or text.

    Example:
        >>> [parse_value(t) for t in ("3", "1e-2", "true", "[1, 2]", "circular")]
        [3, 0.01, True, (1, 2), 'circular']
    """
    word = text.strip()
    if word[:1] + word[-1:] in ("[]", "()") and len(word) > 1:
        return tuple(parse_value(part) for part in _split(word[1:-1]) if part.strip())
    if word.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[word.lower()]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def split_specs(text: str) -> list[str]:
    """Split a list of specs at the commas between specs, not at those between options.

    Example:
        >>> split_specs("dps:steps=50,scale=0.3,ddrm, mcgdiff")
        ['dps:steps=50,scale=0.3', 'ddrm', 'mcgdiff']
    """
    specs: list[str] = []
    for part in _split(text):
        if specs and _OPTION.match(part):
            specs[-1] += f",{part.strip()}"
        elif part.strip():
            specs.append(part.strip())
    return specs


def canonical(spec: Spec) -> str:
    """Return the canonical form of a spec, independent of the order and notation of its options.

    Example:
        >>> canonical(parse_spec("dps: steps=50,scale=0.50"))
        'dps:scale=0.5,steps=50'
    """
    options = ",".join(f"{k}={_plain(v)}" for k, v in sorted(spec.options.items()))
    return spec.name + (f":{options}" if options else "")


def _plain(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{','.join(map(_plain, value))}]"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def with_options(cls: type[T], options: Mapping[str, object]) -> T:
    """Build a dataclass, such as a solver or a task, from named options.

    Args:
        cls: the class.
        options: values by name; integers are accepted where floats are expected.

    Raises:
        ValueError: an unknown option (the message names the nearest known one) or a value of the wrong type.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = dict(options)
    for name, value in values.items():
        if name not in known:
            raise ValueError(unknown(f"parameter of {cls.__name__}", name, known))
        default = known[name].default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            values[name] = float(value)
        elif isinstance(default, int | float | str) and type(value) is not type(default):
            raise ValueError(f"{cls.__name__}: {name}: expected {type(default).__name__}, got {value!r}")
    return cls(**values)


def _split(text: str) -> list[str]:
    """Split at the commas that stand outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(character, 0)
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
