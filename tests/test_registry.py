import subprocess
import sys
from pathlib import Path

import pytest

from invdiff import registry
from invdiff.operators import Operator
from invdiff.registry import Registry
from invdiff.solvers import Solver


def test_every_name_leads_to_its_object() -> None:
    assert all(issubclass(registry.operators[n], Operator) for n in registry.operators)
    assert all(issubclass(registry.solvers[n], Solver) for n in registry.solvers)
    assert all(callable(registry.priors[n]) for n in registry.priors)


@pytest.mark.parametrize("table", [registry.operators, registry.solvers, registry.priors])
def test_summaries_fit_on_a_line(table: Registry) -> None:
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
