"""ARCHITECTURE.md says what the tree is: its folders, its paths and its layers."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Import:
    """One import of a part of the package.

    Attributes:
        module: dotted name of the importing module.
        target: of the imported one.
        when: "module" when the module is imported, "function" when a function is called, "typing" for type checkers.
    """

    module: str
    target: str
    when: str


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def _imports(name: str) -> Iterator[Import]:
    """Yield the imports of a module; those of the whole package by its own name would be missed, so there are none."""
    path = MODULES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]

    def walk(node: ast.AST, when: str) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inner = when
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner = "function"
            elif isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
                inner = "typing"
            elif isinstance(child, ast.ImportFrom) and child.level:
                base = package[: len(package) - child.level + 1] + (child.module or "").split(".")
                home = ".".join(part for part in base if part)
                for alias in child.names:
                    whole = f"{home}.{alias.name}"
                    yield Import(name, whole if whole in MODULES else home, inner)
            yield from walk(child, inner)

    return walk(ast.parse(path.read_text()), "module")


# The face of the package names its parts for type checkers, and imports none of them.
IMPORTS = [i for name in MODULES if name != "invdiff" for i in _imports(name) if i.target != "invdiff"]

LAZY = {
    "invdiff.commands.": "a command that is not run, or is refused, does not wait for torch",
    "invdiff.operators.base": "the sugar of operators: products, sums, functions and matrices are operators themselves",
    "invdiff.operators.deepinv.adapters": "deepinv takes seconds to import",
    "invdiff.pools.open": "dask is an extra",
    "invdiff.benchmarks.report": "jinja2, plotly and matplotlib are extras",
}
"""Where parts of the package may be imported inside functions, and why."""

SUGAR = ("invdiff.operators.base", "invdiff.operators.composed")
"""The one pair of modules that import each other: the first one inside functions."""


def _circles(imports: Iterable[Import]) -> list[list[str]]:
    """Return the groups of modules that import each other, each way round."""
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for i in imports:
        if i.target != i.module:
            graph[i.module].add(i.target)
    reached = {name: _reached(graph, name) for name in graph}
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in graph if a in reached[a]}
    return sorted(sorted(group) for group in groups)


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    todo = set(graph[start])
    while todo:
        name = todo.pop()
        found.add(name)
        todo |= graph[name] - found
    return found


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


def _part(module: str) -> str:
    """Return the part of the picture that a module belongs to."""
    # What `python -m` runs is an entry, as the command line is, wherever it stands.
    return "cli" if module.endswith(".__main__") else module.split(".")[1]


@pytest.mark.parametrize("when", ["module", "function", "typing"])
def test_imports_run_downward(when: str) -> None:
    height = {part: -i for i, line in enumerate(_layers()) for part in line}
    upward = [
        f"{i.module} imports {i.target}"
        for i in IMPORTS
        if i.when == when and height[_part(i.target)] > height[_part(i.module)]
    ]
    assert not upward


def test_the_package_imports_its_parts_relatively() -> None:
    """So that `_imports` sees all of them."""
    absolute = [
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "invdiff")
        or (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "invdiff" for a in node.names))
    ]
    assert not absolute


def test_imports_inside_functions_have_a_reason() -> None:
    lazy = {i.module for i in IMPORTS if i.when == "function"}
    assert not [m for m in sorted(lazy) if not m.startswith(tuple(LAZY))], "import at the top, or add a reason to LAZY"
    assert not [start for start in LAZY if not any(m.startswith(start) for m in lazy)], "reasons that nothing needs"


def test_there_are_no_circles_but_the_sugar_of_operators() -> None:
    assert _circles(i for i in IMPORTS if i.when != "function") == []
    (circle,) = _circles(IMPORTS)
    assert all(name == SUGAR[0] or name.startswith(SUGAR[1]) for name in circle)
    assert _circles(i for i in IMPORTS if (i.module, i.target) != SUGAR) == []


def test_circles_are_found() -> None:
    a, b, c = "invdiff.noise.base", "invdiff.noise.gaussian", "invdiff.problem"
    loop = [Import(a, b, "function"), Import(b, a, "module"), Import(c, a, "module")]
    assert _circles(loop) == [[a, b]]
    assert _circles(loop[1:]) == []
