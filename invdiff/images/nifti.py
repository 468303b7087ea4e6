"""NIfTI by nibabel: one slice of the third axis, indices as in nibabel's arrays, affine and header kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import UserError, first_line
from .content import Content, Format, Kept
from .conversions import Array, Ask, natural_white, scaled
from .extras import library
from .parts import number_of


class Nifti(Format):
    """NIfTI: pixel (i, j) of slice k is the value [i, j, k] of nibabel."""

    suffixes = (".nii", ".nii.gz")
    needs = "nibabel"

    def read(self, path: Path, ask: Ask) -> Content:
        """Return one slice, with slope and intercept applied."""
        nibabel = library("nibabel", path)
        try:
            volume = nibabel.load(path)
            shape = volume.shape
            if len(shape) < 2:
                raise UserError(f"{path}: expected an image, got shape {shape}")
            number = number_of(ask.part, int(np.prod(shape[2:], dtype=int)), path)
            index = np.unravel_index(number, shape[2:]) if len(shape) > 2 else ()
            array = np.asanyarray(volume.dataobj[(slice(None), slice(None), *index)])
        except UserError:
            raise
        except Exception as error:  # nibabel raises many types
            raise UserError(f"{path}: not a NIfTI file that can be read: {first_line(error)}") from error
        black, white = ask.levels(natural_white(array, path, ask))
        affine = volume.affine.copy()
        affine[:3, 3] += affine[:3, 2] * (int(index[0]) if index else 0)
        kept = Kept("nifti", ".nii.gz", 32, black, white, header=(volume.header.copy(), affine))
        return Content(scaled(array, path, ask)[..., None], kept)

    def write(self, pixels: Array, path: Path, kept: Kept) -> None:
        """Write a volume of one slice in the units of the file, at its place in space."""
        nibabel = library("nibabel", path)
        header, affine = kept.header
        header = header.copy()
        header.set_data_dtype(np.float32)
        nibabel.Nifti1Image(kept.unscaled(pixels)[..., :1], affine, header).to_filename(path)
