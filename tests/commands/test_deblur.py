"""`invdiff deblur`: its files, its record, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from invdiff.cli import main
from invdiff.images import save_image
from invdiff.operators import Blur, shake_kernel


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    g = torch.Generator().manual_seed(0)
    x = torch.full((3, 84, 84), 0.5)
    for _ in range(60):
        top, left = torch.randint(0, 80, (2,), generator=g).tolist()
        x[:, top : top + 15, left : left + 12] = torch.rand(3, 1, 1, generator=g)
    y = Blur((3, 84, 84), kernel=shake_kernel(7, extent=5, seed=1), border="valid")(x[None])[0]
    path = tmp_path_factory.mktemp("deblur") / "photo.png"
    save_image(y + 0.01 * torch.randn(y.shape, generator=g), path)
    return path


@pytest.mark.parametrize("gamma", ["1", "2.2"])
def test_files_and_record(photograph: Path, tmp_path: Path, gamma: str) -> None:
    out = tmp_path / "result"
    options = ["--size", "7", "--samples", "2", "--solver", "diffpir:steps=2", "--gamma", gamma]
    assert main(["deblur", str(photograph), "--out", str(out), *options]) == 0
    kernel = np.load(out / "kernel.npy")
    assert kernel.shape == (7, 7)
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    record = json.loads((out / "result.json").read_text())
    assert np.allclose(record["parameters"]["kernel"]["mean"], kernel)
    assert np.shape(record["parameters"]["kernel"]["std"]) == (7, 7)
    assert record["gamma"] == float(gamma)
    assert {"kernel.png", "kernel_std.png", "mean.png", "std.png", "sample_1.png", "comparison.png"} <= set(
        record["files"]
    )
    arrays = np.load(out / "result.npz")
    assert arrays["samples"].shape == (2, 3, 78, 78)  # the size of the photograph
    assert np.any(arrays["std"] > 0)
    again = ["--operator", f"blur:kernel={out / 'kernel.npy'}", "--noise", "0.01", "--solver", "diffpir:steps=1"]
    assert main(["reconstruct", str(photograph), *again, "--samples", "1", "--out", str(tmp_path / "again")]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "8"], "--size: expected an odd number of pixels, got 8; take 9"),
        (["--size", "41"], "at most a third of the picture's 78 pixels, got 41"),
        (["--noise", "much"], "--noise: expected a standard deviation such as 0.01, or auto, got 'much'"),
        (["--gamma", "0"], "--gamma: expected a positive exponent"),
        (["--effort", "fst"], "--effort: unknown value 'fst'"),
        (["--regions", "0"], "--regions"),
    ],
)
def test_bad_input(
    photograph: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deblur", str(photograph), "--out", str(tmp_path / "result"), *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "result").exists()
