"""JPEG compression.

    y = C^-1 D^T q round(D C x / q)

with the colour transform `C` of JFIF, the discrete cosine transform `D` of blocks of 8 x 8 pixels, and tables `q` of
the standard, scaled by the quality. Rounding has no useful derivative, so autograd treats it as the identity.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..checks import integer
from ..errors import UserError
from .base import Operator
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
YCBCR = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))


class JPEG(Operator):
    """Compression and decompression by JPEG, without subsampling of the colours; not clipped to [0, 1].

    Args:
        in_shape: shape of one image, `(1, H, W)` or `(3, H, W)`; sides that are not multiples of 8 are padded with the
            last row and column.
        quality: 1 to 100, as in libjpeg.

    Raises:
        ValueError: a number of channels other than 1 and 3, or a quality out of range.

    References:
        ITU-T Recommendation T.81 (1992), https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex K.1 (tables);
        the scaling by quality is that of libjpeg.

    Example:
        >>> import torch
        >>> JPEG((3, 16, 16), quality=20)(torch.full((1, 3, 16, 16), 0.5)).mean().round(decimals=2)
        tensor(0.5000)
    """

    name = "jpeg"
    summary = "compression; gradients ignore the rounding"
    photographic = True
    exact_gradient = False

    def __init__(self, in_shape: tuple[int, ...], *, quality: int) -> None:
        self.in_shape = self.out_shape = image_shape("JPEG", in_shape)
        channels = self.in_shape[0]
        if channels not in (1, 3):
            raise UserError(f"JPEG: in_shape: expected 1 or 3 channels, got {self.in_shape}")
        self.quality = integer("JPEG: quality", quality, 1, 100)
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        tables = torch.tensor([LUMA, CHROMA, CHROMA][:channels])
        self._table = Constant(((tables * scale + 50) // 100).clamp(1, 255).double()[:, None, None])
        k = torch.arange(8, dtype=torch.float64)
        dct = 0.5 * torch.cos(math.pi * k[:, None] * (2 * k + 1) / 16)
        dct[0] /= math.sqrt(2)
        self._dct = Constant(dct)
        colour = torch.tensor(YCBCR, dtype=torch.float64) if channels == 3 else torch.eye(1, dtype=torch.float64)
        self._colour, self._back = Constant(colour), Constant(torch.linalg.inv(colour))

    def forward(self, x: Tensor) -> Tensor:
        """Return the decompressed image, `(B, C, H, W)`."""
        _, h, w = self.in_shape
        z = torch.nn.functional.pad(x, (0, -w % 8, 0, -h % 8), mode="replicate") * 255
        z = torch.einsum("ij,bjhw->bihw", self._colour.like(x), z)
        shift = torch.tensor([128.0, 0.0, 0.0][: len(self._colour.value)]).to(x)[:, None, None]
        blocks = (z - shift).unfold(2, 8, 8).unfold(3, 8, 8)  # (B, C, H/8, W/8, 8, 8)
        d, q = self._dct.like(x), self._table.like(x)
        c = d @ blocks @ d.T / q
        c = (c + (c.round() - c).detach()) * q
        z = (d.T @ c @ d).transpose(3, 4).reshape(z.shape) + shift
        return torch.einsum("ij,bjhw->bihw", self._back.like(x), z)[..., :h, :w] / 255

    def _describe(self) -> str:
        return f"quality {self.quality}"
