"""Kernels, masks and angles from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import UserError
from ...registry import unknown


def kernel_from_file(path: str, *, normalize: bool = True) -> Tensor:
    """Return the kernel in a file, an array `(h, w)` or an image, made gray.

    Args:
        path: the file.
        normalize: whether the kernel is divided by its sum, as counts of photons need it.

    Raises:
        ValueError: no such file, or no kernel in it.
    """
    if not Path(path).exists() and not Path(path).suffix:
        raise UserError(f"blur: {unknown('kernel', path, ['gaussian', 'motion', 'uniform'])}, or name a file")
    k = torch.from_numpy(read_array("blur: kernel", path))
    if k.ndim != 2:
        raise UserError(f"blur: kernel: expected an array (h, w) in {path}, got shape {tuple(k.shape)}")
    if not normalize:
        return k
    if not k.sum() > 0:
        raise UserError(
            f"blur: kernel: expected an image that is not black in {path}, it cannot be normalised; its sum is "
            f"{float(k.sum()):.4g}; normalize=false keeps it"
        )
    return k / k.sum()


def mask_from_file(path: str) -> Tensor:
    """Return the mask in a file: True where an image is brighter than half, or an array is 1.

    Raises:
        ValueError: no such file, or no mask in it.
    """
    m = torch.from_numpy(read_array("inpainting: mask", path))
    return m if Path(path).suffix.lower() == ".npy" else m > 0.5 * max(1.0, float(m.max()))


def read_array(what: str, path: str) -> Any:
    """Return the array in a file, float64; images are converted to gray."""
    from PIL import Image

    if not Path(path).is_file():
        raise UserError(f"{what}: expected a file, found none at {path!r}")
    try:
        if Path(path).suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False).astype(np.float64)
        if Path(path).suffix.lower() in (".txt", ".csv"):
            return np.loadtxt(path, delimiter="," if path.lower().endswith("csv") else None, dtype=np.float64)
        with Image.open(path) as image:
            wide = image.mode.startswith(("I", "F"))
            return np.asarray(image if wide else image.convert("L"), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise UserError(f"{what}: {path!r} cannot be read: {error}") from error
