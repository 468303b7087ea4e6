"""Colour profiles: from the colour space of a file to the working values, and back.

Working values are those of sRGB, on which the priors were trained. A profile of three curves and a matrix (Adobe RGB,
Display P3, ProPhoto, and those of most cameras) is computed in floating point:

    linear = curve(v),   linear_sRGB = M_sRGB^-1 M linear,   x = encode(linear_sRGB)

without clipping, so that the way back is exact. Colours outside of sRGB leave [0, 1] a little. Curves are continued
beyond [0, 1] as odd functions. A gray profile has its curve alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Columns: sRGB's primaries, adapted to the white of ICC profiles (D50).
_SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
_NEAR = 2e-3  # profiles that call themselves sRGB differ by this


@dataclass(frozen=True)
class Profile:
    """The colour space of a file.

    Attributes:
        name: its description.
        matrix: from its linear values to linear sRGB, `(3, 3)`; `None` for gray.
        tables: for each channel its curve at equally spaced values in [0, 1].
    """

    name: str
    matrix: Floats | None
    tables: tuple[Floats, ...]

    def to_working(self, v: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return working values of pixels `(H, W, C)` of the file."""
        linear = np.stack([_odd(v[..., c], _grid(t), t) for c, t in enumerate(self.tables)], -1)
        if self.matrix is not None:
            linear = linear @ self.matrix.T
        return np.asarray(encode(linear), dtype=np.float32)

    def from_working(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return pixels of the file for working values."""
        linear = decode(x.astype(np.float64))
        if self.matrix is not None:
            linear = linear @ np.linalg.inv(self.matrix).T
        return np.stack([_odd(linear[..., c], t, _grid(t)) for c, t in enumerate(self.tables)], -1).astype(np.float32)


def encode(linear: Floats) -> Floats:
    """Return sRGB values of linear ones."""
    a = np.abs(linear)
    return np.sign(linear) * np.where(a <= 0.0031308, 12.92 * a, 1.055 * np.maximum(a, 1e-9) ** (1 / 2.4) - 0.055)


def decode(x: Floats) -> Floats:
    """Return linear values of sRGB ones."""
    a = np.abs(x)
    return np.sign(x) * np.where(a <= 0.04045, a / 12.92, ((a + 0.055) / 1.055) ** 2.4)


def described(icc: bytes | None, channels: int) -> tuple[Profile | None, tuple[str, ...]]:
    """Return the profile of a file, if it is another than sRGB, and a note about it.

    Args:
        icc: the data, `None` for a file without a profile.
        channels: of the pixels, 1 or 3, and one more with alpha.
    """
    if icc is None:
        return None, ()
    found = _parsed(icc, channels - (channels in (2, 4)))
    if found is None:
        return None, ("its colour profile is of tables, not of curves and a matrix: values are taken as they are",)
    if _is_srgb(found):
        return None, ()
    return found, (f"colours are converted from {found.name.strip()} to sRGB, and results back",)


def fits_channels(icc: bytes, channels: int) -> bool:
    """Return whether a profile is one of images with that many channels."""
    return icc[16:20] == {1: b"GRAY", 3: b"RGB "}.get(channels)


def _parsed(icc: bytes, channels: int) -> Profile | None:
    try:
        tags = _tags(icc)
        if channels == 1 and icc[16:20] == b"GRAY":
            return Profile(_name(tags), None, (_curve(tags[b"kTRC"]),))
        if channels == 3 and icc[16:20] == b"RGB " and b"rXYZ" in tags:
            own = np.stack([_xyz(tags[t]) for t in (b"rXYZ", b"gXYZ", b"bXYZ")], 1)
            curves = tuple(_curve(tags[t]) for t in (b"rTRC", b"gTRC", b"bTRC"))
            return Profile(_name(tags), np.linalg.inv(_SRGB) @ own, curves)
    except (KeyError, struct.error, IndexError, ValueError, np.linalg.LinAlgError):
        pass
    return None


def _is_srgb(profile: Profile) -> bool:
    same = profile.matrix is None or np.abs(profile.matrix - np.eye(3)).max() < _NEAR
    return bool(same) and all(np.abs(t - decode(_grid(t))).max() < _NEAR for t in profile.tables)


def _grid(table: Floats) -> Floats:
    return np.linspace(0, 1, len(table))


def _odd(v: NDArray[np.floating], x: Floats, y: Floats) -> Floats:
    """Return the curve through `(x, y)` at `v`, continued by its last slope, and as an odd function below 0."""
    a = np.abs(v.astype(np.float64))
    inside = np.interp(a, x, y)
    slope = (y[-1] - y[-2]) / max(x[-1] - x[-2], 1e-12)
    return np.asarray(np.sign(v) * np.where(a > x[-1], y[-1] + slope * (a - x[-1]), inside))


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, 128)
    entries = (struct.unpack_from(">4sII", icc, 132 + 12 * i) for i in range(count))
    return {name: icc[start : start + size] for name, start, size in entries}


def _name(tags: dict[bytes, bytes]) -> str:
    data = tags.get(b"desc", b"")
    if data[:4] == b"desc":
        (size,) = struct.unpack_from(">I", data, 8)
        return data[12 : 12 + size].split(b"\0")[0].decode("ascii", "replace") or "unnamed"
    if data[:4] == b"mluc":
        size, start = struct.unpack_from(">II", data, 20)
        return data[start : start + size].decode("utf-16-be", "replace") or "unnamed"
    return "unnamed"


def _xyz(data: bytes) -> Floats:
    return np.array(struct.unpack_from(">3i", data, 8)) / 65536


def _curve(data: bytes, points: int = 65537) -> Floats:
    """Return a tone curve at equally spaced values."""
    v = np.linspace(0, 1, points)
    if data[:4] == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        if count == 0:
            return v
        values = np.frombuffer(data, ">u2", count, 12).astype(np.float64)
        return v ** (values[0] / 256) if count == 1 else np.interp(v, np.linspace(0, 1, count), values / 65535)
    if data[:4] != b"para":
        raise ValueError(f"unknown curve {data[:4]!r}")
    (kind,) = struct.unpack_from(">H", data, 8)
    g, *rest = (n / 65536 for n in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", data, 12))
    a, b, c, d, e, f = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    if kind == 0:
        return np.asarray(v**g)
    a, b = rest[:2]
    if kind in (1, 2):
        d, e = -b / a, (rest[2] if kind == 2 else 0.0)
        f = e
    else:
        c, d = rest[2:4]
        e, f = rest[4:6] if kind == 4 else (0.0, 0.0)
    return np.where(v >= d, np.maximum(a * v + b, 0) ** g + e, c * v + f)
