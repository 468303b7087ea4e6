"""Images from files and back: float tensors `(1, C, H, W)` with intensities in [0, 1].

8-bit values are divided by 255 and 16-bit values by 65535; floating-point values are unchanged. Orientation tags of
cameras are applied, palettes are converted to colours, and CMYK to RGB. Of several frames the first is used. Pillow
reads 16-bit colour as 8-bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageColor
from torch import Tensor

from ..errors import UserError
from .arrays import ARRAYS, load_array
from .conversions import GRAY, Array, channels_last, check_finite, split_alpha
from .photographs import read_pixels

Mode = Literal["gray", "rgb"]
# Measurements are noisy and may leave [0, 1]; beyond this bound an image was certainly not scaled to [0, 1].
_PLAUSIBLE = 2.0


def load_image(path: str | Path, *, mode: Mode | None = None) -> Tensor:
    """Read an image; transparency is dropped.

    Args:
        path: an image file that Pillow can read, or an array in `.npy` or `.npz`: `(H, W)`, `(H, W, C)`, `(C, H, W)` or
            `(1, C, H, W)`.
        mode: "gray" for 1 channel, "rgb" for 3; by default as in the file.

    Returns:
        The image, `(1, C, H, W)`, float32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no image, NaN or infinite pixels, or values far from [0, 1].

    Example:
        >>> import tempfile, torch
        >>> from invdiff.images import save_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_image(torch.full((1, 3, 5, 7), 0.5), folder + "/a.png")
        ...     load_image(folder + "/a.png").shape
        torch.Size([1, 3, 5, 7])
    """
    return load_image_and_mask(path, mode=mode)[0]


def load_image_and_mask(
    path: str | Path, *, mode: Mode | None = None, missing_color: str | None = None, tolerance: int = 0
) -> tuple[Tensor, Tensor | None]:
    """Read an image and the mask of its known pixels.

    Args:
        path: as in `load_image`.
        mode: as in `load_image`.
        missing_color: pixels of this colour are missing: "#ff00ff", "magenta" or "rgb(255, 0, 255)".
        tolerance: largest difference of a channel from that colour, in 255 levels; files with lossy compression need
            it.

    Returns:
        The image, `(1, C, H, W)`, and a boolean mask, `(H, W)`, True where a pixel is known: at least half opaque, and
        not of the marker's colour. `None` instead of the mask if no pixel is missing.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as in `load_image`; no pixel has the marker's colour, or all are missing.
    """
    if mode not in (None, "gray", "rgb"):
        raise ValueError(f"load_image: mode: expected 'gray', 'rgb' or None, got {mode!r}")
    if Path(path).suffix.lower() in ARRAYS:
        color, alpha = split_alpha(channels_last(load_array(path), path))
    else:
        color, alpha = split_alpha(read_pixels(path))
    check_finite(color, path)
    if color.size and (peak := float(np.abs(color).max())) > _PLAUSIBLE:
        raise UserError(
            f"{path}: expected intensities in [0, 1], got values up to {peak:.4g}; divide by the white level"
        )
    known = None
    if alpha is not None:
        known = alpha >= 0.5
    if missing_color is not None:
        marked = _of_color(color, missing_color, tolerance, path)
        known = ~marked if known is None else known & ~marked
    if known is not None and not known.any():
        raise UserError(f"{path}: expected some known pixels, got none: all are transparent or of the marker's colour")
    if mode == "gray" and color.shape[2] == 3:
        color = (color @ GRAY)[..., None]
    elif mode == "rgb" and color.shape[2] == 1:
        color = np.repeat(color, 3, axis=2)
    image = torch.from_numpy(np.ascontiguousarray(color.transpose(2, 0, 1)))[None]
    return image, None if known is None or known.all() else torch.from_numpy(known)


def load_mask(path: str | Path, *, invert: bool = False) -> Tensor:
    """Read a mask: True (a known pixel) where the file is brighter than half of its brightest value.

    Black and white, 0 and 1, and the soft edges of a JPEG are all handled.

    Args:
        path: an image file or an array, as in `load_image`.
        invert: whether bright pixels are the missing ones.

    Returns:
        A boolean mask, `(H, W)`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no image, or a mask that marks no pixel as known.
    """
    if Path(path).suffix.lower() in ARRAYS:
        pixels, _ = split_alpha(channels_last(load_array(path), path))
    else:
        pixels, _ = split_alpha(read_pixels(path))
    check_finite(pixels, path)
    gray = pixels[..., 0] if pixels.shape[2] == 1 else pixels @ GRAY
    peak = float(gray.max())
    bright = gray > 0.5 * peak if peak > 0 else np.zeros(gray.shape, bool)
    known = ~bright if invert else bright
    if not known.any():
        hint = "leave --mask-invert out" if invert else "paint known pixels white, or invert it with --mask-invert"
        raise UserError(f"{path}: mask: expected some known pixels, got none; {hint}")
    return torch.from_numpy(known)


def _of_color(color: Array, marker: str, tolerance: int, path: str | Path) -> NDArray[np.bool_]:
    if tolerance < 0:
        raise UserError(f"missing-tolerance: expected levels in [0, 255], got {tolerance}")
    try:
        rgb = ImageColor.getrgb(marker)[:3]
    except ValueError as error:
        raise UserError(f"missing-color: expected a colour such as '#ff00ff' or 'magenta', got {marker!r}") from error
    levels = np.rint(np.clip(color, 0, 1) * 255).astype(np.int16)
    distance = np.abs(levels - np.array(rgb, dtype=np.int16)).max(axis=2)  # gray broadcasts over the three
    marked: NDArray[np.bool_] = distance <= tolerance
    if not marked.any():
        nearest = levels[np.unravel_index(int(distance.argmin()), distance.shape)]
        shown = "#" + "".join(f"{v:02x}" for v in np.broadcast_to(nearest, 3))
        raise UserError(
            f"{path}: missing-color: no pixel has the colour {marker!r}; the nearest is {shown}, {int(distance.min())} "
            "levels off; JPEG changes colours: raise --missing-tolerance, or save as PNG"
        )
    return marked
