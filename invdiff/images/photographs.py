"""Image files that Pillow reads: orientation applied, profile converted to the working values, resolution kept."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ..errors import UserError, first_line
from .content import Content, Kept
from .conversions import ORIENTATION, Array, Ask, check_is_file, natural_white, scaled, upright
from .deep import read_deep
from .parts import number_of
from .profiles import described

REMEDIES = {
    ".czi .nd2 .lif .oib .oif .vsi .ims .dv .sld": "save it as OME-TIFF, as Fiji with Bio-Formats does",
    ".svs .ndpi .scn .mrxs": "save a part of the slide as TIFF, as QuPath does",
    ".exr .hdr .rgbe": "save it as TIFF with floating-point values",
    ".mat .cfl .rec .par .img .raw .bin .dat .seq": "save its array as .npy, with numpy.save",
    ".nrrd .nhdr .mha .mhd .mgz": "save it as NIfTI (.nii.gz)",
    ".mrc .map .st .ali .dm3 .dm4 .ser": "save it as TIFF with floating-point values, or its array as .npy",
    ".jxl .jxr .wdp": "save it as PNG or TIFF with 16 bits",
    ".xcf .kra .psb .ai .svg .pdf .eps": "export it as PNG",
}
"""What to do with files that are not read, by the ends of their names."""


def read_photograph(path: Path, ask: Ask) -> Content:
    """Return one picture of a file that Pillow reads."""
    check_is_file(path)
    deep = read_deep(path)
    picture = _open(path, ask.part, turned=deep is None)
    notes: list[str] = []
    if deep is not None:
        array = upright(deep[0], picture.getexif().get(ORIENTATION, 1))
        white, bits = deep[1], 16
        pixels = scaled(array, path, ask, white=white)
    else:
        picture, note = _from_print(picture)
        notes += note
        pixels, white, bits = _convert(picture, path, ask)
    info = {k: picture.info[k] for k in ("icc_profile", "dpi") if picture.info.get(k)}
    exif = picture.getexif()
    exif.pop(ORIENTATION, None)
    if len(exif):
        info["exif"] = exif.tobytes()
    profile, said = described(info.get("icc_profile"), pixels.shape[2])
    black, white = ask.levels(white)
    return Content(pixels, Kept("", ".png", bits, black, white, profile, info), (*notes, *said))


def _open(path: Path, part: str, *, turned: bool) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns from 90 megapixels on and refuses twice that; photographs of such size are legitimate.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                # Cameras store a preview or a depth map behind the photograph (MPO), icons are
                # of several sizes, and the layers of a PSD stand behind the whole.
                frames = 1 if opened.format in ("MPO", "ICO", "ICNS", "PSD") else getattr(opened, "n_frames", 1)
                if number := number_of(part, frames, path, "frames"):
                    opened.seek(number)
                opened.load()
                return ImageOps.exif_transpose(opened) if turned else opened.copy()
    except UserError:
        raise
    except UnidentifiedImageError as error:
        remedy = next((r for ends, r in REMEDIES.items() if path.name.lower().endswith(tuple(ends.split()))), "")
        raise UserError(
            f"{path}: not an image that can be read; expected PNG, JPEG, TIFF, WebP, BMP, .npy or the like"
            f"{remedy and '; '}{remedy}"
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path}: the image is too large: {first_line(error)}; make it smaller or cut it into pieces"
        ) from error
    except PermissionError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise UserError(f"{path}: the image cannot be read, it may be damaged: {first_line(error)}") from error


def _from_print(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """Return an image in the colours of print as sRGB, by its profile if it has one."""
    icc = picture.info.pop("icc_profile", None) if picture.mode in ("CMYK", "LAB") else None
    if icc is None:
        plain = f"converted from {picture.mode} to RGB without a profile, of which it has none; results are RGB"
        return picture, [plain] if picture.mode in ("CMYK", "LAB") else []
    import io

    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    made = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert made is not None
    made.info = {k: v for k, v in picture.info.items() if k != "icc_profile"}
    return made, [f"converted from {picture.mode} to sRGB by its profile, with 8 bits; results are sRGB"]


def _convert(picture: Image.Image, path: str | Path, ask: Ask) -> tuple[Array, float, int]:
    """Return the pixels, the file's own value of white, and its depth."""
    mode = picture.mode
    if mode in ("I", "F") or mode.startswith("I;"):
        # Older versions of Pillow open 16-bit files in the 32-bit mode "I".
        array = np.asarray(picture)
        white = 1.0 if array.dtype.kind == "f" else 65535.0
        if white > 1 and not (int(array.min()) >= 0 and int(array.max()) <= 65535):
            white = natural_white(array, path, ask)  # more than 16 bits: an error, unless white is stated
        return scaled(array, path, ask, white=white)[..., None], white, 32 if white == 1 else 16
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
    stored = np.asarray(picture.convert(target))
    array = scaled(stored, path, ask)
    if ask.white is not None and array.ndim == 3 and array.shape[2] in (2, 4):
        array[..., -1] = stored[..., -1] / 255  # opacity has no levels of its own
    if array.ndim == 2:
        return array[..., None], 255, 8
    if mode in ("P", "PA") and (array[..., :3] == array[..., :1]).all():
        return array[..., [0, *range(3, array.shape[2])]], 255, 8  # a palette of grays
    return array, 255, 8
