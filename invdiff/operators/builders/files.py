"""Kernels, masks and numbers from files, in every format of `invdiff.images`; `FILE#3` is the fourth of a stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...errors import UserError, first_line
from ...images.arrays import ARRAYS
from ...images.arrays import read_array as read_numpy
from ...images.conversions import GRAY, Ask, split_alpha
from ...images.hdf import STORES, read_store
from ...images.loading import load_mask, read_content
from ...images.parts import chosen, split_part

T = TypeVar("T")
TEXT = (".txt", ".csv")


def kernel_from_file(path: str, *, normalize: bool = True) -> tuple[Tensor, tuple[str, ...]]:
    """Return the kernel in a file, `(h, w)`, float64, and what the user should know about it.

    Args:
        path: an array `(h, w)`, text, or an image of any format, made gray; `FILE#3` is one of a stack.
        normalize: whether the kernel is divided by its sum, as counts of photons need it.

    Raises:
        ValueError: no such file, or no kernel in it.
    """
    k = torch.from_numpy(_attempted("blur: kernel", path, lambda: _picture_values(path)))
    if k.ndim != 2:
        several = f"; choose one of a stack with {path}#0" if k.ndim == 3 else ""
        raise UserError(f"blur: kernel: expected an array (h, w) in {path}, got shape {tuple(k.shape)}{several}")
    if not bool(torch.isfinite(k).all()):
        bad = int((~torch.isfinite(k)).sum())
        raise UserError(f"blur: kernel: expected finite values in {path}, got {bad} NaN or infinite; replace them by 0")
    total = float(k.sum())
    if not normalize:
        return k, ()
    if not total > 0:
        raise UserError(
            f"blur: kernel: expected an image that is not black in {path}, it cannot be normalised; its sum is "
            f"{total:.4g}; normalize=false keeps it"
        )
    if abs(total - 1) < 1e-6:
        return k / total, ()
    return k / total, (f"the kernel in {path} is divided by its sum, {total:.6g}; normalize=false keeps it",)


def mask_from_file(path: str) -> Tensor:
    """Return the mask in a file: True where an image is brighter than half of its brightest value, or an array is 1.

    Raises:
        ValueError: no such file, or no mask in it.
    """
    if split_part(path)[0].name.lower().endswith((*ARRAYS, *STORES)):
        return torch.from_numpy(read_array("inpainting: mask", path))
    return _attempted("inpainting: mask", path, lambda: load_mask(path))


def read_array(what: str, path: str) -> Any:
    """Return the numbers in an array or a text file, of any shape, float64."""
    return _attempted(what, path, lambda: _numbers(path))


def _attempted(what: str, path: str, read: Callable[[], T]) -> T:
    """Return what is read from a file, with `what` in front of the message of an error."""
    file = split_part(path)[0]
    if not file.exists() or (file.is_dir() and file.suffix != ".zarr"):
        raise UserError(f"{what}: expected a file, found none at {str(file)!r}")
    try:
        return read()
    except (OSError, ValueError) as error:
        raise UserError(f"{what}: {path!r} cannot be read: {first_line(error)}") from error


def _numbers(path: str) -> Any:
    file, part = split_part(path)
    name = file.name.lower()
    if name.endswith(TEXT):
        return np.loadtxt(file, delimiter="," if name.endswith("csv") else None, dtype=np.float64)
    if name.endswith(STORES):
        array, part = read_store(file, part)
    else:
        array = read_numpy(file)
    if part:
        array = chosen(array, part, file, image_axes=min(2, array.ndim - 1))
    return array.astype(np.float64)


def _picture_values(path: str) -> Any:
    """Return the values of an array or an image `(h, w)`; colours become gray, and levels stay those of the file."""
    file = split_part(path)[0]
    if file.name.lower().endswith((*ARRAYS, *STORES, *TEXT)):
        return _numbers(path)
    pixels, _ = split_alpha(read_content(Path(path), Ask(raw=True)).pixels)
    gray = pixels[..., 0] if pixels.shape[2] == 1 else pixels @ GRAY
    return gray.astype(np.float64)
