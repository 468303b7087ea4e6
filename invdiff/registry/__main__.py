"""Writing the files that follow from the classes: the table `entries.py`, and the exports of the packages.

    python -m invdiff.registry            # check whether they are up to date; exit code 1 if not
    python -m invdiff.registry --write    # write them

A class defines `name`, `summary` and its other facts as class attributes; a class without a name of its own is not
listed. `entries.py` holds the facts of all classes, so listings import nothing else.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import noise, operators, solvers
from ..entry import Entry, NoiseEntry, OperatorEntry, SolverEntry
from ..errors import UserError
from ..noise import Noise
from ..operators import Operator
from ..solvers import Solver

ROOT = Path(__file__).parent.parent
WIDTH = 120

HEADER = '''"""Names and facts of built-in objects. Generated from the classes by `python -m invdiff.registry --write`.

Do not edit: change the class attributes, and run that command.
"""

from __future__ import annotations

from .entry import NoiseEntry, OperatorEntry, SolverEntry
'''


def main(arguments: list[str] | None = None) -> int:
    """Check or write the generated files, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m invdiff.registry", description=__doc__.split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="write the files that are out of date")
    write = parser.parse_args(arguments).write
    stale = {path: text for path, text in generated().items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        if write:
            path.write_text(text, "utf-8")
        print(f"{'wrote' if write else 'out of date:'} {path.relative_to(ROOT.parent)}")
    if stale and not write:
        print("bring them up to date with: python -m invdiff.registry --write", file=sys.stderr)
    return int(bool(stale) and not write)


def generated() -> dict[Path, str]:
    """Return the text that each generated file should have."""
    peers_home = f"{solvers.__name__}.peers."
    found = named_classes(solvers, Solver)
    peers = {n: c for n, c in found.items() if c.__module__.startswith(peers_home)}
    ours = {n: c for n, c in found.items() if n not in peers}
    maps, models = named_classes(operators, Operator), named_classes(noise, Noise)
    tables = [
        table("NOISES", {n: _entry(NoiseEntry, c, noise.__name__) for n, c in models.items()}),
        table("OPERATORS", {n: _entry(OperatorEntry, c, operators.__name__) for n, c in maps.items()}),
        table("SOLVERS", {n: _entry(SolverEntry, c, solvers.__name__) for n, c in ours.items()}),
        table("PEERS", {n: _entry(SolverEntry, c, c.__module__) for n, c in peers.items()}),
    ]
    exporting = ((noise, models), (operators, maps), (solvers, ours))
    exports = {
        _file(package): with_exports(_file(package).read_text("utf-8"), package.__name__, list(classes.values()))
        for package, classes in exporting
    }
    return {ROOT / "entries.py": "\n".join([HEADER, *tables]), **exports}


def named_classes(package: ModuleType, base: type) -> dict[str, type[Any]]:
    """Return the subclasses of `base` in a package with a name of their own, by name, sorted.

    Raises:
        ValueError: two classes of one name, or one without a summary.
    """
    found: dict[str, type[Any]] = {}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for cls in vars(importlib.import_module(module.name)).values():
            own = isinstance(cls, type) and issubclass(cls, base) and cls.__module__ == module.name
            name = vars(cls).get("name", "") if own else ""
            if not isinstance(name, str) or not name:
                continue
            if name in found:
                raise UserError(f"{cls.__name__}: name: {name!r} is that of {found[name].__name__}; choose another")
            if not cls.summary or "\n" in cls.summary:
                raise UserError(f"{cls.__name__}: summary: expected one line, got {cls.summary!r}; add it")
            found[name] = cls
    return dict(sorted(found.items()))


def _entry(kind: type[Entry], cls: type[Any], module: str) -> Entry:
    return kind.of(cls, Entry(f"{module}:{cls.__name__}", cls.summary))


def _file(package: ModuleType) -> Path:
    return Path(package.__path__[0]) / "__init__.py"


def table(name: str, entries: Mapping[str, Entry]) -> str:
    """Return the statement that assigns a table of entries, in the format of `ruff format`."""
    kind = type(next(iter(entries.values()))).__name__
    lines = [f"{name}: dict[str, {kind}] = {{"]
    for key, entry in entries.items():
        lines += _call(f"    {_text(key)}: {kind}", _arguments(entry))
    return "\n".join([*lines, "}", ""])


def _arguments(entry: Entry) -> list[str]:
    """Return the arguments of an entry, without defaults."""
    target, summary, *rest = dataclasses.fields(entry)
    given = [_text(getattr(entry, f.name)) for f in (target, summary)]
    default = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in rest}
    changed = {name: value for name in default if (value := getattr(entry, name)) != default[name]}
    return given + [f"{k}={_text(v)}" for k, v in changed.items()]


def _text(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(k)}: {_text(v)}' for k, v in value.items())}}}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _call(head: str, arguments: list[str]) -> list[str]:
    """Return the lines of a call in a table: on one line, on three, or with a line for each argument."""
    joined = ", ".join(arguments)
    if len(whole := f"{head}({joined}),") <= WIDTH:
        return [whole]
    inner = [f"        {joined}"] if len(joined) + 8 <= WIDTH else [f"        {a}," for a in arguments]
    return [f"{head}(", *inner, "    ),"]


def with_exports(source: str, package: str, classes: list[type[Any]]) -> str:
    """Return the text of a package's `__init__.py` with these classes among its imports and in `__all__`.

    Args:
        source: the present text: a docstring, imports from the package's modules, `__all__`. Imports of other names,
            and the text before the first import, are kept.
        package: name of the package.
        classes: the exported classes.
    """
    tree = ast.parse(source)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    wanted: dict[str, set[str]] = {}
    for node in imports:
        wanted.setdefault(f".{node.module}", set()).update(a.name for a in node.names)
    for cls in classes:
        wanted.setdefault(cls.__module__.removeprefix(package), set()).add(cls.__name__)
    head = source.splitlines()[: imports[0].lineno - 1]
    body = [line for module in sorted(wanted) for line in _import(module, sorted(wanted[module], key=_order))]
    names = sorted({name for group in wanted.values() for name in group}, key=_order)
    return "\n".join([*head, *body, "", "__all__ = [", *(f'    "{n}",' for n in names), "]", ""])


def _import(module: str, names: list[str]) -> Iterator[str]:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        yield line
    else:
        yield f"from {module} import ("
        yield from (f"    {name}," for name in names)
        yield ")"


def _order(name: str) -> tuple[int, str]:
    """Return the sort key of `ruff check`: constants, then classes, then functions."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name


if __name__ == "__main__":
    sys.exit(main())
