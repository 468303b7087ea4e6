"""Unknown parameters on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from skimage import data

from invdiff.cli import main
from invdiff.images import save_image

QUICK = ["--solver", "evidence:image_solver=pinv", "--samples", "3"]


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    x = torch.from_numpy(data.coffee()[:384, :384]).permute(2, 0, 1)[None] / 255
    save_image(torch.nn.functional.interpolate(x, size=(96, 96), mode="area")[0], tmp_path / "x.png")
    return tmp_path / "x.png"


def run(path: Path, *more: str) -> dict[str, Any]:
    out = path.parent / "out"
    assert main(["reconstruct", str(path), "--out", str(out), "--overwrite", *more]) == 0
    found: dict[str, Any] = json.loads((out / "result.json").read_text())
    return found


def test_blur_and_noise_are_inferred_and_told(photograph: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record = run(photograph, "--operator", "blur:sigma=?1..4", "--noise", "?0.005..0.1", "--simulate", *QUICK)
    said = " ".join(capfd.readouterr().out.split())
    found = record["parameters"]
    assert set(found) == {"sigma", "noise"}
    for p in found.values():
        assert p["mean"] == pytest.approx(p["true"], rel=0.2)
        assert 0 < p["std"] < 0.2 * p["mean"]
        assert len(p["samples"]) == 3
        assert f"(true {p['true']:.4g})" in said
    assert found["noise"]["mean"] == pytest.approx(found["noise"]["true"], rel=0.05)
    assert "Inferred: sigma = " in said
    assert (record["operator"]["options"], record["noise"]["std"]) == ({"sigma": "?1..4"}, "?0.005..0.1")


def test_unknown_without_a_solver_is_solved_by_the_default(photograph: Path) -> None:
    record = run(
        photograph, "--operator", "blur:sigma=?", "--noise", "0.01", "--effort", "fast", "--samples", "2", "--gray"
    )
    assert record["parameters"]["sigma"]["std"] > 0
    assert record["solver"]["method"].startswith("evidence, then ")
    assert record["status"] in ("ok", "misfit")


def test_parameter_that_the_data_do_not_tell_is_said_to_be_unknown(
    photograph: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A constant picture is the same under every blur."""
    save_image(torch.full((3, 96, 96), 0.5), photograph.parent / "flat.png")
    record = run(photograph.parent / "flat.png", "--operator", "blur:sigma=?1..4", "--noise", "0.05", *QUICK)
    found = record["parameters"]["sigma"]
    assert found["std"] > 0.2 * 3
    assert "says little about sigma" in found["note"]
    assert "says little about sigma" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--operator", "blur:sigma=?5..1", "--noise", "0.01"], "exchange them"),
        (["--operator", "blur:sigma=?-1..3", "--noise", "0.01"], "goes beyond what is allowed; at -1"),
        (["--operator", "downsample:factor=?2..4", "--noise", "0.01"], "factor: is a whole number"),
        (["--operator", "blur:sigma=?1..200", "--noise", "?0.1..0.01"], "exchange them"),
        (["--operator", "identity", "--noise", "?-1..1"], "goes beyond what is allowed"),
        (["--operator", "blur:sigma=?", "--noise", "0.01", "--solver", "dps"], "solvers that would do: auto, evidence"),
    ],
)
def test_bad_unknowns_are_refused_in_one_line(
    photograph: Path, capfd: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["reconstruct", str(photograph), "--out", str(photograph.parent / "o"), *options]) == 2
    assert said in " ".join(capfd.readouterr().err.split())
