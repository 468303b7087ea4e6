"""Writing images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..atomic import atomic_path
from ..errors import UserError
from .content import Kept, formats
from .conversions import Array
from .png import write_png16


def save_image(x: Tensor, path: str | Path, *, bits: int = 8, kept: Kept | None = None) -> None:
    """Write an image atomically; values are clipped to [0, 1] and rounded to the nearest level.

    Args:
        x: `(1, C, H, W)`, `(C, H, W)` or `(H, W)`, with 1 or 3 channels.
        path: a name whose suffix gives the format (png, tif, jpg, webp, ...), or `.npy` for the array itself,
            unclipped.
        bits: 8, or 16 in png or tif.
        kept: the colour profile, resolution and EXIF data of another file, to be written; the pixels are converted to
            that profile.

    Raises:
        ValueError: another shape, NaN or infinite pixels, or a format that cannot hold the image.
    """
    array = _to_array(x, path)
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, array.transpose(2, 0, 1))
        return
    if bits not in (8, 16):
        raise ValueError(f"save_image: bits: expected 8 or 16, got {bits}")
    if bits == 16 and suffix not in (".png", ".tif", ".tiff"):
        raise UserError(
            f"save_image: bits: 16 are for images in png or tif, got {suffix!r}; use .npy to keep more than 8 bits"
        )
    info = {} if kept is None else dict(kept.info)
    if kept is not None and kept.profile is not None:
        array = kept.profile.from_working(array)
    levels = np.rint(np.clip(array, 0, 1) * (2**bits - 1)).astype(np.uint16 if bits == 16 else np.uint8)
    if bits == 16:
        with atomic_path(path) as temporary:
            if suffix == ".png":
                write_png16(levels, temporary, info)
            else:
                formats["tiff"]().write(levels / np.float32(65535), temporary, Kept(bits=16, white=65535.0, info=info))
        return
    write_picture(Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels), path, info)


def write_picture(picture: Image.Image, path: str | Path, info: Mapping[str, Any] | None = None) -> None:
    """Write a Pillow image atomically, in the format of the name's suffix."""
    suffix = Path(path).suffix.lower()
    known = Image.registered_extensions()
    if suffix not in known or known[suffix] not in Image.SAVE:
        raise UserError(
            f"{path}: expected a name that ends in an image format such as .png, got {suffix or 'no ending'!r}"
        )
    options: dict[str, Any] = {"quality": 95} if known[suffix] in ("JPEG", "WEBP") else {}
    with atomic_path(path) as temporary:
        picture.save(temporary, format=known[suffix], **options, **(info or {}))


def _to_array(x: Tensor, path: str | Path) -> Array:
    if not isinstance(x, Tensor):
        raise TypeError(
            f"save_image: x: expected a torch tensor, got {type(x).__name__}; convert it with torch.as_tensor"
        )
    image = x[0] if x.ndim == 4 and x.shape[0] == 1 else x
    image = image[None] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise ValueError(
            f"save_image: x: expected (1, C, H, W), (C, H, W) or (H, W) with C = 1 or 3, got {tuple(x.shape)}"
        )
    array = image.detach().to("cpu", torch.float32).numpy().transpose(1, 2, 0)
    if not np.isfinite(array).all():
        raise ValueError(
            f"save_image: x: expected finite pixels, got {int((~np.isfinite(array)).sum())} NaN or infinite for {path}"
        )
    return array
