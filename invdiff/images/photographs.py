"""Image files that Pillow reads."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UserError
from .conversions import Array, check_is_file, first_line, scaled
from .tiff import read_tiff


def read_pixels(path: str | Path) -> Array:
    """Return `(H, W, C)` of an image file, with alpha as the last of 2 or 4 channels."""
    check_is_file(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns from 90 megapixels on and refuses twice that; photographs of such size are legitimate.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                opened.load()
                picture = ImageOps.exif_transpose(opened)
    except UnidentifiedImageError as error:
        if Path(path).suffix.lower() in (".tif", ".tiff"):
            return read_tiff(path)
        raise UserError(
            f"{path}: not an image that can be read; expected PNG, JPEG, TIFF, WebP, BMP, .npy or the like"
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path}: the image is too large: {first_line(error)}; make it smaller or cut it into pieces"
        ) from error
    except PermissionError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise UserError(f"{path}: the image cannot be read, it may be damaged: {first_line(error)}") from error
    return _convert(picture, path)


def _convert(picture: Image.Image, path: str | Path) -> Array:
    mode = picture.mode
    if mode in ("I", "F") or mode.startswith("I;"):
        # Older versions of Pillow open 16-bit files in the 32-bit mode "I".
        return scaled(np.asarray(picture), path, white=65535)[..., None]
    clear = "transparency" in picture.info
    if mode == "1":
        target = "L"
    elif mode in ("L", "RGB"):
        target = {"L": "LA", "RGB": "RGBA"}[mode] if clear else mode
    elif mode in ("LA", "La"):
        target = "LA"
    elif mode in ("P", "PA", "RGBA", "RGBa"):
        target = "RGBA" if clear or mode != "P" else "RGB"
    else:  # CMYK, YCbCr, LAB, HSV, RGBX: all are colour
        target = "RGB"
    if mode == "La":
        picture = picture.convert("LA")
    array: Array = np.asarray(picture.convert(target), dtype=np.float32) / np.float32(255)
    if array.ndim == 2:
        return array[..., None]
    if mode in ("P", "PA") and (array[..., :3] == array[..., :1]).all():
        return array[..., [0, *range(3, array.shape[2])]]  # a palette of grays
    return array
