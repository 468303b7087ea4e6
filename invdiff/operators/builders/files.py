"""Kernels, masks and numbers from files, in every format of `invdiff.images`; `FILE#3` is the fourth of a stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UserError, first_line
from ...images.conversions import GRAY, Ask, split_alpha
from ...images.loading import load_mask, read_content
from ...images.numbers import TEXT, is_array_file, read_numbers
from ...images.parts import split_part

T = TypeVar("T")


def kernel_from_file(path: str, *, normalize: bool = True) -> tuple[Tensor, tuple[str, ...]]:
    """Return the kernel in a file, `(h, w)`, float64, and what the user should know about it.

    Args:
        path: an array `(h, w)`, text, or an image of any format, made gray; `FILE#3` is one of a stack.
        normalize: whether the kernel is divided by its sum, as counts of photons need it.

    Raises:
        ValueError: no such file, or no kernel in it.
    """
    values, notes = _attempted("blur: kernel", path, lambda: _picture_values(path))
    k = torch.from_numpy(values)
    if k.ndim != 2:
        several = f"; choose one of a stack with {path}#0" if k.ndim > 2 else ""
        raise UserError(f"blur: kernel: expected an array (h, w) in {path}, got shape {tuple(k.shape)}{several}")
    if not bool(torch.isfinite(k).all()):
        bad = int((~torch.isfinite(k)).sum())
        raise UserError(f"blur: kernel: expected finite values in {path}, got {bad} NaN or infinite; replace them by 0")
    total = float(k.sum())
    if not normalize:
        return k, notes
    if not total > 0:
        raise UserError(
            f"blur: kernel: expected an image that is not black in {path}, it cannot be normalised; its sum is "
            f"{total:.4g}; normalize=false keeps it"
        )
    if abs(total - 1) < 1e-6:
        return k / total, notes
    return k / total, (*notes, f"the kernel in {path} is divided by its sum, {total:.6g}; normalize=false keeps it")


def mask_from_file(path: str) -> Tensor:
    """Return the mask in a file: True where an image is brighter than half of its brightest value, or an array is 1.

    Raises:
        ValueError: no such file, or no mask in it.
    """
    if is_array_file(path):
        return torch.from_numpy(read_array("inpainting: mask", path))
    return _attempted("inpainting: mask", path, lambda: load_mask(path))


def read_array(what: str, path: str) -> Any:
    """Return the numbers in an array or a text file, of any shape, float64."""
    return _attempted(what, path, lambda: _real(path))


def _attempted(what: str, path: str, read: Callable[[], T]) -> T:
    """Return what is read from a file, with `what` in front of the message of an error."""
    file = split_part(path)[0]
    if not file.exists() or (file.is_dir() and file.suffix != ".zarr"):
        raise UserError(f"{what}: expected a file, found none at {str(file)!r}")
    try:
        return read()
    except (OSError, ValueError) as error:
        raise UserError(f"{what}: {path!r} cannot be read: {first_line(error)}") from error


def _real(path: str) -> NDArray[np.float64]:
    array = read_numbers(path)
    if array.dtype.kind not in "buif":
        raise UserError(f"expected real numbers, got {array.dtype}")
    return array.astype(np.float64)


def _picture_values(path: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the values of an array or an image `(h, w)`, at the levels of the file, colours made gray, and notes."""
    if is_array_file(path) or split_part(path)[0].suffix.lower() in TEXT:
        return _real(path), ()
    content = read_content(Path(path), Ask(raw=True))
    pixels, _ = split_alpha(content.pixels)
    if pixels.shape[2] == 1:
        return pixels[..., 0].astype(np.float64), ()
    return (pixels @ GRAY).astype(np.float64), (*content.notes, f"the kernel in {path} is made gray from its colours")
