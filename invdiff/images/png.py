"""PNG of 16 bits: Pillow reads its colour with 8 bits and does not write it at all.

A file is a header, rows of big-endian numbers under zlib, each minus a prediction from its neighbours, and chunks for
the profile, the resolution and EXIF. The predictions are undone for one diagonal of pixels after the other, because a
pixel needs those on its left and above.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def is_deep_color(path: Path) -> bool:
    """Return whether a file is a PNG of 16 bits with colour or alpha."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:8] == _SIGNATURE and len(head) == 26 and head[24] == 16 and head[25] in (2, 4, 6)


def read_png16(path: Path) -> NDArray[np.uint16]:
    """Return `(H, W, C)` of a PNG of 16 bits.

    Raises:
        ValueError: a damaged file, or an interlaced one.
    """
    try:
        chunks = list(_chunks(path.read_bytes()))
        w, h, _, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
        if interlaced:
            raise UserError(f"{path}: interlaced PNG of 16 bits is not read; save it without interlacing")
        channels = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
        body = zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT"))
        rows = np.frombuffer(body, np.uint8, h * (1 + 2 * channels * w)).reshape(h, -1)
    except (struct.error, IndexError, KeyError, zlib.error, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: the image cannot be read, it may be damaged") from error
    pixels = _unfiltered(rows[:, 0], rows[:, 1:].reshape(h, w, 2 * channels))
    return pixels.view(">u2").astype(np.uint16)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def _unfiltered(filters: NDArray[np.uint8], rest: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the bytes of pixels `(H, W, bytes)` from the differences to their predictions."""
    h, w, depth = rest.shape
    out = np.zeros((h + 1, w + 1, depth), np.uint8)  # with zeros above and on the left
    for t in range(h + w - 1):
        y = np.arange(max(0, t - w + 1), min(h, t + 1))
        x = t - y
        a, b, c = (out[y + i, x + j].astype(np.int16) for i, j in ((1, 0), (0, 1), (0, 0)))
        pa, pb, pc = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
        paeth = np.where((pa <= pb) & (pa <= pc), a, np.where(pb <= pc, b, c))
        guess = np.choose(filters[y][:, None], [np.zeros_like(a), a, b, (a + b) // 2, paeth])
        out[y + 1, x + 1] = (rest[y, x] + guess).astype(np.uint8)
    return np.ascontiguousarray(out[1:, 1:])


def write_png16(levels: NDArray[np.uint16], path: Path, info: Mapping[str, Any]) -> None:
    """Write `(H, W, C)`, of 1 or 3 channels.

    Args:
        levels: the pixels.
        path: the file to write.
        info: `icc_profile`, `dpi` and `exif`, each if there is one.
    """
    h, w, c = levels.shape
    rows = np.ascontiguousarray(levels, dtype=">u2").reshape(h, -1).view(np.uint8)
    # The filter "up": each row minus the one above, which compresses smooth images well.
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    body = np.hstack([np.full((h, 1), 2, np.uint8), rows - above]).tobytes()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 0 if c == 1 else 2, 0, 0, 0))]
    if icc := info.get("icc_profile"):
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if dpi := info.get("dpi"):
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(float(v) / 0.0254) for v in dpi), 1)))
    if exif := info.get("exif"):
        chunks.append((b"eXIf", bytes(exif).removeprefix(b"Exif\0\0")))
    chunks += [(b"IDAT", zlib.compress(body, 6)), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(_SIGNATURE)
        for name, data in chunks:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
