"""Suites: the definition of a benchmark in a TOML file, of the package or of the user.

    name = "mine"
    prior = "photo"                                   # as for invdiff reconstruct --prior
    samples = 4                                       # of the posterior, for each cell
    seeds = 2                                         # measurements of each image: seeds 0 and 1
    tasks = ["denoising", "super_resolution:factor=2"]
    solvers = ["pinv", "dps:steps=50", "dps:steps=200", "deepinv.dps"]
    metrics = ["psnr", "ssim"]                        # by default all

    [data]
    source = "photographs"                            # photographs, phantoms, prior, or a folder; see `images`
    images = 2
    size = 128
    channels = 3

    [parameters.denoising.dps]                        # tuned for one task, for every entry "dps:..."
    scale = 0.5

    [parameters.denoising."dps:steps=200"]            # or for one entry alone
    scale = 0.3

    [studies.denoising."dps:steps=200"]               # a record of `invdiff tune`; it has no effect
    psnr = 24.31

A parameter of a cell comes from the entry in `solvers`, else from `parameters` of that entry, else from `parameters` of
its name, else from the solver's defaults.

The hash of a suite covers what its cells share beyond their own keys: the source and size of the images, and the number
of samples. The lists of solvers, tasks, images and seeds are not part of it, so a longer run extends a shorter one in
the same folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli_w

from ..checks import integer
from ..errors import UserError
from ..registry import unknown
from ..solvers.base import Solver
from ..specs import build, canonical, parse_spec
from .baselines import solver_class
from .images import BUILT_IN
from .metrics import check_names
from .tasks import make_task

RULES = 1
"""Version of the measurements, part of the hash; increased when the same suite gives other measurements."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """The images of a suite.

    Attributes:
        source: one of `invdiff.benchmarks.images.BUILT_IN`, or a folder.
        images: their number; by default all files of a folder.
        size: side in pixels; by default files of a folder keep their size.
        channels: 1 or 3.
    """

    source: str = "photographs"
    images: int | None = None
    size: int | None = None
    channels: int = 3

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise UserError(f"data: channels: expected 1 or 3, got {self.channels!r}")
        for name in ("images", "size"):
            value = getattr(self, name)
            if value is not None:
                integer(f"data: {name}", value, 1)
        if not isinstance(self.source, str):
            raise UserError(f"data: source: expected text, got {self.source!r}")


@dataclass(frozen=True)
class Entry:
    """A solver with its parameters for one task.

    Attributes:
        label: the entry of the suite, in canonical form.
        name: of the solver.
        parameters: those set for this task.
    """

    label: str
    name: str
    parameters: Mapping[str, Any]

    def build(self) -> Solver:
        """Return the solver."""
        return build(solver_class(self.name), self.parameters)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A benchmark; see the module.

    Raises:
        ValueError: an unknown task, solver, parameter or metric, with the nearest known one; or a number too small.

    Example:
        >>> suite = Suite(name="mine", prior="gaussian", tasks=("denoising",), solvers=("dps:steps=5",),
        ...               data=Data(images=1, size=32))
        >>> suite.entries("denoising")[0].parameters
        {'steps': 5}
    """

    name: str
    prior: str
    tasks: tuple[str, ...]
    solvers: tuple[str, ...]
    description: str = ""
    samples: int = 4
    seeds: int = 1
    metrics: tuple[str, ...] = ()
    data: Data = field(default_factory=Data)
    parameters: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    studies: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("tasks", "solvers"):
            values = getattr(self, name)
            if not isinstance(values, tuple | list) or not values or not all(isinstance(v, str) for v in values):
                raise UserError(f"suite {self.name!r}: {name}: expected a list of names, got {values!r}")
            object.__setattr__(self, name, tuple(dict.fromkeys(canonical(parse_spec(v)) for v in values)))
        for name in ("samples", "seeds"):
            integer(f"suite {self.name!r}: {name}", getattr(self, name), 1)
        object.__setattr__(self, "metrics", tuple(self.metrics))
        check_names(self.metrics)
        for task in self.tasks:
            make_task(task)
        self._check_parameters()
        for task in self.tasks:
            for entry in self.entries(task):
                entry.build()

    def _check_parameters(self) -> None:
        """Parameters of solvers outside the suite are allowed; unknown names are errors."""
        spelled: dict[str, dict[str, dict[str, Any]]] = {}
        for task, solvers in self.parameters.items():
            make_task(task)
            if not isinstance(solvers, Mapping) or not all(isinstance(v, Mapping) for v in solvers.values()):
                raise UserError(f"suite {self.name!r}: expected tables [parameters.TASK.SOLVER], got {solvers!r}")
            for solver, options in solvers.items():
                spec = parse_spec(solver)
                build(solver_class(spec.name), {**spec.options, **options})
                spelled.setdefault(canonical(parse_spec(task)), {})[canonical(spec)] = dict(options)
        object.__setattr__(self, "parameters", spelled)
        for solvers in self.studies.values():
            if not isinstance(solvers, Mapping) or not all(isinstance(v, Mapping) for v in solvers.values()):
                raise UserError(f"suite {self.name!r}: expected tables [studies.TASK.SOLVER], got {solvers!r}")

    @property
    def hash(self) -> str:
        """Hash of the common properties of the suite's cells, 12 hexadecimal digits."""
        source = self.data.source if self.data.source in BUILT_IN else "folder"
        shared = [RULES, source, self.data.size, self.data.channels, self.samples]
        return hashlib.sha256(json.dumps(shared).encode()).hexdigest()[:12]

    def entries(self, task: str) -> list[Entry]:
        """Return the solvers with their parameters for a task."""
        tuned = self.parameters.get(task, {})
        out = []
        for label in self.solvers:
            spec = parse_spec(label)
            out.append(Entry(label, spec.name, {**tuned.get(spec.name, {}), **tuned.get(label, {}), **spec.options}))
        return out

    def changed(self, **changes: Any) -> Suite:
        """Return this suite with other values, also those of its data; `None` keeps a value.

        Raises:
            ValueError: as for the suite itself.
        """
        given = {k: v for k, v in changes.items() if v is not None}
        data = {k: given.pop(k) for k in [f.name for f in dataclasses.fields(Data)] if k in given}
        return dataclasses.replace(self, **given, data=dataclasses.replace(self.data, **data))

    def all_of_folder(self) -> Suite:
        """Return this suite with all images of its folder, if no number is given."""
        return dataclasses.replace(self, data=dataclasses.replace(self.data, images=None))

    def to_toml(self) -> str:
        """Return the suite as TOML, which `load_suite` reads back."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["data"] = {name: v for name, v in dataclasses.asdict(self.data).items() if v is not None}
        return tomli_w.dumps({name: v for name, v in fields.items() if name == "data" or v not in ("", (), {})})


def built_in_suites() -> list[str]:
    """Return the names of the package's suites."""
    return sorted(f.name.removesuffix(".toml") for f in _folder().iterdir() if f.name.endswith(".toml"))


def load_suite(name_or_path: str | Path) -> Suite:
    """Return a suite of the package, or one from a file.

    Raises:
        ValueError: no such suite, or a file with invalid TOML, an unknown key, or an invalid value.

    Example:
        >>> load_suite("quick").data.size
        128
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        file = Path(text)
        if not file.is_file():
            raise UserError(f"{text}: no such file; expected a suite in TOML, or one of {', '.join(built_in_suites())}")
        return parse_suite(file.read_text(encoding="utf-8"), where=text)
    if text not in built_in_suites():
        raise UserError(f"{unknown('suite', text, built_in_suites())}, or name a file that ends in .toml")
    return parse_suite((_folder() / f"{text}.toml").read_text(encoding="utf-8"), where=f"suite {text!r}")


def parse_suite(text: str, *, where: str = "suite") -> Suite:
    """Return the suite of a TOML text.

    Args:
        text: the text.
        where: its source, for messages.

    Raises:
        ValueError: as in `load_suite`.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: expected TOML: {error}") from error
    known = {f.name: f for f in dataclasses.fields(Suite)}
    for key in table:
        if key not in known:
            raise UserError(f"{where}: {unknown('key', key, known)}")
    for name, f in known.items():
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in table:
            raise UserError(f"{where}: {name}: expected in every suite, got none")
    for name in ("name", "prior", "description"):
        if not isinstance(table.get(name, ""), str):
            raise UserError(f"{where}: {name}: expected text, got {table[name]!r}")
    for name in ("data", "parameters", "studies"):
        if not isinstance(table.get(name, {}), dict):
            raise UserError(f"{where}: {name}: expected a table [{name}], got {table[name]!r}")
    data = table.pop("data", {})
    columns = [f.name for f in dataclasses.fields(Data)]
    for key in data:
        if key not in columns:
            raise UserError(f"{where}: {unknown('key of [data]', key, columns)}")
    try:
        return Suite(**table, data=Data(**data))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _folder() -> Any:
    return files("invdiff.benchmarks").joinpath("suites")
