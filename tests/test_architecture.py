"""ARCHITECTURE.md says what the tree is: its folders, its paths and its layers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "invdiff"
PAGE = (ROOT / "ARCHITECTURE.md").read_text()


def _section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _layers() -> list[list[str]]:
    """Return the parts of each line of the picture, highest line first."""
    picture = re.findall(r"```text\n(.*?)```", _section("Layers"), re.DOTALL)[0]
    parts = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return [[word for word in re.split(r"  +", line)[:-1] if word in parts] for line in picture.splitlines()]


def _imports(path: Path) -> Iterator[str]:
    """Yield the parts of the package that a module imports when it is imported."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            target = package[: len(package) - node.level + 1] + tuple(
                (node.module or "").split(".") if node.module else ()
            )
            yield from (target[1:2] if len(target) > 1 else tuple(alias.name for alias in node.names))


def test_list_of_folders_is_that_of_the_tree() -> None:
    listed = re.findall(r"^\| `(.+?)` \|", _section("Folders"), re.M)
    found = {path.parent.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("__init__.py")}
    assert len(listed) == len(set(listed))
    assert set(listed) == found, "ARCHITECTURE.md: its table of folders differs from the tree; add or remove the row"


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_paths_on_the_page_exist(page: str) -> None:
    for path in re.findall(r"`((?:invdiff|tests|docs)/[\w./-]*)`", (ROOT / page).read_text()):
        assert (ROOT / path).exists(), path


def test_every_part_stands_on_one_line_of_the_picture() -> None:
    drawn = sorted(part for line in _layers() for part in line)
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert drawn == sorted(modules | folders)


def test_imports_run_downward() -> None:
    height = {part: -i for i, line in enumerate(_layers()) for part in line}
    upward = []
    for path in PACKAGE.rglob("*.py"):
        # What `python -m` runs is an entry, as the command line is, wherever it stands.
        part = "cli" if path.name == "__main__.py" else path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part in height:
            upward += [
                f"{path.relative_to(ROOT)} imports {other}"
                for other in _imports(path)
                if height.get(other, -99) > height[part]
            ]
    assert not upward
