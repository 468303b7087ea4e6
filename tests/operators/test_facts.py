"""What an operator states of its measurements is heeded by the command line, for a class in a file as for ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from invdiff.benchmarks.execution.gallery import pictures
from invdiff.benchmarks.metrics import Outcome
from invdiff.cli import main
from invdiff.operators import LinearOperator
from invdiff.operators.builders.factory import make_operator_for_measurement
from invdiff.priors import photograph_gaussian
from invdiff.problem import simulate
from invdiff.reconstruction import Reconstruction
from invdiff.registry import operators

H, W = 12, 16

MINE = """
import torch
from invdiff.operators import LinearOperator

class Half(LinearOperator):
    def __init__(self, in_shape):
        self.in_shape, self.out_shape = in_shape, (in_shape[0], in_shape[1], in_shape[2] // 2)
    @staticmethod
    def image_shape(shape, options):
        return shape[0], shape[1], 2 * shape[2]
    def forward(self, x):
        return x[..., : self.out_shape[-1]]

class HalfPhoto(Half):
    photographic = True

class Holes(LinearOperator):
    photographic = True
    takes_mask = True
    def __init__(self, in_shape, mask):
        self.in_shape = self.out_shape = in_shape
        self.mask = mask
    def forward(self, x):
        return x * self.mask.to(x)

class Rows(LinearOperator):
    sinogram = True
    def __init__(self, in_shape, angles, pixel_size=1.0):
        self.angles = [7.0 * i for i in range(angles)] if isinstance(angles, int) else list(angles)
        self.in_shape, self.out_shape = in_shape, (in_shape[0], len(self.angles), in_shape[2])
        self.pixel_size = pixel_size
    def forward(self, x):
        weights = 1 + torch.tensor(self.angles).to(x)
        return self.pixel_size * x.mean(2, keepdim=True) * weights[:, None]

class Fourier(LinearOperator):
    complex_valued = True
    def __init__(self, in_shape):
        self.in_shape, self.out_shape = in_shape, (2, *in_shape[1:])
    @staticmethod
    def image_shape(shape, options):
        return 1, *shape[1:]
    def forward(self, x):
        k = torch.fft.fft2(x[:, 0], norm="ortho")
        return torch.stack([k.real, k.imag], 1)
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("mine.py").write_text(MINE)
    Image.fromarray(rng.integers(0, 256, (H, W, 3), dtype=np.uint8)).save("photo.png")
    mask = np.full((H, W), 255, np.uint8)
    mask[2:5, 3:9] = 0
    Image.fromarray(mask).save("mask.png")
    np.save("large.npy", 3 * rng.random((1, H, W)))
    np.save("spectrum.npy", np.fft.fft2(rng.random((H, W)), norm="ortho"))


def reconstruct(*words: str) -> dict[str, Any]:
    """Run `invdiff reconstruct`, expect exit code 0, and return result.json."""
    fast = ["--solver", "dps:steps=2", "--samples", "1", "--threads", "1", "--device", "cpu", "--out", "out"]
    assert main(["reconstruct", *words, *fast, "--noise", "0.1", "--prior", "gaussian", "--overwrite"]) == 0
    record: dict[str, Any] = json.loads(Path("out/result.json").read_text())
    return record


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run `invdiff reconstruct`, expect exit code 2, and return what it says."""
    assert main(["reconstruct", *words, "--noise", "0.1", "--out", "no"]) == 2
    assert not Path("no").exists()
    return capsys.readouterr().err


def test_facts_are_those_of_the_class() -> None:
    stated = {n: operators.facts(f"mine.py:{n}") for n in ("Half", "HalfPhoto", "Holes", "Rows", "Fourier")}
    assert {n for n, e in stated.items() if e.photographic} == {"HalfPhoto", "Holes"}
    assert {n for n, e in stated.items() if e.takes_mask} == {"Holes"}
    assert {n for n, e in stated.items() if e.sinogram} == {"Rows"}
    assert {n for n, e in stated.items() if e.complex_valued} == {"Fourier"}


def test_a_photographic_measurement_is_read_and_shown_as_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected intensities in [0, 1]" in refused(capsys, "large.npy", "--operator", "mine.py:HalfPhoto")
    taken = reconstruct("large.npy", "--operator", "mine.py:Half")
    assert taken["operator"]["in_shape"] == [1, H, 2 * W]
    assert taken["white_level"]["measurement.png"] == pytest.approx(float(np.load("large.npy").max()))
    shown = reconstruct("photo.png", "--operator", "mine.py:HalfPhoto", "--simulate")
    assert shown["white_level"]["measurement.png"] == 1


def test_a_benchmark_shows_a_photographic_measurement_as_it_is() -> None:
    x = 0.4 + 0.2 * torch.rand(1, 1, H, W, generator=torch.Generator().manual_seed(0))
    kept = {}
    for name in ("Half", "HalfPhoto"):
        operator: LinearOperator = operators[f"mine.py:{name}"]((1, H, W))
        problem = simulate(operator, x, 0.001, seed=0)
        outcome = Outcome(x, problem, photograph_gaussian(), Reconstruction(x[:, None]))
        kept[name] = pictures(outcome)["measurement"]
    assert np.ptp(kept["HalfPhoto"].astype(int)) < 60
    assert np.ptp(kept["Half"].astype(int)) == 255


def test_a_mask_goes_with_an_operator_that_takes_one(capsys: pytest.CaptureFixture[str]) -> None:
    got = reconstruct("photo.png", "--operator", "mine.py:Holes", "--mask", "mask.png")
    assert got["operator"]["mask"] == "mask.png"
    measured = ("photo.png", "--operator", "mine.py:Half", "--mask", "mask.png")
    assert "--mask: goes with --operator inpainting, got --operator mine.py:Half" in refused(capsys, *measured)
    assert "photo.png: mine.py:Holes: expected to know which pixels are missing" in refused(
        capsys, "photo.png", "--operator", "mine.py:Holes"
    )


def test_angles_go_with_a_sinogram(capsys: pytest.CaptureFixture[str]) -> None:
    got = reconstruct("large.npy", "--operator", "mine.py:Rows", "--angles", str(H), "--pixel-size", "0.5")
    assert got["operator"]["in_shape"] == [1, W, W]
    assert "expected 5 rows, one for each angle, got 12 rows" in refused(
        capsys, "large.npy", "--operator", "mine.py:Rows", "--angles", "5"
    )
    assert "--angles: goes with --operator tomography, got --operator mine.py:Half" in refused(
        capsys, "large.npy", "--operator", "mine.py:Half", "--angles", "5"
    )
    with pytest.raises(ValueError, match="give 12 angles, one for each row of the sinogram"):
        make_operator_for_measurement("mine.py:Rows", (1, H, W), {"angles": 5})


def test_complex_numbers_are_read_where_the_measurement_has_some(capsys: pytest.CaptureFixture[str]) -> None:
    got = reconstruct("spectrum.npy", "--operator", "mine.py:Fourier")
    assert got["operator"]["out_shape"] == [2, H, W]
    spectrum, read = np.load("spectrum.npy"), np.load("out/result.npz")["measurement"]
    np.testing.assert_allclose(read, np.stack([spectrum.real, spectrum.imag]), atol=1e-6)
    np.save("spectrum.npy", np.fft.fftshift(spectrum))
    np.save("columns.npy", np.ones(W))
    assert reconstruct("spectrum.npy", "--operator", "mri:mask=columns.npy")["operator"]["in_shape"] == [1, H, W]
    assert "got complex128" in refused(capsys, "spectrum.npy", "--operator", "mine.py:Half")
