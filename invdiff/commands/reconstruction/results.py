"""Results on disk: all files are written under temporary names, and renamed when all are complete."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ... import __version__
from ...images import Kept, formats, save_image, write_picture
from ...images.parts import split_part
from ...images.profiles import fits_channels
from ...operators import Operator
from ...problem import Problem
from ...reconstruction import Reconstruction
from ...storage import KINDS
from ...units import Units
from ..checks import RESULT

MANY = 2**22  # values of which a quantile is taken


class Ends(Protocol):
    """Lower and upper ends of intervals, `(B, C, H, W)` each."""

    @property
    def lower(self) -> Tensor:
        """The lower ends."""

    @property
    def upper(self) -> Tensor:
        """The upper ends."""


RESUME = ".invdiff-resume"
"""Folder of the state of a run that is not complete, in the folder of its results."""


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield an empty folder; at the end its files replace those of an earlier result in `out`.

    `result.json` is removed first and written last, so a folder with this file has one complete result. Files of the
    earlier result that the new one lacks are removed; all other files in the folder are kept.

    Args:
        out: the folder of results; it is made if missing.
    """
    made = [p for p in (out, *out.parents) if not p.exists()]
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob(".invdiff-*"):  # by a process that was killed while it wrote
        if left.name != RESUME and left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=".invdiff-", dir=out))
    try:
        yield stage
        earlier = _files_of(out)
        (out / RESULT).unlink(missing_ok=True)
        names = sorted((p.name for p in stage.iterdir()), key=lambda name: name == RESULT)
        for name in earlier - set(names):
            _remove(out / name)
        for name in names:
            if (out / name).is_dir():  # a folder is not replaced by a renamed one
                _remove(out / name)
            os.replace(stage / name, out / name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _remove(path: Path) -> None:
    """Remove a file, or a folder such as `result.zarr`; nothing happens if it is not there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files_of(out: Path) -> set[str]:
    """Return the names of the files of an earlier result."""
    try:
        listed = json.loads((out / RESULT).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {name for name in listed if isinstance(name, str) and Path(name).name == name}


def write_arrays(
    folder: Path,
    problem: Problem,
    result: Reconstruction,
    truth: Tensor | None = None,
    ends: Ends | None = None,
    kept: Kept | None = None,
    *,
    scale: float = 1.0,
    units: Units | None = None,
    measured: Tensor | None = None,
    export: str = "npz",
) -> dict[str, float]:
    """Write the images and the arrays of the first image of a batch.

    Args:
        folder: an existing folder.
        problem: the problem.
        result: its reconstruction.
        truth: the clean image, `(1, C, H, W)`, if it is known.
        ends: lower and upper ends of the intervals, if there are any.
        kept: what the input file holds besides its pixels: images are written with its depth and its profile,
            and the mean and its spread in the format of the file where that is honest.
        scale: the factor by which the values of the file were multiplied.
        units: of the arrays and of the file, if they are not the values of the prior, which pictures have.
        measured: the measurement in these units, `(1, ...)`.
        export: how arrays are written, one of `storage.KINDS`.

    Returns:
        The value of white in scaled images, by file.
    """
    white: dict[str, float] = {}
    mean, std = result.mean[0], result.std[0]
    y = problem.measurement[0]
    bits = 16 if kept is not None and kept.bits > 8 else 8
    if kept is not None and not fits_channels(kept.info.get("icc_profile", b""), mean.shape[0]):
        kept = dataclasses.replace(kept, profile=None, info={k: v for k, v in kept.info.items() if k != "icc_profile"})
    save_image(mean, folder / "mean.png", bits=bits, kept=kept)
    for s, sample in enumerate(result.samples[0]):
        save_image(sample, folder / f"sample_{s}.png", bits=bits, kept=kept)
    white["std.png"] = std_white(std)
    save_image(std / (white["std.png"] or 1.0), folder / "std.png", bits=bits)
    if is_picture(y):
        white["measurement.png"] = measurement_white(y, problem.operator)
        write_measurement(y / white["measurement.png"], problem, folder / "measurement.png")
    if truth is not None:
        save_image(truth, folder / "clean.png", bits=bits, kept=kept)
    unit = units.from_values if units is not None else _same
    spread = std if units is None else std * units.slope
    whole = y if measured is None else measured[0]
    arrays = {"measurement": whole, "mean": unit(mean), "std": spread, "samples": unit(result.samples[0])}
    if truth is not None:
        arrays["clean"] = unit(truth[0])
    if kept is not None and kept.format and mean.shape == y.shape and (mean.shape[0] == 1 or kept.format == "tiff"):
        pixels = (unit(mean) / scale).detach().cpu().permute(1, 2, 0).numpy()
        if kept.profile is not None:
            pixels = kept.profile.from_working(pixels)
        formats[kept.format]().write(pixels, folder / f"mean{kept.suffix}", kept)
    if ends is not None:
        arrays |= {"lower": unit(ends.lower[0]), "upper": unit(ends.upper[0])}
        save_image(ends.lower[0], folder / "lower.png", bits=bits, kept=kept)
        save_image(ends.upper[0], folder / "upper.png", bits=bits, kept=kept)
    attributes = {"units": "" if units is None else units.name}
    KINDS[export](folder, {k: v.detach().cpu().float().numpy() for k, v in arrays.items()}, attributes)
    return white


def _same(x: Tensor) -> Tensor:
    return x


def write_measurement(shown: Tensor, problem: Problem, path: Path) -> None:
    """Write a measurement as an image, `(C, H, W)`; pixels that are missing in all channels are transparent.

    So the image includes the mask, and `invdiff reconstruct` can read it.
    """
    observed = problem.operator.observed
    if observed is None:
        save_image(shown, path)
        return
    opaque = observed.expand(shown.shape).any(0, keepdim=True).to(shown)
    levels = (torch.cat([shown.clamp(0, 1), opaque]) * 255).round().byte().permute(1, 2, 0)
    write_picture(Image.fromarray(levels.cpu().numpy()), path)


def write_json(folder: Path, record: dict[str, Any]) -> None:
    """Write `result.json`, listing all files of the folder; infinite numbers become text, because JSON has none."""
    files = sorted({p.name for p in folder.iterdir()} | {RESULT})
    text = json.dumps(plain({**record, "files": files}), indent=2, allow_nan=False)
    (folder / RESULT).write_text(text + "\n")


def is_picture(y: Tensor) -> bool:
    """Return whether a measurement `(C, H, W)` can be drawn: 1 or 3 channels."""
    return y.ndim == 3 and y.shape[0] in (1, 3)


def std_white(std: Tensor) -> float:
    """Return the value of white in a map of standard deviations: the 99.9 % quantile, to ignore outliers.

    Of a large map it is the quantile of a part of the pixels, evenly spread.
    """
    flat = std.detach().flatten()
    values = flat[:: max(1, -(-flat.numel() // MANY))].double().cpu().numpy()
    return float(np.quantile(values, 0.999)) if values.size else 0.0


def measurement_white(y: Tensor, operator: Operator) -> float:
    """Return the value of white in a measurement: 1 for photographs, the largest value for others."""
    peak = float(y.max())
    like_image = tuple(y.shape) == tuple(operator.in_shape) and not getattr(operator, "sinogram", False)
    return 1.0 if operator.photographic or like_image or peak <= 0 else peak


def digest_of(path: Path) -> str | None:
    """Return the SHA-256 of the file of a picture, or of a part of it; `None` for a folder."""
    if not (file := split_part(path)[0]).is_file():
        return None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def environment(device: torch.device) -> dict[str, Any]:
    """Return the versions and the machine of a result."""
    packages = ("numpy", "scipy", "scikit-image", "pillow", "deepinv")
    versions = {"invdiff": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "versions": versions,
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


def fields(x: object) -> dict[str, object]:
    """Return the fields of a dataclass by name."""
    if not dataclasses.is_dataclass(x):
        return {"repr": repr(x)}
    return {f.name: getattr(x, f.name) for f in dataclasses.fields(x)}


def plain(value: Any) -> Any:
    """Return a value as JSON holds it; infinite numbers and objects become text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)
