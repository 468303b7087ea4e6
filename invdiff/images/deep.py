"""Colour of more than 8 bits, in files of which Pillow keeps 8: PNG, PPM, JPEG 2000, AVIF.

JPEG 2000 and AVIF are decoded by imagecodecs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .extras import library
from .png import is_deep_color, read_png16

HEAD = 1 << 16
"""Bytes in which the header of a file stands."""


def read_deep(path: Path) -> tuple[NDArray[Any], float] | None:
    """Return stored pixels `(H, W, C)` and their value of white; `None` for a file that Pillow reads completely.

    Raises:
        ValueError: a damaged file, or imagecodecs is missing.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if is_deep_color(path):
        return read_png16(path), 65535.0
    if ppm := re.match(rb"P6\s(?:#.*\s)*(\d+)\s(?:#.*\s)*(\d+)\s(?:#.*\s)*(\d+)\s", head):
        width, height, white = map(int, ppm.groups())
        return _ppm(path, ppm.end(), (height, width), white) if white > 255 else None
    if bits := _jpeg2000_bits(head):
        return _decoded("jpeg2k_decode", path), 2.0**bits - 1
    if bits := _avif_bits(head):
        return _decoded("avif_decode", path), 2.0**bits - 1
    return None


def _ppm(path: Path, start: int, size: tuple[int, int], white: int) -> tuple[NDArray[Any], float]:
    count = 3 * size[0] * size[1]
    data = path.read_bytes()[start : start + 2 * count]
    if len(data) < 2 * count:
        raise UserError(f"{path}: the image cannot be read, it may be damaged: it ends early")
    stored = np.frombuffer(data, ">u2")
    return stored.astype(np.uint16).reshape(*size, 3), float(white)


def _jpeg2000_bits(head: bytes) -> int:
    """Return the depth of JPEG 2000 with several components of more than 8 bits, 0 for others."""
    at = head.find(b"\xff\x4f\xff\x51")  # start of the codestream, and of its sizes
    jpeg2000 = head[4:8] == b"jP  " or at == 0
    if not jpeg2000 or at < 0 or len(head) < at + 43:
        return 0
    components, bits = int.from_bytes(head[at + 40 : at + 42], "big"), (head[at + 42] & 0x7F) + 1
    return bits if components > 1 and bits > 8 else 0


def _avif_bits(head: bytes) -> int:
    """Return the depth of AVIF of more than 8 bits, 0 for others."""
    at = head.find(b"av1C")
    if head[4:8] != b"ftyp" or b"avif" not in head[8:40] or at < 0 or len(head) < at + 7:
        return 0
    high, twelve = head[at + 6] & 0x40, head[at + 6] & 0x20
    return (12 if twelve else 10) if high else 0


def _decoded(decoder: str, path: Path) -> NDArray[Any]:
    codecs = library("imagecodecs", path)
    try:
        array = np.asarray(getattr(codecs, decoder)(path.read_bytes()))
    except Exception as error:  # the errors of imagecodecs have no common base class
        raise UserError(f"{path}: the image cannot be read, it may be damaged: {error}") from error
    return array if array.ndim == 3 else array[..., None]
