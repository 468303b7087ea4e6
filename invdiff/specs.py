"""The command line's notation for a name with options, and building objects from it.

    name                                  blur
    name:key=value,key=value              blur:sigma=3,border=circular
    path/to/file.py:Name[:key=value,...]  my_operator.py:Foveate:radius=12

Values are integers, floats, `true`, `false`, `none`, lists in brackets, unknown numbers (`?`, `?1..5`, `?0.01..1:log`),
and otherwise text.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any, TypeVar

from .errors import UserError
from .registry import operators, unknown
from .unknowns import Unknown

T = TypeVar("T")

_FILE = re.compile(r"^(?P<name>.+?\.py:[A-Za-z_]\w*)(?::(?P<options>.*))?$")
_AUTO = re.compile(r"^\s*jpeg:\s*auto(?=\s*(,|$))")
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
        raise UserError(f"{text!r}: expected a name, as in 'blur:sigma=3', got none")
    options: dict[str, object] = {}
    for part in _split(rest) if rest.strip() else ():
        key, equals, value = part.partition("=")
        key = key.strip()
        if key.isidentifier() and not equals:
            raise UserError(f"{text!r}: expected a value, as in {key}=true or {key}=3, got {part.strip()!r} alone")
        if not equals or not key.isidentifier() or not value.strip():
            raise UserError(f"{text!r}: expected options as key=value, separated by commas, got {part.strip()!r}")
        if key in options:
            raise UserError(f"{text!r}: option {key!r} is given twice; leave one out")
        options[key] = parse_value(value)
    return Spec(name.strip(), options, text)


ALIASES = {
    "ct": "tomography", "deblur": "blur", "denoise": "identity", "denoising": "identity", "gaussian_blur": "blur",
    "inpaint": "inpainting", "radon": "tomography", "sr": "downsample", "super_resolution": "downsample",
    "superresolution": "downsample",
}  # fmt: skip
"""Other names of operators; a registered name comes first."""


def parse_operator(text: str) -> Spec:
    """Split the text of an operator into a name and options; the field's other names stand for ours.

    Raises:
        ValueError: as in `parse_spec`.

    Example:
        >>> parse_operator("sr:factor=4").name
        'downsample'
    """
    spec = dataclasses.replace(parse_spec(_AUTO.sub(r"\g<0>=true", text)), text=text)
    if spec.name not in ALIASES or spec.name in operators:
        return spec
    return dataclasses.replace(spec, name=ALIASES[spec.name])


def parse_value(text: str) -> object:
    """Parse an integer, float, truth value, `None`, tuple, unknown number or text.

    Example:
        >>> [parse_value(t) for t in ("3", "1e-2", "true", "[1, 2]", "circular")]
        [3, 0.01, True, (1, 2), 'circular']
    """
    word = text.strip()
    if word[:1] + word[-1:] in ("[]", "()") and len(word) > 1:
        return tuple(parse_value(part) for part in _split(word[1:-1]) if part.strip())
    if word.startswith("?"):
        return Unknown.parse(word)
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


class Where:
    """The owner of options, for messages.

    Args:
        owner: name of the owner.
        noun: word for an option.
    """

    def __init__(self, owner: str, noun: str = "parameter") -> None:
        self.owner, self.noun = owner, noun

    def at(self, key: str) -> str:
        """Return the location of an option."""
        return f"{self.owner}: {key}"

    def unknown(self, key: str, known: Iterable[str]) -> str:
        """Return the message for an unknown option."""
        return unknown(f"{self.noun} of {self.owner}", key, known)

    def missing(self, key: str) -> str:
        """Return the message for a missing option."""
        return f"{self.at(key)}: expected a value, got none; give {key}=VALUE"

    def inside(self, key: str) -> Where | None:
        """Return the location of the options of an option, if they may be given as a table."""
        return None


def build(
    target: Callable[..., T],
    options: Mapping[str, Any],
    where: Where | None = None,
    *,
    first: tuple[Any, ...] = (),
    types: bool = True,
) -> T:
    """Call a class or a function with named options, as from files and the command line.

    Names are checked, and values where the annotation is a plain type: integers are accepted where floats are expected,
    lists where tuples are, and the names in `target.choices[option]` for their objects.

    Args:
        target: a dataclass, another class, or a function.
        options: values by name.
        where: owner of the options, for messages; by default the class.
        first: positional arguments before the options.
        types: whether values are checked and converted; False for a target that does so itself.

    Raises:
        ValueError: an unknown option (the message names the nearest known one), a value of the wrong type, or a missing
            value.

    Example:
        >>> build(Spec, {"name": "blur"}).name
        'blur'
        >>> build(Spec, {"nam": "blur"})
        Traceback (most recent call last):
        invdiff.errors.UserError: unknown parameter of Spec 'nam'; did you mean 'name'?
    """
    where = where or Where(target.__name__)
    known = _known(target, options, where, len(first))
    values = {k: _value(target, k, v, known.get(k), where) for k, v in options.items()} if types else options
    return target(*first, **values)


def _known(target: Callable[..., Any], options: Mapping[str, Any], where: Where, given: int) -> dict[str, Parameter]:
    """Return the parameters by name, after checks for unknown and missing options."""
    found = list(inspect.signature(target).parameters.values())[given:]
    known = {p.name: p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    if not any(p.kind is p.VAR_KEYWORD for p in found):
        for key in options:
            if key not in known:
                raise UserError(where.unknown(key, known))
    for key, p in known.items():
        if p.default is p.empty and key not in options:
            raise UserError(where.missing(key))
    return known


def _value(target: Callable[..., Any], key: str, value: Any, parameter: Parameter | None, where: Where) -> Any:
    """Return the value of an option, converted for its parameter."""
    choices: Choices = getattr(target, "choices", {})
    if isinstance(value, str) and key in choices:
        if value not in choices[key]:
            raise UserError(f"{where.at(key)}: {unknown(key, value, choices[key])}")
        return choices[key][value]
    inside, table = where.inside(key), _table(target, key)
    if inside is not None and table is not None:
        if not isinstance(value, Mapping):
            raise UserError(f"{where.at(key)}: expected a table, got {value!r}; write [{where.at(key)}]")
        return build(table, value, inside)
    return value if parameter is None else _converted(value, parameter.annotation, where.at(key))


def _table(target: Callable[..., Any], key: str) -> type[Any] | None:
    """Return the class of a field that holds a dataclass by default."""
    fields = {f.name: f for f in dataclasses.fields(target)} if dataclasses.is_dataclass(target) else {}
    made = fields[key].default_factory if key in fields else None
    return made if isinstance(made, type) and dataclasses.is_dataclass(made) else None


Choices = Mapping[str, Mapping[str, Any]]
"""Functions and objects for names in text, by parameter and name."""

PLAIN = {"int": int, "float": float, "bool": bool, "str": str, "None": type(None)}


def _converted(value: Any, annotation: Any, where: str) -> Any:
    """Return a value converted to its annotation; other than plain annotations accept any value."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    if text.startswith("tuple["):
        if not isinstance(value, list | tuple):
            raise UserError(f"{where}: expected a list, got {value!r}")
        return tuple(value)
    names = [name.strip() for name in text.split("|")]
    if not set(names) <= set(PLAIN):
        return value
    if any(isinstance(value, PLAIN[n]) and (n == "bool" or not isinstance(value, bool)) for n in names):
        return value
    if "float" in names and type(value) is int:
        return float(value)
    raise UserError(f"{where}: expected {' or '.join(n for n in names if n != 'None')}, got {value!r}")


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(character, 0)
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
