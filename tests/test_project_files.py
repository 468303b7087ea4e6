"""The files around the package agree with each other and with it."""

import re
import tomllib
from pathlib import Path

import invdiff

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / ".github/ISSUE_TEMPLATE"
LIMIT = 400


def test_no_module_is_too_long() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in (ROOT / "invdiff").rglob("*.py")}
    assert len(lengths) > 100
    assert not {str(path): length for path, length in lengths.items() if length > LIMIT}


def test_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert invdiff.__version__ == version
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(), re.M)
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[(.+?)\]", changelog, re.M)[:2] == ["Unreleased", version]


def test_hosted_ci_runs_the_same_command_as_everybody() -> None:
    workflow = (ROOT / ".github/workflows/tests.yml").read_text()
    assert re.findall(r"^ *- run: (.+)$", workflow, re.M) == ["bash .ci/run"]
    assert (ROOT / ".ci/run").exists()


def test_hooks_run_the_checks_of_ci_and_fetch_nothing() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (.+)$", hooks, re.M) == ["local"]
    commands = re.findall(r"entry: (.+)$", hooks, re.M)
    for check in ("ruff check", "ruff format", "mypy"):
        assert any(command.startswith(check) for command in commands)
        assert re.search(rf"^{check}\b", (ROOT / ".ci/run").read_text(), re.M)


def test_a_bug_report_asks_for_what_reproduces_it() -> None:
    template = (TEMPLATES / "bug.yml").read_text()
    fields = dict(re.findall(r"id: (\w+)\n(.*?)(?=\n  - type|\Z)", template, re.S))
    for field in ("versions", "seed", "command", "expected"):
        assert "required: true" in fields[field], field
