"""The study of estimated kernels: its drawn cases, its alignment, and its rival."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from invdiff.benchmarks.studies.blind_kernels import (
    NOISE,
    SIZE,
    aligned_psnr,
    cases,
    drawn_kernel,
    markdown,
    richardson_lucy,
)
from invdiff.deblurring import kernel_similarity
from invdiff.operators import Blur, gaussian_kernel


def test_cases_are_drawn_and_noisy(tmp_path: Path) -> None:
    Image.new("RGB", (100, 90), (90, 120, 30)).save(tmp_path / "a.png")
    Image.new("RGB", (40, 90)).save(tmp_path / "small.png")
    ((x, kernel, problem),) = cases(tmp_path, 5, 60)
    assert x.shape == (1, 3, 84, 84)
    assert problem.measurement.shape == (1, 3, 60, 60)
    assert torch.equal(kernel, drawn_kernel(0))
    assert float((problem.measurement - x[..., 12:-12, 12:-12]).std()) == pytest.approx(NOISE, rel=0.05)
    with pytest.raises(ValueError, match="at least 224 x 224"):
        cases(tmp_path, 5, 200)


def test_psnr_forgives_a_shift() -> None:
    truth = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    half = SIZE // 2
    moved = torch.roll(truth, (3, -5), (-2, -1))
    assert aligned_psnr(moved, truth) > 60
    assert aligned_psnr(moved[..., half:-half, half:-half], truth) > 60
    assert aligned_psnr(torch.roll(truth, 20, -1), truth) < 15


def test_richardson_lucy_narrows_its_kernel_to_the_blur() -> None:
    x = (torch.rand(1, 1, 120, 120, generator=torch.Generator().manual_seed(0)) > 0.97).float()
    kernel = gaussian_kernel((1.0, 3.0), SIZE)
    y = Blur((1, 120, 120), kernel=kernel, border="circular")(x)[0, 0]
    found = richardson_lucy(y, rounds=4)
    start = gaussian_kernel(SIZE / 5, SIZE)
    assert float(found.sum()) == pytest.approx(1, abs=1e-4)
    assert kernel_similarity(found, kernel) > kernel_similarity(start, kernel) + 0.05


def test_the_table_has_the_loss_against_the_true_kernel() -> None:
    row = {"similarity": 1.0, "psnr": 30.0, "concentration": 0.04}
    done = [{"true kernel": row, "no blur": {"similarity": 0.5, "psnr": 26.0, "concentration": 1.0}}] * 2
    table = markdown(done).splitlines()
    assert "4.00" in table[-1]
    assert "2 of 2" in table[-1]
    assert "0 of 2" in table[-2]
