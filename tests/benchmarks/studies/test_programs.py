"""Every study is a program of that name."""

from __future__ import annotations

import pytest

from invdiff.benchmarks.studies.__main__ import NAMES, main


@pytest.mark.parametrize("name", NAMES)
def test_help_names_the_program(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(f"usage: python -m invdiff.benchmarks.studies {name} ")
    assert "options: -h, --help" in text and text.count("python -m") == 1  # the description is no usage


def test_what_is_no_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mixtur"]) == 2
    assert "did you mean 'mixture'" in capsys.readouterr().err
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert ", ".join(NAMES) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mixture", "--solvers", "dpss"], "mixture: unknown solver 'dpss'; did you mean 'dps'?"),
        (["mixture", "--seeds", "0"], "mixture: --seeds: expected at least 1, got 0"),
        (["exact_grades", "--samples", "0"], "samples: expected at least 1, got 0"),
        (["sparse_view", "--slices", "nowhere"], "studies sparse_view: slices: expected images '*.png' in nowhere"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_the_mixture_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mixture", "--solvers", "floor", "--seeds", "1", "--d-x", "8", "--d-y", "4"]) == 0
    assert capsys.readouterr().out.split()[:3] == ["8", "4", "floor"]
