"""Raw files of cameras by rawpy, and HEIC by pillow-heif.

A raw file is developed to 16-bit sRGB with the white balance of the camera. For the operator `demosaic` the values of
the sensor are read instead, from the black to the white level that the file states.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ..errors import UserError, first_line
from .content import Content, Format, Kept
from .conversions import Ask, scaled
from .extras import library
from .profiles import described


@dataclasses.dataclass(frozen=True)
class Mosaic:
    """The colours of the first 2 x 2 pixels of a sensor, as the operator `demosaic` takes them."""

    pattern: str


class Raw(Format):
    """Raw files of cameras, read only."""

    suffixes = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw")
    needs = "rawpy"

    def read(self, path: Path, ask: Ask) -> Content:
        """Return the developed picture, `(H, W, 3)`, or the mosaic, `(H, W, 1)`."""
        rawpy = library("rawpy", path)
        try:
            with rawpy.imread(str(path)) as raw:
                if not ask.mosaic:
                    picture = raw.postprocess(output_bps=16, use_camera_wb=True, no_auto_bright=True)
                    return Content(scaled(picture, path, ask), Kept(bits=16, white=65535.0))
                sensor, blacks = raw.raw_image_visible.copy(), raw.black_level_per_channel
                letters = raw.color_desc.decode()
                pattern = "".join(letters[i] for i in raw.raw_pattern.ravel())
                black = np.asarray(blacks)[raw.raw_colors_visible].astype(np.float64)
                white = float(raw.white_level)
        except UserError:
            raise
        except Exception as error:  # rawpy's errors have no common base class
            raise UserError(f"{path}: not a raw file that can be read: {first_line(error)}") from error
        low = black if ask.black == 0 else ask.black
        high = white if ask.white is None else ask.white
        pixels = ((sensor - low) / (high - low)).astype(np.float32)
        note = f"values of the sensor, black {float(np.mean(low)):g}, white {high:g}, pattern {pattern.lower()}"
        return Content(
            pixels[..., None],
            Kept(bits=16, black=float(np.mean(low)), white=high, header=Mosaic(pattern.lower())),
            (note,),
        )


class Heif(Format):
    """HEIC of phones, 8 to 12 bits, read only."""

    suffixes = (".heic", ".heif", ".hif")
    needs = "pillow_heif"

    def read(self, path: Path, ask: Ask) -> Content:
        """Return the main picture; the library turns it upright."""
        heif = library("pillow_heif", path)
        try:
            opened = heif.open_heif(path, convert_hdr_to_8bit=False, bgr_mode=False)
            array = np.asarray(opened)
            icc = opened.info.get("icc_profile") or None
            bits = int(opened.info.get("bit_depth") or 8)
        except Exception as error:  # the errors of libheif have no common base class
            raise UserError(f"{path}: not a HEIC file that can be read: {first_line(error)}") from error
        # The library shifts 10 and 12 bits to the top of 16.
        white = 255.0 if array.dtype == np.uint8 else float((2**bits - 1) << (16 - bits))
        pixels = scaled(array, path, ask, white=white)
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        profile, notes = described(icc, pixels.shape[2])
        return Content(
            pixels,
            Kept("", ".png", 8 if white == 255 else 16, 0.0, white, profile, {"icc_profile": icc} if icc else {}),
            notes,
        )
