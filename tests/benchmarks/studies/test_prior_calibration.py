"""The calibration of a prior: right for one whose posterior is exact, wrong for one that is too sure."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from invdiff.benchmarks.studies.__main__ import main
from invdiff.benchmarks.studies.prior_calibration import Row, markdown, measure
from invdiff.priors import GaussianPrior, Prior

MEAN, COVARIANCE = torch.full((1, 24, 24), 0.5), 0.04 * torch.eye(576)


class TooSmooth(GaussianPrior):
    """A denoiser that shrinks too much."""

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return super().denoise(x, 2 * sigma)


def figures(prior: Prior) -> tuple[float, float]:
    """Return the coverage and the ratio over six images of the Gaussian."""
    images = GaussianPrior(MEAN, COVARIANCE).sample(6, torch.Generator().manual_seed(0))
    rows = [measure(x[None], prior, "pixelwise", 0.1, 60, number=i, samples=8) for i, x in enumerate(images)]
    return statistics.fmean(r.coverage for r in rows), sum(r.error for r in rows) / sum(r.variance for r in rows)


def test_images_are_calibrated_under_their_own_prior_only() -> None:
    share, ratio = figures(GaussianPrior(MEAN, COVARIANCE))
    assert share == pytest.approx(0.9, abs=0.02)  # 3456 pixels: the Monte Carlo error is 0.005
    assert ratio == pytest.approx(1, abs=0.08)  # 0.024, and that of the variance of eight samples
    share, ratio = figures(TooSmooth(MEAN, COVARIANCE))
    assert share < 0.85 and ratio > 1.3


def test_the_table_is_pooled_over_photographs() -> None:
    rows = [
        Row("pixelwise", 0.1, 10, 0, coverage=0.8, error=1.0, variance=0.5, psnr=20.0),
        Row("pixelwise", 0.1, 10, 1, coverage=1.0, error=1.0, variance=1.5, psnr=30.0),
    ]
    assert markdown(rows).splitlines()[2:] == ["| 0.1 | 10 | 0.900 | 1.00 | 25.00 |"]


def test_an_interrupted_study_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    work = tmp_path / "rows.jsonl"
    order = ["prior_calibration", "--photos", str(tmp_path), "--prior", "gaussian", "--size", "16", "--noise", "0.1"]
    order += ["--steps", "3", "--samples", "2", "--work", str(work)]
    assert main(order) == 0
    whole, kept = capsys.readouterr().out, work.read_text()
    assert whole.startswith("`pixelwise` with `gaussian`: 2 photographs, squares of at most 16 pixels, 2 samples each")
    assert len(kept.splitlines()) == 2
    work.write_text(kept.splitlines()[0] + "\n")
    assert main(order) == 0
    assert capsys.readouterr().out == whole and work.read_text() == kept
