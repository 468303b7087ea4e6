"""The study of scans and microscopy, on made pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invdiff.benchmarks.studies.__main__ import main
from invdiff.benchmarks.studies.scans import PHOTONS, anscombe
from invdiff.metrics import psnr
from invdiff.noise import Poisson
from invdiff.operators import Identity
from invdiff.problem import simulate


def disc(side: int) -> np.ndarray:
    grid = np.linspace(-1, 1, side)
    return (200 * (grid[:, None] ** 2 + grid**2 < 0.4) + 20).astype(np.uint8)


def test_the_table_has_the_classical_rivals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(disc(256)).save(tmp_path / "a.png")
    Image.fromarray(disc(100)).save(tmp_path / "small.png")
    order = ["scans", "--task", "mri", "--images", str(tmp_path), "--prior", "ct", "--solvers", "pnp:steps=1"]
    assert main(order) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 images of 256 x 256")  # the small one is left out
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["pseudo-inverse", "tv", "pnp:steps=1, mean of 4"]
    values = [float(line.split("|")[2]) for line in lines[4:6]]
    assert values[1] > values[0] + 3  # total variation is made for a disc
    assert main(["scans", "--task", "mri", "--images", str(tmp_path / "none")]) == 2


def test_anscombes_transform_and_its_inverse_keep_the_mean() -> None:
    pytest.importorskip("bm3d")
    flat = torch.full((1, 1, 64, 64), 0.4)
    out = anscombe(simulate(Identity((1, 64, 64)), flat, Poisson(PHOTONS), seed=0))
    assert float(out.mean()) == pytest.approx(0.4, abs=0.01)
    assert float(psnr(out, flat)) > 30
