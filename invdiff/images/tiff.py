"""TIFF by tifffile: 16-bit and floating-point pixels, stacks, OME-TIFF. Single 8-bit pictures go to Pillow.

Axes other than height, width and colour samples are counted in the order of the file.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, first_line
from .content import Content, Format, Kept
from .conversions import ORIENTATION, Array, Ask, natural_white, scaled, upright
from .parts import number_of
from .photographs import read_photograph
from .profiles import described

_ICC = 34675
_PLAIN = (0, 1, 2, 32803, 34892)  # gray, RGB and the mosaics of sensors; others are palettes and colours of print


class Tiff(Format):
    """TIFF of any depth."""

    suffixes = (".tif", ".tiff", ".btf", ".lsm")

    def read(self, path: Path, ask: Ask) -> Content:
        """Return one picture."""
        import tifffile  # comes with scikit-image

        try:
            with tifffile.TiffFile(path) as tif:
                if _is_photograph(tif):
                    return read_photograph(path, ask)
                _check_colors(tif.pages[0], path)
                array, page = _page(tif, ask.part, path)
                notes = _plane_note(tif, ask.part, path)
                tags = {code: page.tags[code].value for code in (_ICC, ORIENTATION) if code in page.tags}
                dpi = _dpi(page)
                inverted = int(page.photometric) == 0
        except UserError:
            raise
        except Exception as error:  # its errors have no common base class
            extra = "; install invdiff[science], or save it without compression" if "imagecodecs" in str(error) else ""
            raise UserError(f"{path}: not a TIFF that can be read: {first_line(error)}{extra}") from error
        found = _content(upright(array, tags.get(ORIENTATION, 1)), path, ask, tags.get(_ICC), dpi, inverted)
        return dataclasses.replace(found, notes=(*notes, *found.notes))

    def write(self, pixels: Array, path: Path, kept: Kept) -> None:
        """Write pixels at the depth of the read file, with its profile and resolution."""
        import tifffile

        values = kept.unscaled(pixels)
        if kept.bits != 32:
            values = np.rint(np.clip(values, 0, 2**kept.bits - 1)).astype(np.uint8 if kept.bits == 8 else np.uint16)
        color = pixels.shape[2] == 3
        resolution: dict[str, Any] = {}
        if "dpi" in kept.info:
            resolution = {"resolution": kept.info["dpi"], "resolutionunit": "INCH"}
        tifffile.imwrite(
            path,
            values if color else values[..., 0],
            photometric="rgb" if color else "minisblack",
            metadata=None,
            iccprofile=kept.info.get("icc_profile"),
            **resolution,
        )


def _content(
    array: NDArray[Any], path: Path, ask: Ask, icc: bytes | None, dpi: tuple[float, float] | None, inverted: bool
) -> Content:
    if array.dtype.name == "int32" and int(array.min()) >= 0 and int(array.max()) <= 65535:
        array = array.astype(np.uint16)  # as Pillow writes 16-bit pixels of its mode "I"
    black, white = ask.levels(natural_white(array, path, ask))
    pixels = scaled(array, path, ask)
    if inverted and not ask.raw:
        pixels, black, white = 1 - pixels, white, black
    pixels = np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None])
    if pixels.shape[2] not in (1, 2, 3, 4):
        raise UserError(f"{path}: expected 1 or 3 channels, with or without alpha, got {pixels.shape[2]}")
    bits = {"uint8": 8, "uint16": 16}.get(array.dtype.name, 32)
    info = {k: v for k, v in (("icc_profile", icc), ("dpi", dpi)) if v is not None}
    profile, notes = described(icc, pixels.shape[2])
    return Content(pixels, Kept("tiff" if bits > 8 else "", ".tif", bits, black, white, profile, info), notes)


def _check_colors(page: Any, path: Path) -> None:
    if int(page.photometric) not in _PLAIN:
        raise UserError(
            f"{path}: expected gray or RGB with more than 8 bits, got {page.photometric.name}; convert it to RGB"
        )


def _is_photograph(tif: Any) -> bool:
    """Return whether Pillow reads it completely: 8 bits or less, one page or colours other than gray and RGB."""
    page = tif.pages[0]
    shallow = page.dtype is None or page.dtype.name in ("uint8", "bool")
    plain = int(page.photometric) in _PLAIN
    return shallow and (not plain or (len(tif.pages) == 1 and page.samplesperpixel <= 4 and page.planarconfig == 1))


def _page(tif: Any, part: str, path: Path) -> tuple[NDArray[Any], Any]:
    """Return one picture `(H, W)` or `(H, W, C)` and its page."""
    series = tif.series[0]
    axes, shape = series.axes, series.shape
    count = int(np.prod([n for axis, n in zip(axes, shape, strict=True) if axis not in "YXS"], dtype=int))
    if len(tif.series) > 1:  # pictures of several sizes, such as a thumbnail
        number = number_of(part, len(tif.pages), path, "pictures")
        return _samples_last(tif.pages[number].asarray(), tif.pages[number].axes), tif.pages[number]
    if part and _planes(tif):
        return series.asarray()[number_of(part, shape[0], path, "planes")], tif.pages[0]
    number = number_of(part, count, path)
    single = _single_page(series, number, count)
    if single is not None:
        return single, tif.pages[0]
    array = series.asarray()
    order = [i for i, axis in enumerate(axes) if axis not in "YXS"]
    order += [axes.index(axis) for axis in "YXS" if axis in axes]
    array = array.transpose(order)
    return array.reshape(-1, *array.shape[array.ndim - (3 if "S" in axes else 2) :])[number], tif.pages[0]


def _planes(tif: Any) -> int:
    """Return the number of planes of a picture whose colours stand behind each other, 0 if there are none.

    Many programs write a stack of three or four slices so, without saying that they are none of colours.
    """
    series = tif.series[0]
    return int(series.shape[0]) if len(tif.series) == 1 and series.axes == "SYX" else 0


def _plane_note(tif: Any, part: str, path: Path) -> tuple[str, ...]:
    planes = _planes(tif)
    if part or planes < 2:
        return ()
    colors = {2: "gray and opacity", 3: "red, green and blue"}.get(planes, "red, green, blue and opacity")
    return (f"{planes} planes are taken as {colors}, as the file says; {path}#0 to #{planes - 1} take one as a slice",)


def _single_page(series: Any, number: int, count: int) -> NDArray[Any] | None:
    """Return one picture of a series without decoding the others; `None` where pages are not pictures."""
    inner = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if axis in "YXS"]
    outer = len(series.axes) - len(inner)
    if any(axis in "YXS" for axis in series.axes[:outer]):  # a page holds the last axes of its series
        return None
    if len(series.pages) == count and series.pages[number] is not None:
        page = series.pages[number]
        if tuple(page.shape) != tuple(n for _, n in inner):
            return None
        return _samples_last(page.asarray(), "".join(axis for axis, _ in inner))
    if series.dataoffset is None:
        return None
    # ImageJ writes the pictures behind each other, and one page for all of them.
    stored = series.dtype.newbyteorder(series.parent.byteorder)
    flat = series.parent.filehandle.memmap_array(stored, series.shape, series.dataoffset)
    flat = flat.reshape(-1, *series.shape[outer:])
    return _samples_last(np.array(flat[number], dtype=series.dtype), "".join(axis for axis, _ in inner))


def _samples_last(array: NDArray[Any], axes: str) -> NDArray[Any]:
    return np.moveaxis(array, 0, -1) if axes.startswith("S") else array


def _dpi(page: Any) -> tuple[float, float] | None:
    if 282 not in page.tags or 283 not in page.tags:
        return None
    unit = int(page.tags[296].value) if 296 in page.tags else 2
    factor = {2: 1.0, 3: 2.54}.get(unit)
    values = [page.tags[code].value for code in (282, 283)]
    if factor is None or any(v[1] == 0 or v[0] == 0 for v in values):
        return None
    return (values[0][0] / values[0][1] * factor, values[1][0] / values[1][1] * factor)
