"""The links at the top of the repository lead into the package, and never to a second copy of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import invdiff.benchmarks.tasks
import invdiff.operators
import invdiff.solvers
from invdiff import registry
from invdiff.operators.builders.factory import make_operator

ROOT = Path(__file__).parent.parent
LINKS = ["operators", "solvers", "benchmarks"]
FILES = [
    ("operators", "blurs/blur.py:Blur", invdiff.operators.Blur),
    ("operators", "__init__.py:Blur", invdiff.operators.Blur),
    ("operators", "tomography/parallel.py:Tomography", invdiff.operators.Tomography),
    ("solvers", "dps.py:DPS", invdiff.solvers.DPS),
    ("benchmarks", "tasks.py:Denoising", invdiff.benchmarks.tasks.Denoising),
]

needs_links = pytest.mark.skipif(not (ROOT / "operators").is_symlink(), reason="a checkout has the links")


@needs_links
@pytest.mark.parametrize("name", LINKS)
def test_they_lead_into_the_package(name: str) -> None:
    assert (ROOT / name).resolve() == ROOT / "invdiff" / name


@needs_links
@pytest.mark.parametrize("name", [*LINKS, "operators.blurs.blur", "solvers.dps", "benchmarks.tasks"])
def test_importing_one_names_the_package(name: str) -> None:
    code = f"import {name}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    first = name.partition(".")[0]
    assert done.returncode == 1
    said = f"ImportError: {first}: the folder here is a link into the package; import invdiff.{first}"
    assert done.stderr.splitlines()[-1] == said


@needs_links
@pytest.mark.parametrize(("link", "path", "expected"), FILES, ids=[f"{link}/{path}" for link, path, _ in FILES])
def test_a_path_through_one_is_the_module_of_the_package(link: str, path: str, expected: type) -> None:
    tables: dict[str, Mapping[str, Any]] = {
        "operators": registry.operators, "solvers": registry.solvers, "benchmarks": registry.tasks
    }  # fmt: skip
    for through in (ROOT / link, ROOT / "invdiff" / link):
        assert tables[link][f"{through}/{path}"] is expected


@needs_links
def test_a_built_in_operator_takes_its_options_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    made = make_operator("operators/blurs/blur.py:Blur", (1, 16, 16), {"sigma": 1})
    assert type(made) is invdiff.operators.Blur
    assert repr(made) == repr(make_operator("blur", (1, 16, 16), {"sigma": 1}))
    with pytest.raises(ValueError, match=r"operators/blurs/blur\.py: unknown name 'Bluhr'; did you mean 'Blur'"):
        registry.operators["operators/blurs/blur.py:Bluhr"]


def test_a_file_of_another_copy_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "invdiff" / "operators" / "mine.py"
    other.parent.mkdir(parents=True)
    other.write_text("class Mine: pass\n")
    assert registry.operators[f"{other}:Mine"].__name__ == "Mine"  # a folder of that name is no copy yet
    (tmp_path / "invdiff" / "registry").mkdir()
    (tmp_path / "invdiff" / "registry" / "files.py").touch()
    with pytest.raises(ValueError, match=r"expected a file of the invdiff that runs, in .*, got one of the copy in"):
        registry.operators[f"{other}:Mine"]
