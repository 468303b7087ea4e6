"""`invdiff sample` from the outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from invdiff.cli import main


def test_sample_writes_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sheet.png"
    options = ["--sampler", "ddim", "--steps", "3", "--eta", "0.5", "--n", "4", "--size", "8", "--channels", "3"]
    assert main(["sample", "gaussian", *options, "--out", str(out), "--threads", "1"]) == 0
    with Image.open(out) as image:
        assert image.mode == "RGB"
        assert image.width % 17 == image.height % 17 == 0
    assert "4 network evaluations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sampler", "huen"], "did you mean 'heun'"),
        (["--sampler", "sde:difusion=ve"], "did you mean 'diffusion'"),
        (["--sampler", "sde:diffusion=subvp"], "did you mean 'sub-vp'"),
        (["--sampler", "heun:steps=x"], "expected int, got 'x'"),
        (["--sampler", "heun", "--eta", "0.5"], "eta"),
        (["--n", "0"], "--n: expected an integer >= 1"),
        (["--steps", "0"], "--steps: expected an integer >= 1"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_bad_requests_end_in_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", "gaussian", *options, "--out", str(tmp_path / "a.png"), "--size", "8"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_files_are_not_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.png"
    out.write_bytes(b"mine")
    assert main(["sample", "gaussian", "--out", str(out), "--size", "8"]) == 2
    assert out.read_bytes() == b"mine"
    assert main(["sample", "gaussian", "--out", str(out), "--size", "8", "--n", "1", "--overwrite"]) == 0
    assert main(["sample", "gaussian", "--out", str(tmp_path / "a.xyz"), "--size", "8"]) == 2
    assert main(["sample", "gaussian", "--out", str(tmp_path / "no" / "a.png"), "--size", "8"]) == 2
    assert "no folder" in capsys.readouterr().err
    assert main(["sample", "nothing", "--out", str(tmp_path / "b.png")]) == 2


def test_parameters_by_name(tmp_path: Path) -> None:
    out = str(tmp_path / "a.png")
    spec = "sde:steps=2,diffusion=ve,sigma_max=3"
    assert main(["sample", "gaussian", "--sampler", spec, "--n", "1", "--size", "8", "--out", out]) == 0
