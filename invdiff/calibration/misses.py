"""How far the truth lies from the centres of the intervals, in units of their half-widths: what a calibration keeps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..reconstruction import Reconstruction
from .entrywise import Widening, kept_pixels

QUANTILES = 2001
FLOOR = 1e-6
"""Least half-width, in units of the images, because no factor widens an interval of equal samples."""


@dataclass(frozen=True)
class Misses:
    """How far the truth of one image lies from the centres of its intervals.

    Attributes:
        factors: quantiles, equally spaced from 0 to 1, of `|x_i - centre_i| / h_i` over the pixels, ascending.
        width: mean of the half-widths `h_i`.
    """

    factors: NDArray[np.float64]
    width: float


def misses(result: Reconstruction, truth: Tensor, level: float, widening: Widening | None = None) -> list[Misses]:
    """Return what a calibration keeps of each image.

    Args:
        result: of the images, with two samples or more.
        truth: clean images, `(B, C, H, W)`.
        level: fraction of the pixels to be inside.
        widening: factors of groups of pixels that the half-widths have already.
    """
    half = half_width(result, level)
    half = half if widening is None else widening(half)
    ratios = ((truth.to(half) - result.mean).abs() / half).flatten(1).double().cpu().numpy()
    widths = half.flatten(1).mean(1, dtype=torch.float64).tolist()
    shares = np.linspace(0, 1, QUANTILES)
    return [Misses(np.quantile(r, shares, method="higher"), width) for r, width in zip(ratios, widths, strict=True)]


def pixels_of(result: Reconstruction, truth: Tensor, level: float) -> list[NDArray[np.float32]]:
    """Return half-widths and absolute errors of pixels of each image, for `fit_widening`; see `misses`."""
    half = half_width(result, level)
    return [kept_pixels(h, e) for h, e in zip(half, (truth.to(half) - result.mean).abs(), strict=True)]


def inside(found: Sequence[Misses], factor: float) -> float:
    """Return the fraction of pixels inside intervals widened by a factor, averaged over images."""
    return float(np.mean([(m.factors <= factor).mean() for m in found]))


def append_misses(path: Path, name: str, miss: Misses) -> None:
    """Append the misses of an image to a file, as a line of JSON."""
    row = {"name": name, "factors": miss.factors.tolist(), "width": miss.width}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def append_pixels(path: Path, name: str, pixels: NDArray[np.float32]) -> None:
    """Append the pixels of an image to a file, as a line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"name": name, "pixels": pixels.tolist()}) + "\n")


def read_rows(lines: Iterable[str]) -> tuple[dict[str, Misses], dict[str, NDArray[np.float32]]]:
    """Return the misses, and the pixels, in lines that were appended, by the name of the image."""
    found: dict[str, Misses] = {}
    pixels: dict[str, NDArray[np.float32]] = {}
    for text in lines:
        try:
            row = json.loads(text)
        except ValueError:  # the line that was being written at an interruption
            continue
        if "pixels" in row:
            pixels[row["name"]] = np.array(row["pixels"], np.float32)
        else:
            found[row["name"]] = Misses(np.array(row["factors"]), row["width"])
    return found, pixels


def half_width(result: Reconstruction, level: float) -> Tensor:
    """Return the half-width of the interval of the samples, at least `FLOOR`, `(B, C, H, W)`."""
    lower, upper = result.interval(level)
    return ((upper - lower) / 2).clamp(min=FLOOR)
