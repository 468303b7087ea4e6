import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from invdiff import registry
from invdiff.entry import Entry
from invdiff.operators import Operator
from invdiff.registry import Registry
from invdiff.registry.__main__ import generated, named_classes, with_exports
from invdiff.solvers import DPS, Solver
from invdiff.solvers.base import parameters


def test_every_name_leads_to_its_object() -> None:
    assert all(issubclass(registry.operators[n], Operator) for n in registry.operators)
    assert all(issubclass(registry.solvers[n], Solver) for n in registry.solvers)
    assert all(callable(registry.priors[n]) for n in registry.priors)


@pytest.mark.parametrize("table", [registry.operators, registry.solvers, registry.priors])
def test_summaries_fit_on_a_line(table: Registry[Entry]) -> None:
    for name, entry in table.entries().items():
        assert 0 < len(entry.summary) <= 100, name


def test_unknown_names_are_errors_with_the_nearest_name() -> None:
    with pytest.raises(KeyError, match="unknown operator 'blurr'; did you mean 'blur'"):
        registry.operators["blurr"]
    with pytest.raises(ValueError, match="unknown solver 'zzz'; known: "):
        registry.solvers["zzz"]


def test_names_in_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from invdiff.operators import LinearOperator\nclass Mine(LinearOperator):\n    pass\n")
    assert registry.operators[f"{file}:Mine"].__name__ == "Mine"
    with pytest.raises(ValueError, match="did you mean 'Mine'"):
        registry.operators[f"{file}:Min"]
    with pytest.raises(ValueError, match="no file"):
        registry.operators[f"{tmp_path}/other.py:Mine"]
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name\n")
    with pytest.raises(ValueError, match="fails to import: ModuleNotFoundError"):
        registry.operators[f"{broken}:Mine"]


def test_names_of_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thirdparty.py").write_text("from invdiff.operators import Identity\nclass Fog(Identity):\n    pass\n")
    info = tmp_path / "thirdparty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[invdiff.operators]\nfog = thirdparty:Fog\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.operators.entries()["fog"].source == "thirdparty"
    assert registry.operators["fog"].__name__ == "Fog"


def test_listing_and_importing_load_nothing_heavy() -> None:
    code = (
        "import sys, invdiff, invdiff.registry as r; list(r.solvers.entries());"
        "print([m for m in ('torch', 'numpy', 'scipy', 'skimage', 'deepinv') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_generated_table_and_exports_are_up_to_date() -> None:
    stale = [path for path, text in generated().items() if path.read_text() != text]
    assert not stale, "run: python -m invdiff.registry --write"


NEW_SOLVER = '''"""A solver in a file of its own."""

from dataclasses import dataclass
from typing import ClassVar

from .ilvr import ILVR


@dataclass(frozen=True, kw_only=True)
class Added(ILVR):
    """A solver."""

    name: ClassVar[str] = "added"
    summary: ClassVar[str] = "a solver that was added"
    paper: ClassVar[str] = "Somebody 2030"
    limit: ClassVar[str] = "steps"
'''


def test_a_new_solver_is_one_file_and_one_command(tmp_path: Path) -> None:
    copy = tmp_path / "invdiff"
    shutil.copytree(
        Path(registry.__file__).parent.parent, copy, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
    )
    (copy / "solvers" / "added.py").write_text(NEW_SOLVER)

    def python(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    stale = python("-m", "invdiff.registry")
    assert stale.returncode == 1
    assert stale.stdout.splitlines() == ["out of date: invdiff/entries.py", "out of date: invdiff/solvers/__init__.py"]
    assert "python -m invdiff.registry --write" in stale.stderr
    assert python("-m", "invdiff.registry", "--write").returncode == 0
    assert python("-m", "invdiff.registry").returncode == 0
    listed = python("-m", "invdiff", "list", "solvers").stdout
    line = next(line for line in listed.splitlines() if line.startswith("added "))
    assert "a solver that was added" in line
    assert "Somebody 2030; needs linear operator; exact in the limit (steps)" in line
    code = "from invdiff.solvers import *; from invdiff.registry import solvers; print(solvers['added'] is Added)"
    exported = python("-c", code)
    assert exported.stdout.strip() == "True"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ('name = "dps"', "Second: name: 'dps' is that of First; choose another"),
        ('name, summary = "other", ""', "Second: summary: expected one line, got ''; add it"),
    ],
)
def test_facts_that_cannot_be_listed_are_refused(
    facts: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / f"unlisted{abs(hash(facts))}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text("from invdiff.solvers import DPS\nclass First(DPS):\n    name = 'dps'\n")
    (package / "second.py").write_text(f"from invdiff.solvers import DPS\nclass Second(DPS):\n    {facts}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        named_classes(importlib.import_module(package.name), Solver)


def test_facts_of_a_solver_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(NEW_SOLVER.replace("from .ilvr", "from invdiff.solvers.ilvr"))
    facts = registry.solvers.facts(f"{file}:Added")
    assert facts.facts == "Somebody 2030; needs linear operator; exact in the limit (steps)"
    assert registry.solvers.facts("tds") is registry.solvers.entries()["tds"]


def test_facts_of_solvers_name_their_parameters() -> None:
    for name in [*registry.solvers, *registry.peers]:
        solver = registry.solvers[name]
        known = {"", *parameters(solver)}
        assert {solver.lower, solver.limit} <= known, name
        assert set(solver.search) <= known, name
        assert not (solver.limit and solver.point), name


def test_a_missing_export_is_out_of_date() -> None:
    file = Path(registry.__file__).parent.parent / "solvers" / "__init__.py"
    text = file.read_text()
    without = text.replace("from .dps import DPS\n", "").replace('    "DPS",\n', "")
    assert without != text
    assert with_exports(without, "invdiff.solvers", [DPS]) == text
