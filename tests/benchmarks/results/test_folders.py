"""Scores of two folders of images: scikit-image's own figures, and plain words where the folders do not fit."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from invdiff.benchmarks.results.folders import pairs, score_folders
from invdiff.cli import main

NAMES = ("cat", "cup", "dog")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    truth, estimate = tmp_path / "truth", tmp_path / "estimate"
    truth.mkdir()
    estimate.mkdir()
    for i, name in enumerate(NAMES):
        x = rng.integers(20, 230, size=(24, 31, 3), dtype=np.int16)
        noise = rng.integers(-8 * (i + 1), 8 * (i + 1), size=x.shape)
        Image.fromarray(x.astype(np.uint8)).save(truth / f"{name}.png")
        Image.fromarray(np.clip(x + noise, 0, 255).astype(np.uint8)).save(estimate / f"{name}.tif")
    (truth / "notes.txt").write_text("not an image")
    return truth, estimate


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main(["score", *map(str, arguments)]) == code
    printed = capsys.readouterr()
    return printed.out if code == 0 else printed.err


def test_scores_are_those_of_scikit_image(folders: tuple[Path, Path]) -> None:
    got = score_folders(*folders)
    for name in NAMES:
        a, b = (np.asarray(Image.open(next(f.glob(f"{name}.*")))) / 255 for f in folders)
        wanted = peak_signal_noise_ratio(a, b, data_range=1), structural_similarity(a, b, data_range=1, channel_axis=2)
        assert got.rows[name] == pytest.approx(wanted, abs=1e-5)
    assert got.means[0].mean == pytest.approx(np.mean([row[0] for row in got.rows.values()]))
    assert got.means[0].low < got.means[0].mean < got.means[0].high and got.means[0].images == 3


def test_the_ssim_of_papers_has_a_name_of_its_own(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = run(capsys, "--truth", folders[0], "--estimate", folders[1], "--metrics", "ssim,ssim_gaussian")
    assert text.splitlines()[0].split() == ["image", "SSIM", "SSIM", "(11", "x", "11)"]
    a, b = (np.asarray(Image.open(next(f.glob("cat.*")))) / 255 for f in folders)
    paper = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    wanted = structural_similarity(a, b, data_range=1, channel_axis=2, **paper)
    assert score_folders(*folders, metrics=["ssim_gaussian"]).rows["cat"] == pytest.approx((wanted,), abs=1e-5)


def test_command_prints_a_table_and_writes_csv(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scores.csv"
    text = run(capsys, "--truth", folders[0], "--estimate", folders[1], "--out", file)
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["image", "PSNR", "dB", "SSIM"] and [line[0] for line in lines[1:4]] == list(NAMES)
    assert lines[4][:3] == ["mean", "of", "3"] and lines[5][:3] == ["95", "%", "interval"]
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["image"] for row in rows] == list(NAMES)
    assert float(rows[0]["psnr"]) == score_folders(*folders).rows["cat"][0]  # full precision
    error = run(capsys, "--truth", folders[0], "--estimate", folders[1], "--out", file, code=2)
    assert "is there already; add --overwrite" in error
    run(capsys, "--truth", folders[0], "--estimate", folders[1], "--out", file, "--overwrite")


def test_equal_images(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    got = score_folders(folders[0], folders[0])
    assert math.isinf(got.means[0].mean) and math.isnan(got.means[0].low) and got.means[1].mean == 1
    assert "inf" in run(capsys, "--truth", folders[0], "--estimate", folders[0])


def test_folders_that_do_not_fit(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, estimate = folders

    def error(*more: object) -> str:
        text = run(capsys, "--truth", truth, "--estimate", estimate, *more, code=2)
        assert text.count("\n") == 1
        return text

    (estimate / "cat.tif").rename(estimate / "cow.tif")
    assert "--estimate" in error() and "found none for cat.png" in error()
    (estimate / "cow.tif").rename(estimate / "cat.tif")
    (estimate / "more.png").write_bytes((truth / "dog.png").read_bytes())
    assert "--truth" in error() and "found none for more.png" in error()
    (estimate / "more.png").unlink()

    Image.open(estimate / "dog.tif").crop((0, 0, 30, 24)).save(estimate / "dog.tif")
    assert "expected the size of" in error() and "31 x 24 with 3 channels, got 30 x 24 with 3 channels" in error()
    Image.open(truth / "dog.png").convert("L").save(estimate / "dog.tif")
    assert "31 x 24 with 1 channel;" in error()
    (estimate / "dog.tif").unlink()
    (estimate / "dog.png").write_bytes(b"no image")
    assert "not an image that can be read" in error()
    (estimate / "dog.tif").write_bytes(b"")
    assert "expected one image of each name, got dog.png and dog.tif" in error()

    assert "did you mean 'ssim'?" in error("--metrics", "ssmi")
    assert "each once" in error("--metrics", "psnr,psnr")
    assert "no folder" in error("--out", tmp_path / "no" / "scores.csv")


def test_no_folder_and_no_images(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="expected a folder of images, got nothing there"):
        pairs(tmp_path / "no", tmp_path)
    with pytest.raises(ValueError, match=r"expected images .* found none"):
        pairs(tmp_path, tmp_path)


def test_images_too_small_for_ssim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (5, 9), 100).save(tmp_path / "a.png")
    assert "leave the metric out with --metrics" in run(capsys, "--truth", tmp_path, "--estimate", tmp_path, code=2)
    run(capsys, "--truth", tmp_path, "--estimate", tmp_path, "--metrics", "psnr")
