"""Images from files: float tensors `(1, C, H, W)` with intensities in [0, 1].

8-bit values are divided by 255 and 16-bit values by 65535; floating-point values are unchanged, and integers of other
types need a stated white level. Orientation tags of cameras are applied, colour profiles are converted to the working
values (`profiles`), palettes to colours, and CMYK to RGB. Of several pictures in a file one is chosen as `FILE#3`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageColor
from torch import Tensor

from ..errors import UserError
from .content import Content, Kept, format_of
from .conversions import GRAY, Array, Ask, check_finite, check_is_file, scaled, split_alpha
from .masks import grow_mask
from .numbers import read_numbers
from .parts import split_part
from .photographs import read_photograph

Mode = Literal["gray", "rgb"]
# Measurements are noisy and may leave [0, 1]; beyond this bound an image was certainly not scaled to [0, 1].
_PLAUSIBLE = 2.0


@dataclasses.dataclass(frozen=True)
class Loaded:
    """An image from a file.

    Attributes:
        image: `(1, C, H, W)`.
        known: the known pixels, `(H, W)`, or `None` for all.
        kept: what the file holds besides, to be written back.
        notes: what the user should know about the reading.
    """

    image: Tensor
    known: Tensor | None = None
    kept: Kept = dataclasses.field(default_factory=Kept)
    notes: tuple[str, ...] = ()


def read_content(path: str | Path, ask: Ask | None = None) -> Content:
    """Return the content of a file, or of its part `FILE#3`, by the format of its name."""
    file, part = split_part(path)
    if not file.name.endswith(".zarr"):  # a folder
        check_is_file(file)
    ask = dataclasses.replace(ask or Ask(), part=part)
    found = format_of(file)
    return read_photograph(file, ask) if found is None else found[1].read(file, ask)


def load_array(
    path: str | Path, *, complex_valued: bool = False, white: float | None = None, black: float = 0.0
) -> Array:
    """Read a numeric array of any shape, such as a measurement that is no image; 8- and 16-bit integers become [0, 1].

    Args:
        path: `.npy`, `.npz`, HDF5 or Zarr, with `#PART` as in `images.numbers`. An `.npz` of several arrays has one
            called `measurement` or `image`, or the name is given.
        complex_valued: whether complex numbers are read, too, as two channels `(2, ...)`, real and imaginary part.
        white: the value of white, for integers of other types.
        black: the value of black.

    Returns:
        The array, float32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or an array that is not real and numeric.
    """
    array = read_numbers(path, pairs=complex_valued)
    if complex_valued and array.dtype.kind == "c":
        return np.stack([array.real, array.imag]).astype(np.float32)
    return scaled(array, split_part(path)[0], Ask(white=white, black=black))


def load_image(path: str | Path, *, mode: Mode | None = None, white: float | None = None, black: float = 0.0) -> Tensor:
    """Read an image; transparency is dropped.

    Args:
        path: an image file that Pillow can read, or an array in `.npy` or `.npz`: `(H, W)`, `(H, W, C)`, `(C, H, W)` or
            `(1, C, H, W)`, or another format of docs/files.md. `FILE#3` is the fourth picture of a stack.
        mode: "gray" for 1 channel, "rgb" for 3; by default as in the file.
        white: the value of white in the file; by default that of its type.
        black: the value of black in the file.

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
    return open_image(path, mode=mode, white=white, black=black).image


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
    loaded = open_image(path, mode=mode, missing_color=missing_color, tolerance=tolerance)
    return loaded.image, loaded.known


def open_image(
    path: str | Path,
    *,
    mode: Mode | None = None,
    missing_color: str | None = None,
    tolerance: int = 0,
    white: float | None = None,
    black: float = 0.0,
    scale: float = 1.0,
    known: Tensor | None = None,
    bounded: bool = True,
    mosaic: bool = False,
    stored: bool = False,
) -> Loaded:
    """Read an image with all that its file tells.

    Args:
        path: as in `load_image`.
        mode: as in `load_image`.
        missing_color: as in `load_image_and_mask`.
        tolerance: as in `load_image_and_mask`.
        white: as in `load_image`.
        black: as in `load_image`.
        scale: a factor of the values, applied before they are checked.
        known: the pixels that a mask calls known, `(H, W)`; others may be NaN and are read as 0.
        bounded: whether values far from [0, 1] are an error, where no white level is stated.
        mosaic: whether a camera's raw file is read as the values of its sensor.
        stored: whether the values of the file are kept, and its profile with them, instead of the working values.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as in `load_image_and_mask`.
    """
    if mode not in (None, "gray", "rgb"):
        raise ValueError(f"load_image: mode: expected 'gray', 'rgb' or None, got {mode!r}")
    content = read_content(path, Ask(white=white, black=black, mosaic=mosaic))
    color, alpha = split_alpha(content.pixels)
    if known is not None and tuple(known.shape) == color.shape[:2]:
        color = np.where(np.isnan(color) & ~known.numpy()[..., None], np.float32(0), color)
    check_finite(color, path)
    if stored:
        content = dataclasses.replace(content, kept=dataclasses.replace(content.kept, profile=None))
    if (profile := content.kept.profile) is not None:
        color = profile.to_working(color)
    color = color * np.float32(scale)
    if bounded and white is None and color.size and (peak := float(np.abs(color).max())) > _PLAUSIBLE:
        raise UserError(
            f"{path}: expected intensities in [0, 1], got values up to {peak:.4g}; divide by the white level: "
            "--white-level (white= in Python), and --black-level if black is not 0"
        )
    seen: NDArray[np.bool_] | None = None
    if alpha is not None:
        seen = alpha >= 0.5
    if missing_color is not None:
        marked = _of_color(color, missing_color, tolerance, path)
        seen = ~marked if seen is None else seen & ~marked
    if seen is not None and not seen.any():
        raise UserError(f"{path}: expected some known pixels, got none: all are transparent or of the marker's colour")
    if mode == "gray" and color.shape[2] == 3:
        color = (color @ GRAY)[..., None]
    elif mode == "rgb" and color.shape[2] == 1:
        color = np.repeat(color, 3, axis=2)
    image = torch.from_numpy(np.ascontiguousarray(color.transpose(2, 0, 1)))[None]
    mask = None if seen is None or seen.all() else torch.from_numpy(seen)
    return Loaded(image, mask, content.kept, content.notes)


def load_mask(path: str | Path, *, invert: bool = False, grow: int = 0) -> Tensor:
    """Read a mask: True (a known pixel) where the file is brighter than half of its brightest value.

    Black and white, 0 and 1, and the soft edges of a JPEG are all handled. In a file that is transparent in parts,
    transparent pixels are missing, and dark ones too if its opaque pixels are black and white.

    Args:
        path: an image file or an array, as in `load_image`.
        invert: whether bright pixels are the missing ones.
        grow: pixels by which missing regions are enlarged, as in `grow_mask`.

    Returns:
        A boolean mask, `(H, W)`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no image, or a mask that marks no pixel as known.
    """
    pixels, alpha = split_alpha(read_content(path, Ask(raw=True)).pixels)
    check_finite(pixels, path)
    gray = pixels[..., 0] if pixels.shape[2] == 1 else pixels @ GRAY
    peak = float(gray.max())
    bright = gray > 0.5 * peak if peak > 0 else np.zeros(gray.shape, bool)
    if alpha is not None and alpha.min() < alpha.max():
        opaque = alpha >= 0.5 * alpha.max()
        levels = gray[opaque] / (peak or 1.0)
        two = bool(((levels < 0.1) | (levels > 0.9)).all()) and levels.min() < 0.1 < 0.9 < levels.max()
        bright = bright & opaque if two else opaque
    known = ~bright if invert else bright
    if not known.any():
        hint = "leave --mask-invert out" if invert else "paint known pixels white, or invert it with --mask-invert"
        raise UserError(f"{path}: mask: expected some known pixels, got none; {hint}")
    return grow_mask(torch.from_numpy(known), grow)


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
