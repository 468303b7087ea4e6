"""What a reader returns, the contract of a format, and the table of formats.

A format is a class with `suffixes`, `read`, and, where that is honest, `write`. Another package adds one by an entry
point of the group `invdiff.formats`; for one process `formats.register` does.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..entry import Entry
from ..errors import UserError
from ..registry import Registry
from .conversions import Array, Ask
from .profiles import Profile


@dataclass(frozen=True)
class Kept:
    """What a file holds besides its pixels, to be written back.

    Attributes:
        format: name of the format whose `write` takes it; "" for PNG alone.
        suffix: of the file that `write` makes.
        bits: depth of the pixels: 8, 16, or 32 for floating point.
        black: value of black in the file.
        white: value of white.
        profile: the colour space of the file, where it is not that of the working values.
        info: options of Pillow's `save`: `dpi`, `exif`, `icc_profile`.
        header: header, data set or tags of the format.
    """

    format: str = ""
    suffix: str = ""
    bits: int = 8
    black: float = 0.0
    white: float = 1.0
    profile: Profile | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    header: Any = None

    def unscaled(self, x: Array) -> Array:
        """Return pixels in the units of the file."""
        return np.asarray(x.astype(np.float64) * (self.white - self.black) + self.black, dtype=np.float32)


@dataclass(frozen=True)
class Content:
    """One picture of a file.

    Attributes:
        pixels: `(H, W, C)`, with alpha as the last of 2 or 4 channels.
        kept: what is written back.
        notes: what the user should know about the reading.
    """

    pixels: Array
    kept: Kept = field(default_factory=Kept)
    notes: tuple[str, ...] = ()


class Format(abc.ABC):
    """A family of image files.

    Attributes:
        suffixes: ends of the files' names.
        needs: module that reads it, if that is no dependency of the package but of its extra `science`.
    """

    suffixes: ClassVar[tuple[str, ...]]
    needs: ClassVar[str] = ""

    @abc.abstractmethod
    def read(self, path: Path, ask: Ask) -> Content:
        """Return one picture of an existing file."""

    def write(self, pixels: Array, path: Path, kept: Kept) -> None:
        """Write pixels `(H, W, C)`, in working values, to a new file with what was kept of the read one."""
        raise UserError(f"{path}: this format is read, not written; write .png, .tif or .npy")


def _entry(module: str, name: str, suffixes: str, summary: str) -> FormatEntry:
    return FormatEntry(f"invdiff.images.{module}:{name}", summary, suffixes=tuple(suffixes.split()))


@dataclass(frozen=True)
class FormatEntry(Entry):
    """The location of a format, and what its class says of itself.

    Attributes:
        suffixes: ends of the files' names.
        needs: module that reads it, "" for a dependency of the package.
        writes: whether results are written back in it.
    """

    suffixes: tuple[str, ...] = ()
    needs: str = ""
    writes: bool = False

    @classmethod
    def of(cls, found: Any, entry: Entry) -> FormatEntry:
        """Return an entry with the facts of a format's class."""
        written = getattr(found, "write", Format.write) is not Format.write
        return cls(
            entry.target, entry.summary, entry.source, tuple(found.suffixes), getattr(found, "needs", ""), written
        )


formats: Registry[FormatEntry] = Registry(
    "format",
    "invdiff.formats",
    {
        "numpy": _entry("arrays", "Numpy", ".npy .npz", "arrays of numpy"),
        "tiff": _entry("tiff", "Tiff", ".tif .tiff .btf .lsm", "TIFF, also OME-TIFF, of any depth"),
        "fits": _entry("fits", "Fits", ".fits .fit .fts .fits.gz .fits.fz", "astronomy, by astropy"),
        "dicom": _entry("dicom", "Dicom", ".dcm .dicom .ima", "radiology, by pydicom"),
        "nifti": _entry("nifti", "Nifti", ".nii .nii.gz", "MRI and brain images, by nibabel"),
        "hdf5": _entry("hdf", "Hdf5", ".h5 .hdf5 .hdf .nxs", "one array of an HDF5 file, by h5py"),
        "zarr": _entry("hdf", "Zarr", ".zarr .zarr.zip", "one array of a Zarr archive, by zarr"),
        "raw": _entry("camera", "Raw", ".dng .nef .cr2 .cr3 .arw .raf .orf .rw2 .pef .srw", "cameras, by rawpy"),
        "heif": _entry("camera", "Heif", ".heic .heif .hif", "phones, by pillow-heif"),
    },
    FormatEntry,
)
"""The formats by name. Other files go to Pillow."""


def format_of(path: Path) -> tuple[str, Format] | None:
    """Return the name and the format of a file by the end of its name, or `None` where Pillow takes it.

    DICOM files, which often have no such end, are known by their mark.
    """
    name = path.name.lower()
    for key, entry in formats.entries().items():
        if name.endswith(formats.described(entry).suffixes):
            found: Format = entry.load()()
            return key, found
    if path.is_file():
        with path.open("rb") as file:
            if file.read(132)[128:] == b"DICM":
                dicom: Format = formats["dicom"]()
                return "dicom", dicom
    return None
