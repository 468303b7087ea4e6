"""The images of a report: the truth, the measurement, and the result of each solver, for an image of a task.

Errors and standard deviations have one scale within an image, so the two maps of a solver can be compared with each
other, and with those of other solvers.
"""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...figures import heat
from ..execution.rows import Pictures, Row
from .summary import Summary

SAMPLES = 3
IMAGES = 3
QUALITY = 82
BUDGET = 12 * 2**20
"""Largest number of characters of a page's images; with many solvers there are fewer images, then smaller ones."""
_CHOICES = ((IMAGES, 256), (2, 256), (1, 256), (1, 192), (1, 128), (1, 96))
"""Numbers of images of a task, and longest sides of an image, to try in this order."""


@dataclass(frozen=True)
class Scene:
    """One image of a task, with the results of all solvers.

    Attributes:
        task: the task.
        image: name of the image.
        seed: of the measurement.
        solvers: images by label, in the order of the task's table.
        white: error or standard deviation of the brightest colour of the maps.
    """

    task: str
    image: str
    seed: int
    solvers: Mapping[str, tuple[Row, Pictures]]
    white: float

    @property
    def first(self) -> Pictures:
        """Images of the first solver; truth and measurement are the same for all."""
        return next(iter(self.solvers.values()))[1]


def scenes(summary: Summary, folder: Path, *, images: int = IMAGES) -> list[Scene]:
    """Return the scenes of all tasks with stored images.

    Args:
        summary: of the rows.
        folder: that of the store.
        images: largest number for each task.
    """
    out = []
    for task in summary.tasks:
        kept = [r for e in task.entries for r in e.rows if is_kept(r, folder)]
        for image, seed in list(dict.fromkeys(sorted((r.image, r.seed) for r in kept)))[:images]:
            found = {
                e.label: (r, pictures)
                for e in task.entries
                for r in e.rows
                if (r.image, r.seed) == (image, seed)
                and is_kept(r, folder)
                and (pictures := r.load_pictures(folder)) is not None
            }
            out.append(Scene(task.name, image, seed, found, _white([p for _, p in found.values()])))
    return out


def is_kept(row: Row, folder: Path) -> bool:
    """Return whether a cell's images are in the folder."""
    return row.pictures is not None and (folder / row.pictures).is_file()


def _white(found: Sequence[Pictures]) -> float:
    """Return 1.5 times the large errors of the median solver, so an outlier does not darken the others."""
    return max(1e-3, 1.5 * float(np.median([np.quantile(error_map(p), 0.99) for p in found])))


def error_map(p: Pictures) -> NDArray[np.float64]:
    """Return the root mean square over the channels of mean minus truth, `(H, W)`."""
    difference = (p["mean"].astype(np.float64) - p["truth"].astype(np.float64)) / 255
    out: NDArray[np.float64] = np.sqrt((difference**2).mean(0))
    return out


def std_map(p: Pictures) -> NDArray[np.float64]:
    """Return the root mean square over the channels of the standard deviation, `(H, W)`."""
    out: NDArray[np.float64] = np.sqrt((p["std"].astype(np.float64) ** 2).mean(0))
    return out


def spread_of(p: Pictures) -> bool:
    """Return whether there are several samples that differ."""
    samples = p.get("samples")
    return samples is not None and len(samples) > 1 and bool((samples != samples[:1]).any())


def gallery(found: Sequence[Scene], *, budget: int = BUDGET) -> list[dict[str, Any]]:
    """Return the scenes with images as data URIs, as many and as large as the budget allows."""
    out: list[dict[str, Any]] = []
    for images, side in _CHOICES:
        by_task = (list(group) for _, group in itertools.groupby(found, key=lambda scene: scene.task))
        out = [_described(scene, side) for group in by_task for scene in group[:images]]
        if sum(len(p["src"]) for scene in out for p in _all(scene)) <= budget:
            break
    return out


def _all(scene: dict[str, Any]) -> list[dict[str, str]]:
    return [*scene["given"], *(p for solver in scene["solvers"] for p in solver["pictures"])]


def _described(scene: Scene, side: int) -> dict[str, Any]:
    solvers = []
    for label, (row, p) in scene.solvers.items():
        shown = [
            {"title": "mean", "src": uri(p["mean"], side)},
            {"title": "error", "src": map_uri(error_map(p), scene.white, side)},
        ]
        if spread_of(p):
            shown.append({"title": "std", "src": map_uri(std_map(p), scene.white, side)})
            shown += [{"title": f"sample {i + 1}", "src": uri(s, side)} for i, s in enumerate(p["samples"][:SAMPLES])]
        solvers.append({
            "label": label, "status": row.status, "reason": row.reason, "figures": dict(row.metrics),
            "nfe": row.nfe, "seconds": row.seconds, "pictures": shown,
        })  # fmt: skip
    first = scene.first
    height, width = first["truth"].shape[-2:]
    given = [{"title": name, "src": uri(first[name], side)} for name in ("truth", "measurement") if name in first]
    return {
        "task": scene.task, "image": scene.image, "seed": scene.seed, "white": scene.white,
        "size": f"{width} × {height}", "given": given, "solvers": solvers,
    }  # fmt: skip


def uri(levels: NDArray[Any], side: int = 256) -> str:
    """Return an image `(C, H, W)` of 8 bits as a data URI, reduced if a side is longer than `side`."""
    array = levels.transpose(1, 2, 0)
    return _encoded(Image.fromarray(array[..., 0] if array.shape[2] == 1 else array), side)


def map_uri(values: NDArray[np.float64], white: float, side: int = 256) -> str:
    """Return a map of magnitudes as a data URI in colours; `white` has the brightest colour."""
    return _encoded(Image.fromarray(heat(values / white)), side)


def _encoded(picture: Image.Image, side: int) -> str:
    if max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
