"""JPEG compression, as libjpeg does it.

    y = U C^-1 D^T q round(D S C x / q)

with the colour transform `C` of JFIF, the subsampling of the chroma planes `S` and its interpolation `U` (`chroma`),
the discrete cosine transform `D` of blocks of 8 x 8 pixels, and quantisation tables `q`: those of the standard, scaled
by the quality, or those of a file. Every plane is rounded to whole levels of 8 bits and limited to 0 to 255 where
libjpeg does it. Rounding and limits have no useful derivative, so autograd treats them as the identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..checks import integer
from ..errors import UserError
from ..images.conversions import TURNS
from ..registry import unknown
from .base import Operator
from .chroma import CELLS, HALF, larger, smaller, through, whole
from .numerics.constants import Constant
from .shapes import image_shape

LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *(((99,) * 8,) * 4),
)  # fmt: skip
YCBCR = ((19595, 38470, 7471), (-11059, -21709, 32768), (32768, -27439, -5329))
"""The transform of colours in libjpeg, over 65536."""
BITS = 4 * math.sqrt(8)
"""Scale of the values between the two passes of a transform in libjpeg."""


class JPEG(Operator):
    """Compression and decompression by JPEG, with the roundings and limits of libjpeg.

    Args:
        in_shape: shape of one image, `(1, H, W)` or `(3, H, W)`; sides that are not multiples of 8 are padded with the
            last row and column.
        quality: 1 to 100, as in libjpeg; scales the tables of the standard.
        tables: quantisation tables instead, `(8, 8)` or 64 numbers each, rows first, not in zigzag order: one for gray
            images; for colour ones that of the luma and that of both chroma planes, or three.
        subsampling: of the chroma planes: "4:4:4" (none), "4:2:2" (columns), "4:2:0" (rows and columns; what cameras
            and Pillow write), or "4:4:0" (rows). Gray images have none.
        orientation: 1 to 8, the EXIF tag of a file whose picture was turned after decompression.

    Raises:
        ValueError: a number of channels other than 1 and 3, a quality out of range, not one of quality and tables,
            invalid tables, or an unknown subsampling or orientation.

    References:
        ITU-T Recommendation T.81 (1992), https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex K.1 (tables);
        the scaling by quality and the filters are those of libjpeg.

    Example:
        >>> import torch
        >>> JPEG((3, 16, 16), quality=20)(torch.full((1, 3, 16, 16), 0.5)).mean().round(decimals=2)
        tensor(0.5000)
    """

    name = "jpeg"
    summary = "compression; gradients ignore the rounding"
    photographic = True
    exact_gradient = False

    def __init__(
        self,
        in_shape: tuple[int, ...],
        *,
        quality: int | None = None,
        tables: Sequence[Sequence[int]] | Tensor | None = None,
        subsampling: str = "4:4:4",
        orientation: int = 1,
    ) -> None:
        self.in_shape = self.out_shape = image_shape("JPEG", in_shape)
        channels = self.in_shape[0]
        if channels not in (1, 3):
            raise UserError(f"JPEG: in_shape: expected 1 or 3 channels, got {self.in_shape}")
        if (quality is None) == (tables is None):
            raise UserError(
                f"JPEG: expected one of quality and tables, got {'none' if quality is None else 'both'}; the tables "
                "of a file are those of jpeg:auto or jpeg:tables=FILE.jpg"
            )
        if subsampling not in CELLS:
            raise UserError(f"JPEG: subsampling: {unknown('name', subsampling, CELLS)}")
        self.quality = None if quality is None else integer("JPEG: quality", quality, 1, 100)
        self.subsampling = subsampling if channels == 3 else "4:4:4"
        self.orientation = integer("JPEG: orientation", orientation, 1, 8)
        found = standard_tables(quality, channels) if quality is not None else _checked(tables, channels)
        self._table = Constant(found[:, None, None])
        k = torch.arange(8, dtype=torch.float64)
        dct = 0.5 * torch.cos(math.pi * k[:, None] * (2 * k + 1) / 16)
        dct[0] /= math.sqrt(2)
        self._dct = Constant(dct)
        colour = (
            torch.tensor(YCBCR, dtype=torch.float64) / 65536 if channels == 3 else torch.eye(1, dtype=torch.float64)
        )
        self._colour, self._back = Constant(colour), Constant(torch.linalg.inv(colour))

    @property
    def is_turned(self) -> bool:
        """Whether rows of the shown picture are columns in the file."""
        return TURNS[self.orientation][0]

    def stored(self, x: Tensor) -> Tensor:
        """Return a shown picture as it is stored in the file."""
        turned = x.flip(self._reversed)
        return turned.mT if self.is_turned else turned

    @property
    def _reversed(self) -> tuple[int, ...]:
        return tuple(axis - 2 for axis in TURNS[self.orientation][1])

    def forward(self, x: Tensor) -> Tensor:
        """Return the decompressed image, `(B, C, H, W)`."""
        y = self._compressed(self.stored(x))
        return (y.mT if self.is_turned else y).flip(self._reversed)

    def _compressed(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        z = torch.einsum("ij,bjhw->bihw", self._colour.like(x), x * 255)
        luma = self._coded(whole(z[:, :1]), slice(0, 1), 128)[..., :h, :w]
        if z.shape[1] == 1:
            return luma / 255
        cell = v, c = CELLS[self.subsampling]
        # Chroma is around 0 instead of 128, which changes no rounding; there libjpeg rounds halves down.
        chroma = whole(z[:, 1:], 0.5 - 2 * HALF)
        # libjpeg pads columns before subsampling, but rows only to whole cells.
        cells = smaller(pad(chroma, (0, -w % (8 * c), 0, -h % v), mode="replicate"), cell)
        chroma = self._coded(cells, slice(1, 3), 0)[..., : -(-h // v), : -(-w // c)]
        planes = torch.cat([luma, larger(chroma, cell)[..., :h, :w]], 1)
        return _limited(whole(torch.einsum("ij,bjhw->bihw", self._back.like(x), planes)), 0) / 255

    def _coded(self, z: Tensor, planes: slice, middle: int) -> Tensor:
        """Return planes `(B, P, h, w)` after quantisation, with sides padded to multiples of 8."""
        h, w = z.shape[-2:]
        d, q = self._dct.like(z), self._table.like(z)[planes]
        z = pad(z - middle, (0, -w % 8, 0, -h % 8), mode="replicate")
        blocks = z.unfold(2, 8, 8).unfold(3, 8, 8)  # (B, P, h/8, w/8, 8, 8)
        # libjpeg's integer transforms keep two bits after the first pass, and three bits of the coefficients.
        rows = _kept(blocks @ d.T, BITS)
        c = _kept(d @ rows, 8.0)
        c = through(c / q, lambda v: v.sign() * (v.abs() + 0.5 + HALF).floor()) * q
        columns = _kept(d.T @ c, BITS)
        return _limited(whole((columns @ d).transpose(3, 4).reshape(z.shape) + middle), middle - 128)

    def _describe(self) -> str:
        level = "own tables" if self.quality is None else f"quality {self.quality}"
        turned = "" if self.orientation == 1 else f", orientation {self.orientation}"
        return f"{level}{f', {self.subsampling}' if self.in_shape[0] == 3 else ''}{turned}"


def standard_tables(quality: int, channels: int = 3) -> Tensor:
    """Return the tables of a quality, 1 to 100, in libjpeg: `(channels, 8, 8)`, float64."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    tables = torch.tensor([LUMA, CHROMA, CHROMA][:channels])
    return ((tables * scale + 50) // 100).clamp(1, 255).double()


def _kept(z: Tensor, scale: float) -> Tensor:
    """Return `z` rounded to whole multiples of `1 / scale`."""
    return whole(z * scale) / scale


def _limited(z: Tensor, low: int) -> Tensor:
    return through(z, lambda v: v.clamp(low, low + 255))


def _checked(tables: Sequence[Sequence[int]] | Tensor | None, channels: int) -> Tensor:
    """Return tables as `(channels, 8, 8)`."""
    try:
        found = torch.as_tensor(tables, dtype=torch.float64).reshape(-1, 8, 8)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError("JPEG: tables: expected tables of 64 numbers each, got other shapes or no numbers") from error
    if len(found) not in (1, 2, 3) or not bool(((found >= 1) & (found <= 65535) & (found == found.round())).all()):
        raise UserError(
            f"JPEG: tables: expected 1 to 3 tables of whole numbers from 1 to 65535, got {len(found)} tables of "
            f"{float(found.min()):g} to {float(found.max()):g}"
        )
    return found[[min(i, len(found) - 1) for i in range(channels)]]
