"""The coefficients that a JPEG file stores, before they are rounded: the linear part of JPEG.

    c = D S C x / q,      in steps of the quantisation,

with colours `C`, subsampling `S`, cosine transform `D` and tables `q` as in `jpeg`. The file has `round(c)`, so `c` is
known to half a step, and those of a clean picture differ from the stored ones by less than that.

The decompressed picture has linearly interpolated chroma planes `U s`. Their means over cells are `S U s`, a symmetric
tridiagonal matrix along each axis, with 6/8 on its diagonal and 1/8 beside it, which is inverted.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from .base import LinearOperator
from .chroma import CELLS
from .jpeg import JPEG


class JPEGCoefficients(LinearOperator):
    """The coefficients of blocks of 8 x 8 pixels, in steps of the quantisation, not rounded.

    Args:
        jpeg: the compression.

    Example:
        >>> import torch
        >>> JPEGCoefficients(JPEG((1, 8, 8), quality=50))(torch.full((1, 1, 8, 8), 0.5))[0, :2].round(decimals=3)
        tensor([63.7500,  0.0000])
    """

    def __init__(self, jpeg: JPEG) -> None:
        self.in_shape = jpeg.in_shape
        self.jpeg = jpeg
        _, h, w = jpeg.in_shape
        h, w = (w, h) if jpeg.is_turned else (h, w)
        v, c = CELLS[jpeg.subsampling]
        sizes = [(h, w), (-(-h // v), -(-w // c)), (-(-h // v), -(-w // c))][: self.in_shape[0]]
        self.blocks = tuple(-(-a // 8) * -(-b // 8) for a, b in sizes)
        self.out_shape = (64 * sum(self.blocks),)

    def forward(self, x: Tensor) -> Tensor:
        """Return the coefficients, `(B, N)`: plane by plane, block by block."""
        return self._transformed(*self._planes(x))

    def measured(self, y: Tensor) -> Tensor:
        """Return the coefficients of a decompressed picture, `(B, N)`, like those of `forward`.

        Args:
            y: the picture, `(B, C, H, W)`.
        """
        luma, chroma = self._planes(y)
        v, c = CELLS[self.jpeg.subsampling]
        if v == 2 and chroma is not None:
            chroma = _sharpened(chroma, -2)
        if c == 2 and chroma is not None and chroma.shape[-1] > 2:
            chroma = _sharpened(chroma, -1)
        return self._transformed(luma, chroma)

    def spread(self, std: float) -> Tensor:
        """Return the standard deviation of the coefficients if the picture has white noise, `(N,)`, float64.

        Args:
            std: of the noise, for intensities in [0, 1].
        """
        v, c = CELLS[self.jpeg.subsampling]
        level = 255 * std * self.jpeg._colour.value.norm(dim=1)
        level = level / torch.tensor([1.0, (v * c) ** 0.5, (v * c) ** 0.5][: len(level)])
        table = self.jpeg._table.value[:, 0, 0].flatten(1)
        steps = (level.double()[:, None] / table).repeat_interleave(torch.tensor(self.blocks), dim=0)
        flat: Tensor = steps.flatten()
        return flat

    def _planes(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return luma `(B, 1, H, W)`, and chroma `(B, 2, h, w)` after subsampling, in levels of 8 bits."""
        z = torch.einsum("ij,bjhw->bihw", self.jpeg._colour.like(x), self.jpeg.stored(x) * 255)
        if z.shape[1] == 1:
            return z, None
        v, c = cell = CELLS[self.jpeg.subsampling]
        h, w = z.shape[-2:]
        return z[:, :1], avg_pool2d(pad(z[:, 1:], (0, -w % c, 0, -h % v), mode="replicate"), cell)

    def _transformed(self, luma: Tensor, chroma: Tensor | None) -> Tensor:
        d, q = self.jpeg._dct.like(luma), self.jpeg._table.like(luma)
        out = []
        for plane, table in ((luma, q[:1]), (chroma, q[1:])):
            if plane is not None:
                whole = pad(plane, (0, -plane.shape[-1] % 8, 0, -plane.shape[-2] % 8), mode="replicate")
                blocks = whole.unfold(2, 8, 8).unfold(3, 8, 8)
                out.append((d @ blocks @ d.T / table).flatten(1))
        return torch.cat(out, 1)

    def _describe(self) -> str:
        return self.jpeg._describe()


def _sharpened(z: Tensor, axis: int) -> Tensor:
    """Return the samples of which the mean over cells after linear interpolation is `z`."""
    n = z.shape[axis]
    bands = np.full((2, n), 6 / 8)
    bands[0] = 1 / 8
    bands[1, [0, -1]] = 7 / 8 if n > 1 else 1.0
    rows = z.detach().double().cpu().movedim(axis, 0)
    solved = solveh_banded(bands, rows.reshape(n, -1).numpy()).reshape(rows.shape)
    return torch.from_numpy(solved).movedim(0, axis).to(z)
