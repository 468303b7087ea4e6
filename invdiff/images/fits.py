"""FITS by astropy: rows as in the file and in astropy's arrays, header and WCS kept and written back.

Row 0 is the first row of the file. DS9 shows it at the bottom, the PNG files of a result at the top.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import UserError, first_line
from .content import Content, Format, Kept
from .conversions import Array, Ask, natural_white, scaled
from .extras import library
from .parts import chosen


class Fits(Format):
    """FITS: the first image of the file; a cube needs `#`."""

    suffixes = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")
    needs = "astropy"

    def read(self, path: Path, ask: Ask) -> Content:
        """Return one image, with BSCALE and BZERO applied."""
        fits = library("astropy.io.fits", path)
        try:
            with fits.open(path) as hdus:
                hdu = next((h for h in hdus if h.is_image and h.data is not None and h.data.ndim >= 2), None)
                if hdu is None:
                    raise UserError(f"{path}: expected an image, got a FITS file without one; export its table")
                array, header = np.asarray(hdu.data), hdu.header.copy()
        except (OSError, ValueError, TypeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path}: not a FITS file that can be read: {first_line(error)}") from error
        array = chosen(array, ask.part, path)
        array = array.astype(array.dtype.newbyteorder("="))
        black, white = ask.levels(natural_white(array, path, ask))
        kept = Kept("fits", ".fits", 32, black, white, header=header)
        note = "rows are in the order of the FITS file: the first one is at the top of PNG files, at the bottom in DS9"
        return Content(scaled(array, path, ask)[..., None], kept, (note,))

    def write(self, pixels: Array, path: Path, kept: Kept) -> None:
        """Write a gray image in the units of the file, with its header and WCS."""
        fits = library("astropy.io.fits", path)
        header = kept.header.copy()
        for key in ("BSCALE", "BZERO", "BLANK", "DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM", "XTENSION"):
            header.remove(key, ignore_missing=True)
        header.add_history("reconstructed by invdiff")
        fits.PrimaryHDU(kept.unscaled(pixels)[..., 0], header).writeto(path, output_verify="silentfix+ignore")
