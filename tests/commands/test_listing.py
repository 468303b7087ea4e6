"""`invdiff list`."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from invdiff.cli import main
from invdiff.commands import listing, terminal
from invdiff.entry import NEEDS, SolverEntry
from invdiff.registry import noises, operators, peers, priors, solvers


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, registry in (("operators", operators), ("solvers", solvers), ("priors", priors)):
        assert main(["list", kind]) == 0
        lines = capsys.readouterr().out.splitlines()
        entries = registry.entries() | (peers.entries() if registry is solvers else {})
        assert [line.split()[0] for line in lines] == list(entries)
        assert all(entry.summary in line for entry, line in zip(entries.values(), lines, strict=True))
    assert main(["list"]) == 0
    assert {"operators", "solvers", "priors", "samplers", "tasks"} <= set(capsys.readouterr().out.splitlines())


def test_entries_say_what_the_solvers_declare() -> None:
    for name, entry in (solvers.entries() | peers.entries()).items():
        solver = entry.load()
        assert isinstance(entry, SolverEntry)
        said = (set(entry.needs.split()), entry.limit, entry.point)
        assert said == (set(solver.needs), solver.limit, solver.point), name
        assert set(entry.needs.split()) <= set(NEEDS)
        assert entry.paper or name in ("pinv", "twisted"), name


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "solvers", "--json", "--options"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["solvers"]}
    assert set(rows) == {*solvers, *peers}
    assert rows["mcgdiff"]["needs"] == ["linear", "svd", "gaussian"]
    assert rows["mcgdiff"]["class"] == "exact in the limit (particles)"
    assert rows["dps"]["paper"] == "Chung et al. 2023"
    assert "steps=100" in rows["dps"]["options"]
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"operators", "noises", "solvers", "priors", "samplers", "tasks"}
    operators = {row["name"]: row for row in found["operators"]}
    assert operators["blur"]["photographic"] and not operators["blur"]["sinogram"]
    assert operators["mri"]["complex_valued"] and operators["inpainting"]["takes_mask"]


def test_solvers_are_legible_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(
        terminal, "_console", lambda: Console(file=out, force_terminal=True, width=80, color_system=None)
    )
    listing.run("solvers")
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    at = next(i for i, line in enumerate(lines) if line.startswith("dps "))
    assert lines[at + 1].split() == ["Chung", "et", "al.", "2023;", "needs", "gradients;", "approximate"]


def test_a_solver_of_another_package_says_what_it_needs() -> None:
    kept = dict(solvers._table)
    try:
        solvers.register("theirs", "invdiff.solvers:MCGDiff", "a copy")
        solvers.register("broken", "no.such.module:Nothing", "a wreck")
        found = listing.entries("solvers")
        assert listing.facts(found["theirs"]).endswith("exact in the limit (particles)")
        assert "a wreck; fails to load: ModuleNotFoundError" in found["broken"].summary
    finally:
        solvers._table.clear()
        solvers._table.update(kept)


def test_options_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "solvers", "--options"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == {*solvers, *peers}
    assert "steps=" in lines["dps"]
    assert main(["list", "operators", "--options"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == set(operators)
    assert "sigma, " in lines["blur"]
    assert "border=reflect" in lines["blur"]
    assert "seed" not in lines["blur"]


def test_noises_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "noises", "--options"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(noises)
    assert "levels=256, std=0.0" in next(line for line in lines if line.startswith("quantized "))
    assert main(["list", "noises", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["noises"]}
    assert rows["poisson_gaussian"]["parameters"] == {"photons": None, "std": None}
