"""Images from files and back: float tensors `(1, C, H, W)` with intensities in [0, 1].

8-bit values are divided by 255 and 16-bit values by 65535; floating-point values are unchanged. Orientation tags of
cameras are applied, palettes are converted to colours, and CMYK to RGB. Of several frames the first is used. Pillow
reads 16-bit colour as 8-bit.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError
from torch import Tensor

from .atomic import atomic_path
from .errors import UserError

Mode = Literal["gray", "rgb"]
Array = NDArray[np.float32]
ARRAYS = (".npy", ".npz")
# Measurements are noisy and may leave [0, 1]; beyond this bound an image was certainly not scaled to [0, 1].
_PLAUSIBLE = 2.0
_GRAY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in Pillow's own conversion to "L"


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
        color, alpha = _split_alpha(_channels_last(load_array(path), path))
    else:
        color, alpha = _split_alpha(_pixels(path))
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
        color = (color @ _GRAY)[..., None]
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
        pixels, _ = _split_alpha(_channels_last(load_array(path), path))
    else:
        pixels, _ = _split_alpha(_pixels(path))
    check_finite(pixels, path)
    gray = pixels[..., 0] if pixels.shape[2] == 1 else pixels @ _GRAY
    peak = float(gray.max())
    bright = gray > 0.5 * peak if peak > 0 else np.zeros(gray.shape, bool)
    known = ~bright if invert else bright
    if not known.any():
        hint = "leave --mask-invert out" if invert else "paint known pixels white, or invert it with --mask-invert"
        raise UserError(f"{path}: mask: expected some known pixels, got none; {hint}")
    return torch.from_numpy(known)


def load_array(path: str | Path, *, complex_valued: bool = False) -> Array:
    """Read a numeric array from `.npy` or `.npz`; 8- and 16-bit integers are scaled to [0, 1].

    Args:
        path: the file. An `.npz` must hold one array, or one called `measurement` or `image`.
        complex_valued: whether complex numbers are read, too, as two channels `(2, ...)`, real and imaginary part.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or an array that is not real and numeric.
    """
    _check_is_file(path)
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                array = found[_pick_array(list(found.files), path)]
        else:
            array = found
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if str(error).startswith(str(path)):
            raise
        if "pickle" in str(error) and not str(error).startswith("Object arrays"):  # its message for any other file
            raise UserError(f"{path}: cannot be read as a numpy array: it is none, or damaged") from error
        raise UserError(f"{path}: cannot be read as a numpy array: {_first_line(error)}") from error
    if complex_valued and array.dtype.kind == "c":
        return np.stack([array.real, array.imag]).astype(np.float32)
    return _scaled(array, path)


def save_image(x: Tensor, path: str | Path, *, bits: int = 8) -> None:
    """Write an image atomically; values are clipped to [0, 1] and rounded to the nearest level.

    Args:
        x: `(1, C, H, W)`, `(C, H, W)` or `(H, W)`, with 1 or 3 channels.
        path: a name whose suffix gives the format (png, tif, jpg, webp, ...), or `.npy` for the array itself,
            unclipped.
        bits: 8, or 16 for gray images in png or tif.

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
    if bits == 16 and (array.shape[2] != 1 or suffix not in (".png", ".tif", ".tiff")):
        raise UserError(
            f"save_image: bits: 16 are for gray images in png or tif, got {array.shape[2]} channels and {suffix!r}; "
            "use .npy to keep more than 8 bits"
        )
    levels = np.rint(np.clip(array, 0, 1) * (2**bits - 1)).astype(np.uint16 if bits == 16 else np.uint8)
    write_picture(Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels), path)


def write_picture(picture: Image.Image, path: str | Path) -> None:
    """Write a Pillow image atomically, in the format of the name's suffix."""
    suffix = Path(path).suffix.lower()
    known = Image.registered_extensions()
    if suffix not in known or known[suffix] not in Image.SAVE:
        raise UserError(
            f"{path}: expected a name that ends in an image format such as .png, got {suffix or 'no ending'!r}"
        )
    options: dict[str, int] = {"quality": 95} if known[suffix] in ("JPEG", "WEBP") else {}
    with atomic_path(path) as temporary:
        picture.save(temporary, format=known[suffix], **options)


def check_finite(array: Array, path: str | Path) -> None:
    """Raise a ValueError that counts NaN and infinite values and gives the position of the first one."""
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise UserError(
            f"{path}: expected finite values, got {int(bad.sum())} NaN or infinite, the first at {where}; "
            "set them to any number and mark them as missing with --operator inpainting --mask"
        )


def _check_is_file(path: str | Path) -> None:
    p = Path(path)
    if p.is_dir():
        raise IsADirectoryError(f"{path}: expected an image file, got a folder; name one file in it")
    if not p.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if p.is_file() and p.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes)")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _pixels(path: str | Path) -> Array:
    """Return `(H, W, C)` of an image file, with alpha as the last of 2 or 4 channels."""
    _check_is_file(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns from 90 megapixels on and refuses twice that; photographs of such size are legitimate.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                opened.load()
                picture = ImageOps.exif_transpose(opened)
    except UnidentifiedImageError as error:
        if Path(path).suffix.lower() in (".tif", ".tiff"):
            return _tiff(path)
        raise UserError(
            f"{path}: not an image that can be read; expected PNG, JPEG, TIFF, WebP, BMP, .npy or the like"
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path}: the image is too large: {_first_line(error)}; make it smaller or cut it into pieces"
        ) from error
    except PermissionError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise UserError(f"{path}: the image cannot be read, it may be damaged: {_first_line(error)}") from error
    return _convert(picture, path)


def _tiff(path: str | Path) -> Array:
    """Return `(H, W, C)` of a TIFF that Pillow cannot read, such as one of floating-point colour."""
    import tifffile  # comes with scikit-image

    try:
        array = np.asarray(tifffile.imread(path, key=0))
    except Exception as error:  # its errors have no common base class
        raise UserError(f"{path}: not a TIFF that can be read: {_first_line(error)}") from error
    return _channels_last(_scaled(array, path), path)


def _convert(picture: Image.Image, path: str | Path) -> Array:
    mode = picture.mode
    if mode in ("I", "F") or mode.startswith("I;"):
        # Older versions of Pillow open 16-bit files in the 32-bit mode "I".
        return _scaled(np.asarray(picture), path, white=65535)[..., None]
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


def _scaled(array: NDArray[Any], path: str | Path, *, white: int | None = None) -> Array:
    """Return the array in float32, integers divided by their white level."""
    if array.dtype == bool or array.dtype.kind == "f":
        return array.astype(np.float32)
    low, high = (int(array.min()), int(array.max())) if array.dtype.kind in "ui" and array.size else (-1, -1)
    if low >= 0 and high <= 65535:
        # Arithmetic turns 8- and 16-bit images into integers of 32 or 64 bits.
        by_type = {"uint8": 255, "uint16": 65535}.get(array.dtype.name, 255 if high <= 255 else 65535)
        return (array.astype(np.float64) / (white or by_type)).astype(np.float32)
    raise UserError(
        f"{path}: expected floats, or integers of 8 or 16 bits, got {array.dtype}"
        + (f" in [{low}, {high}]" if array.dtype.kind in "ui" else "")
        + "; convert it to floats in [0, 1]"
    )


def _channels_last(array: Array, path: str | Path) -> Array:
    shape = array.shape
    if array.ndim == 4 and shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim == 3 and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or array.size == 0:
        raise UserError(f"{path}: expected shape (H, W), (H, W, C), (C, H, W) or (1, C, H, W), C = 1 or 3, got {shape}")
    return array


def _split_alpha(array: Array) -> tuple[Array, Array | None]:
    return (array[..., :-1], array[..., -1]) if array.shape[2] in (2, 4) else (array, None)


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


def _pick_array(names: list[str], path: str | Path) -> str:
    if len(names) == 1:
        return names[0]
    for name in ("measurement", "image"):
        if name in names:
            return name
    raise UserError(
        f"{path}: expected one array, or one called 'measurement' or 'image', got {', '.join(names) or 'none'}"
    )
