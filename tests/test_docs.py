"""The code in the documentation runs."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import invdiff

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    m.name for m in pkgutil.walk_packages(invdiff.__path__, "invdiff.") if not m.name.endswith(("__main__", ".cli"))
)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


_ALL_PAGES = (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
PAGES = sorted(p.relative_to(ROOT) for p in _ALL_PAGES if "```python" in p.read_text())


@pytest.mark.parametrize("name", PAGES, ids=str)
def test_python_blocks(name: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, str(name), "exec"), {})


def test_files_that_the_readme_shows_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
        assert (ROOT / target).exists(), target
