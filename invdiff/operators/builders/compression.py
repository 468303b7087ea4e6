"""JPEG from options, and from the header of a file: quantisation tables, subsampling, orientation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, JpegImagePlugin
from torch import Tensor

from ...errors import UserError, first_line
from ...images.conversions import ORIENTATION
from ...images.parts import split_part
from ..base import Operator
from ..chroma import CELLS
from ..jpeg import JPEG, standard_tables
from .base import Shape

_NAMES = {cell: name for name, cell in CELLS.items()}


@dataclass(frozen=True)
class Compression:
    """The compression of a JPEG file.

    Attributes:
        tables: quantisation tables of its planes, 64 numbers each, rows first.
        subsampling: of the chroma planes, such as "4:2:0".
        orientation: EXIF tag, 1 to 8.
        quality: whose tables of the standard these are; `None` for others.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: str
    orientation: int = 1
    quality: int | None = None

    def describe(self) -> str:
        """Return one line about tables and subsampling."""
        last = self.tables[-1]
        level = f"quality {self.quality}, libjpeg's tables" if self.quality else "tables of its own"
        steps = f"steps of {min(self.tables[0])} to {max(self.tables[0])} levels"
        if len(self.tables) == 1:
            return f"{level}, {steps}, gray"
        return (
            f"{level}, {steps} for the luma, {min(last)} to {max(last)} for the colours, subsampling {self.subsampling}"
        )

    def options(self) -> dict[str, object]:
        """Return the arguments of `invdiff.operators.JPEG`."""
        return {"tables": self.tables, "subsampling": self.subsampling, "orientation": self.orientation}


def read_compression(path: str | Path) -> Compression:
    """Return the compression of a JPEG file.

    Args:
        path: the file; the picture in front of an MPO file counts.

    Raises:
        ValueError: no JPEG file, colours other than gray and YCbCr, or a subsampling that is not supported.
    """
    path = split_part(Path(path))[0]
    try:
        with Image.open(path) as picture:
            return _compression(picture, path)
    except UserError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: jpeg: expected a JPEG file that can be read: {first_line(error)}") from error


def _compression(picture: Image.Image, path: Path) -> Compression:
    if not isinstance(picture, JpegImagePlugin.JpegImageFile):
        raise UserError(
            f"{path}: jpeg: expected a JPEG file, whose header has the tables, got {picture.format or 'another'}; "
            "state the compression that the picture went through, as jpeg:quality=10,subsampling=4:2:0"
        )
    layers = [(v, h, table) for _, h, v, table in picture.layer]
    rgb = len(layers) == 3 and picture.info.get("adobe_transform") == 0
    if len(layers) not in (1, 3) or rgb:
        raise UserError(f"{path}: jpeg: expected gray or YCbCr, got {'RGB' if rgb else picture.mode}; save it as YCbCr")
    (v, h), others = layers[0][:2], {layer[:2] for layer in layers[1:]}
    cells = {(v // b, h // a) if v % b == h % a == 0 else (0, 0) for b, a in others} or {(1, 1)}
    found = {_NAMES.get(cell) for cell in cells}
    if len(found) > 1 or None in found:
        factors = ", ".join(f"{b}x{a}" for a, b, _ in layers)
        raise UserError(
            f"{path}: jpeg: expected one of the subsamplings {', '.join(_NAMES.values())}, got the factors {factors}"
        )
    tables = tuple(tuple(picture.quantization[table]) for *_, table in layers)
    turn = picture.getexif().get(ORIENTATION, 1)
    name = found.pop()
    assert name is not None
    return Compression(tables, name, turn if turn in range(1, 9) else 1, _quality(tables))


def _quality(tables: tuple[tuple[int, ...], ...]) -> int | None:
    """Return the quality of which libjpeg makes these tables."""
    rows = [list(t) for t in tables]
    return next((q for q in range(100, 0, -1) if standard_tables(q, len(rows)).flatten(1).int().tolist() == rows), None)


def jpeg(
    shape: Shape,
    *,
    quality: int | None = None,
    tables: str | Sequence[Sequence[int]] | Tensor | None = None,
    subsampling: str | None = None,
    orientation: int | None = None,
    auto: bool = False,
) -> Operator:
    """Build the compression by JPEG.

    Args:
        shape: `(C, H, W)`.
        quality: 1 to 100, as in libjpeg.
        tables: a JPEG file whose tables, subsampling and orientation are taken, or tables.
        subsampling: "4:4:4", the default without a file, "4:2:2", "4:2:0" or "4:4:0".
        orientation: EXIF tag of a file whose picture was turned after decompression.
        auto: whether all this is read from the restored file, `jpeg:auto`.
    """
    if auto:
        raise UserError("jpeg: auto: is for a file that is restored; name the file, jpeg:tables=FILE.jpg, or a quality")
    chosen: dict[str, object] = {"tables": tables, "subsampling": "4:4:4", "orientation": 1}
    if isinstance(tables, str):
        chosen = read_compression(tables).options()
    stated = {"subsampling": subsampling, "orientation": orientation}
    return JPEG(shape, quality=quality, **{**chosen, **{k: v for k, v in stated.items() if v is not None}})  # type: ignore[arg-type]
