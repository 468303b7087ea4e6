"""The table of denoisers: what it measures, on made-up pictures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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
