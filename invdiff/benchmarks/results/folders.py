"""Scores of a folder of images against true images of the same names: of each image, and means with intervals."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from ...atomic import atomic_path
from ...errors import UserError
from ...images import ARRAYS, load_image
from ...metrics import check_lpips, lpips, psnr, ssim, ssim_gaussian
from ...registry import unknown
from ..metrics import METRICS
from .intervals import Estimate, mean_interval

SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "psnr": psnr,
    "ssim": ssim,
    "ssim_gaussian": ssim_gaussian,
    "lpips": lpips,
}
"""Metrics of an image and its true image, by their names in `invdiff.benchmarks.metrics`."""
DEFAULT = ("psnr", "ssim")


@dataclass(frozen=True)
class Scores:
    """Figures of a folder of images.

    Attributes:
        metrics: names, in the order of the figures.
        rows: figures by the name of the image.
        means: mean and 95 % interval over the images of each metric; without an interval if one image gives infinity,
            such as the PSNR of equal images.
    """

    metrics: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    means: tuple[Estimate, ...]


def pairs(truth: str | Path, estimate: str | Path) -> dict[str, tuple[Path, Path]]:
    """Return the pairs of files of two folders with the same name, without suffix.

    Args:
        truth: folder of the true images.
        estimate: folder of the estimates, one for each.

    Raises:
        NotADirectoryError: one of them is no folder.
        ValueError: no images, two of one name in a folder, or an image without a partner.
    """
    left, right = _images(truth, "--truth"), _images(estimate, "--estimate")
    for here, there, folder, option in ((left, right, estimate, "--estimate"), (right, left, truth, "--truth")):
        if lonely := [path.name for name, path in here.items() if name not in there]:
            listed = ", ".join(lonely[:5]) + (f" and {len(lonely) - 5} more" if len(lonely) > 5 else "")
            raise UserError(
                f"{option}: {folder}: expected an image of the same name for each of the {len(here)} in the other "
                f"folder, found none for {listed}; add or rename it, or take it out of both"
            )
    return {name: (path, right[name]) for name, path in left.items()}


def score_folders(truth: str | Path, estimate: str | Path, metrics: Sequence[str] = DEFAULT) -> Scores:
    """Score the images of one folder against those of another.

    Args:
        truth: folder of the true images.
        estimate: folder of the estimates, with the same names.
        metrics: names from `SCORES`.

    Returns:
        Figures of each image, and their means.

    Raises:
        ValueError: unknown metrics, images without a partner, of different sizes, or that cannot be read.
    """
    for name in metrics:
        if name not in SCORES:
            raise UserError(f"--metrics: {unknown('metric', name, SCORES)}")
    if not metrics or len(set(metrics)) < len(metrics):
        raise UserError(f"--metrics: expected names, each once, got {', '.join(metrics) or 'none'}")
    if "lpips" in metrics:
        check_lpips()
    rows = dict(_scored(pairs(truth, estimate), metrics))
    means = tuple(_mean([row[i] for row in rows.values()], list(rows)) for i in range(len(metrics)))
    return Scores(tuple(metrics), rows, means)


def write_csv(scores: Scores, path: str | Path) -> None:
    """Write a line for each image, with full precision."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *scores.metrics])
        writer.writerows([name, *figures] for name, figures in scores.rows.items())


def table(scores: Scores) -> list[list[str]]:
    """Return head, images, mean and interval as text."""
    digits = [METRICS[name].digits for name in scores.metrics]
    out = [["image", *(METRICS[name].title for name in scores.metrics)]]
    out += [[name, *(f"{v:.{d}f}" for v, d in zip(row, digits, strict=True))] for name, row in scores.rows.items()]
    both = list(zip(scores.means, digits, strict=True))
    out.append([f"mean of {len(scores.rows)}", *(f"{e.mean:.{d}f}" for e, d in both)])
    if any(not math.isnan(e.low) for e in scores.means):
        intervals = ("-" if math.isnan(e.low) else f"{e.low:.{d}f} to {e.high:.{d}f}" for e, d in both)
        out.append(["95 % interval", *intervals])
    return out


def _scored(found: dict[str, tuple[Path, Path]], metrics: Sequence[str]) -> Iterator[tuple[str, tuple[float, ...]]]:
    for name, (left, right) in found.items():
        x, ref = load_image(right), load_image(left)
        if x.shape != ref.shape:
            raise UserError(
                f"{right}: expected the size of {left}, {_size(ref)}, got {_size(x)}; resize it, or convert it to the "
                "same number of channels"
            )
        try:
            yield name, tuple(float(SCORES[metric](x, ref)) for metric in metrics)
        except ValueError as error:
            raise UserError(f"{right}: {error}; leave the metric out with --metrics") from error


def _size(x: Tensor) -> str:
    _, c, h, w = x.shape
    return f"{w} x {h} with {c} channel" + ("" if c == 1 else "s")


def _mean(values: Sequence[float], names: Sequence[str]) -> Estimate:
    if all(map(math.isfinite, values)):
        return mean_interval(values, names)
    return Estimate(sum(values) / len(values), math.nan, math.nan, len(values), len(values))


def _images(folder: str | Path, option: str) -> dict[str, Path]:
    """Return the image files of a folder by their names without suffixes, sorted."""
    path = Path(folder)
    if not path.is_dir():
        kind = "a file" if path.exists() else "nothing there"
        raise NotADirectoryError(f"{option}: expected a folder of images, got {kind}: {str(folder)!r}")
    endings = {*Image.registered_extensions(), *ARRAYS}
    out: dict[str, Path] = {}
    for file in sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in endings):
        if file.stem in out:
            raise UserError(
                f"{option}: {folder}: expected one image of each name, got {out[file.stem].name} and {file.name}; "
                "take one of them out"
            )
        out[file.stem] = file
    if not out:
        raise UserError(f"{option}: {folder}: expected images (PNG, JPEG, TIFF, .npy, ...), found none")
    return out
