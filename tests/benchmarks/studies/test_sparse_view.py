"""The table of sparse-view CT, on made-up slices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invdiff.benchmarks.studies.sparse_view import classical, folder_slices, main, measure
from invdiff.metrics import psnr
from invdiff.operators import Tomography


def disc(side: int, radius: float) -> torch.Tensor:
    r = torch.arange(side) - (side - 1) / 2
    return 0.5 * (r[:, None].square() + r.square() < radius**2).float()


def slices(side: int = 32) -> torch.Tensor:
    return torch.stack([disc(side, 6.0)[None], disc(side, 11.0)[None]])


def test_noise_is_one_percent_and_differs_by_slice() -> None:
    x = slices()
    problems = measure(x, views=12)
    noise = [p.measurement - p.operator(x[i : i + 1]) for i, p in enumerate(problems)]
    for i, n in enumerate(noise):
        clean = problems[i].operator(x[i : i + 1])
        # 12 x 46 entries: the relative error of a standard deviation is 1 / sqrt(2 m) = 3 %
        assert float(n.std() / clean.square().mean().sqrt()) == pytest.approx(0.01, rel=0.15)
    assert not torch.allclose(noise[0] / noise[0].std(), noise[1] / noise[1].std(), atol=0.1)


def test_filtered_back_projection_is_what_the_row_says() -> None:
    x = slices()
    problems = measure(x, views=12)
    ramp, _, tv = classical(x, problems)
    operator = problems[1].operator
    assert isinstance(operator, Tomography)
    by_hand = psnr(operator.fbp(problems[1].measurement).clamp(0, 1), x[1:])
    assert ramp.psnr[1] == pytest.approx(float(by_hand))
    assert np.mean(tv.psnr) > np.mean(ramp.psnr)  # a disc is what total variation likes


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, x in enumerate(slices()):
        Image.fromarray((x[0] * 255).byte().numpy()).save(tmp_path / f"{i}.png")
    out = tmp_path / "out.json"
    main(["--slices", str(tmp_path), "--prior", "ct", "--views", "12", "--solvers", "tv:steps=50", "--json", str(out)])
    rows = {r["method"]: r for r in json.loads(out.read_text())}
    assert {"FBP, ramp", "FBP, hann", "tv:steps=50"} < set(rows)
    assert np.mean(rows["tv:steps=50"]["psnr"]) > np.mean(rows["FBP, ramp"]["psnr"]) + 3
    assert "| tv:steps=50 |" in capsys.readouterr().out


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="found none"):
        folder_slices(tmp_path, None)
