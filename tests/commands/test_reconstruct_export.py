"""The forms in which `invdiff reconstruct` writes arrays."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from invdiff.cli import main

FAST = ["--operator", "downsample:factor=2", "--noise", "0.1", "--prior", "gaussian", "--solver", "dps:steps=3"]
FAST += ["--samples", "2", "--device", "cpu", "--out", "out"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("y.npy", np.random.default_rng(0).random((9, 6)))


def run(*more: str) -> int:
    return main(["reconstruct", "y.npy", *FAST, "--overwrite", *more])


def test_every_form_has_the_same_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    zarr = pytest.importorskip("zarr")
    assert run() == 0
    with np.load("out/result.npz") as opened:
        expected = dict(opened)
    assert run("--export", "zarr") == 0
    assert "result.zarr (arrays)" in capsys.readouterr().out
    assert not Path("out/result.npz").exists()
    group = zarr.open_group("out/result.zarr", mode="r")
    assert set(group.array_keys()) == set(expected)
    for name, array in expected.items():
        assert np.array_equal(group[name][...], array)
    assert group["samples"].metadata.dimension_names == ("sample", "channel", "y", "x")
    assert group["mean"].metadata.dimension_names == ("channel", "y", "x")
    assert group["measurement"].metadata.dimension_names == ("measurement_0", "measurement_1", "measurement_2")
    assert group["samples"].chunks[0] == 1
    assert run("--export", "zarr") == 0  # in the place of the former one
    assert run("--export", "tiff") == 0
    assert not Path("out/result.zarr").exists()
    for name, array in expected.items():
        assert np.array_equal(tifffile.imread(f"out/result_{name}.tif").reshape(array.shape), array)
    assert run("--export", "none") == 0
    assert not list(Path("out").glob("result*.*z*")) and not list(Path("out").glob("*.tif"))
    assert "result.json" in {p.name for p in Path("out").iterdir()}


def test_without_zarr_its_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert run("--export", "zarr") == 2
    assert "--export zarr: needs zarr; pip install 'invdiff[zarr]'" in capsys.readouterr().err
    assert not Path("out").exists()
