"""DICOM by pydicom: CT in Hounsfield units by slope and intercept, other images by their stored bits.

Lossless JPEG and JPEG-LS, which pydicom leaves to further packages, are decoded by imagecodecs.
Results are written as derived images: identifiers of patient and study are kept, those of series and image are new.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, first_line
from .content import Content, Format, Kept
from .conversions import Array, Ask, scaled
from .extras import library
from .parts import number_of


class Dicom(Format):
    """DICOM: one frame of one file."""

    suffixes = (".dcm", ".dicom", ".ima")
    needs = "pydicom"

    def read(self, path: Path, ask: Ask) -> Content:
        """Return one frame."""
        pydicom = library("pydicom", path)
        try:
            data = pydicom.dcmread(path)
            number = number_of(ask.part, int(data.get("NumberOfFrames", 1) or 1), path, "frames")
            frame = _frame(data, number, path)
        except UserError:
            raise
        except Exception as error:  # pydicom and its decoders raise many types
            raise UserError(f"{path}: not a DICOM image that can be read: {first_line(error)}") from error
        slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
        values = frame * slope + intercept if (slope, intercept) != (1.0, 0.0) else frame
        hounsfield = data.get("Modality") == "CT" or data.get("RescaleType") == "HU"
        own = 1.0 if hounsfield else (2.0 ** int(data.BitsStored) - 1) * slope + intercept
        notes: tuple[str, ...] = ()
        if hounsfield:
            notes = ("values are Hounsfield units; --black-level and --white-level give those of 0 and 1",)
        black, white = ask.levels(own)
        pixels = scaled(np.asarray(values), path, ask, white=own)
        if data.PhotometricInterpretation == "MONOCHROME1" and not ask.raw:
            pixels, black, white = 1 - pixels, white, black
        gray = pixels.ndim == 2
        kept = Kept("dicom" if gray else "", ".dcm", 16 if int(data.BitsStored) > 8 else 8, black, white, header=data)
        return Content(pixels[..., None] if gray else pixels, kept, notes)

    def write(self, pixels: Array, path: Path, kept: Kept) -> None:
        """Write a gray image in the units of the file, rounded to its stored integers."""
        pydicom = library("pydicom", path)
        data = copy.deepcopy(kept.header)
        slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
        bits, signed = int(data.BitsStored), int(data.PixelRepresentation) == 1
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        stored = np.clip(np.rint((kept.unscaled(pixels)[..., 0] - intercept) / slope), low, high)
        kind = f"{'<i' if signed else '<u'}{int(data.BitsAllocated) // 8}"
        del data.PixelData  # with the marks of its compression
        data.add_new("PixelData", "OW", stored.astype(kind).tobytes())
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        if "NumberOfFrames" in data:
            data.NumberOfFrames = 1
        data.ImageType = ["DERIVED", "SECONDARY"]
        data.DerivationDescription = "reconstructed by invdiff"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        data.SeriesInstanceUID = pydicom.uid.generate_uid()
        data.save_as(path, little_endian=True, implicit_vr=False, overwrite=True)


DECODERS = {
    "1.2.840.10008.1.2.4.57": "jpegsof3_decode",  # lossless JPEG, of most scanners
    "1.2.840.10008.1.2.4.70": "jpegsof3_decode",
    "1.2.840.10008.1.2.4.80": "jpegls_decode",
    "1.2.840.10008.1.2.4.81": "jpegls_decode",
}
"""Decoders of imagecodecs by transfer syntax."""


def _frame(data: Any, number: int, path: Path) -> NDArray[Any]:
    """Return one frame, `(H, W)` or `(H, W, 3)`."""
    decoder = DECODERS.get(data.file_meta.TransferSyntaxUID)
    if decoder is None or int(data.SamplesPerPixel) > 1:
        return np.asarray(library("pydicom.pixels", path).pixel_array(data, index=number))
    codecs, count = library("imagecodecs", path), int(data.get("NumberOfFrames", 1) or 1)
    stored = library("pydicom.encaps", path).get_frame(data.PixelData, number, number_of_frames=count)
    frame = np.asarray(getattr(codecs, decoder)(stored)).astype(np.int64)
    if int(data.PixelRepresentation) == 1:  # two's complement of the stored bits
        sign = 1 << (int(data.BitsStored) - 1)
        frame = ((frame & (2 * sign - 1)) ^ sign) - sign
    return frame
