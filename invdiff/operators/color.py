"""Measurements with fewer colours than the image.

    Grayscale    y = w . x                         one weighted sum of the channels
    Demosaic     y[i] = x[c(i), i]                 one channel for each pixel, in a pattern of 2 x 2

The rows of both are orthogonal and of equal length, `A A^T = g I`, so `A = sqrt(g) I V^T` with `V = A^T / sqrt(g)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import UserError
from .base import LinearOperator, Spectrum
from .numerics.constants import Constant
from .shapes import image_shape


def row_orthogonal_spectrum(a: LinearOperator, gain: float, *, device: torch.device | None = None) -> Spectrum:
    """Return the spectrum of an operator with `A A^T = gain I`: the coefficients are the measurements."""
    root = gain**0.5
    return Spectrum(
        s=torch.full((), root, dtype=torch.float64, device=device).expand(a.out_shape),
        V=lambda c: a.adjoint(c) / root,
        Vt=lambda x: a.forward(x) / root,
        U=lambda c: c,
        Ut=lambda y: y,
    )


LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma of Rec. 601."""


class Grayscale(LinearOperator):
    """A weighted sum of the channels: `y = w . x`.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        weights: one for each channel; default for three: the luma of Rec. 601, (0.299, 0.587, 0.114).

    Raises:
        ValueError: not one finite weight for each channel, or all weights zero.

    Example:
        >>> import torch
        >>> Grayscale((3, 4, 4))(torch.ones(1, 3, 4, 4)).shape
        torch.Size([1, 1, 4, 4])
    """

    name = "grayscale"
    summary = "the luma of a colour image: colourisation"
    photographic = True

    def __init__(self, in_shape: tuple[int, ...], *, weights: Sequence[float] | None = None) -> None:
        self.in_shape = image_shape("Grayscale", in_shape)
        channels = self.in_shape[0]
        if weights is None and channels != 3:
            raise UserError(f"Grayscale: weights: expected {channels} of them for {channels} channels, got none")
        w = torch.as_tensor(LUMA if weights is None else weights, dtype=torch.float64)
        if w.shape != (channels,) or not bool(torch.isfinite(w).all()) or not bool(w.any()):
            raise UserError(
                f"Grayscale: weights: expected {channels} finite numbers, one for each channel, "
                f"not all zero, got {weights}"
            )
        self.out_shape = (1, *self.in_shape[1:])
        self._weights = Constant(w[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Return `w . x`, `(B, 1, H, W)`."""
        return (x * self._weights.like(x)).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `w y`, `(B, C, H, W)`."""
        return y * self._weights.like(y)

    @property
    def svd(self) -> Spectrum:
        """The norm of the weights, once for each pixel."""
        w = self._weights.value
        return row_orthogonal_spectrum(self, float((w * w).sum()), device=w.device)


class Demosaic(LinearOperator):
    """One colour for each pixel, as with the colour filters of a camera's sensor (Bayer patterns).

    Args:
        in_shape: shape of one image, `(3, H, W)`.
        pattern: colours of the first 2 x 2 pixels, row by row: "rggb", "bggr", "grbg" or "gbrg", or any four of r, g,
            b.

    Raises:
        ValueError: an image without three channels, or an invalid pattern.

    Example:
        >>> import torch
        >>> x = torch.arange(3.0)[:, None, None].expand(1, 3, 2, 2)
        >>> Demosaic((3, 2, 2))(x)
        tensor([[[[0., 1.],
                  [1., 2.]]]])
    """

    name = "demosaic"
    summary = "one colour for each pixel, Bayer patterns"
    photographic = True

    def __init__(self, in_shape: tuple[int, ...], *, pattern: str = "rggb") -> None:
        self.in_shape = image_shape("Demosaic", in_shape)
        if self.in_shape[0] != 3:
            raise UserError(f"Demosaic: in_shape: expected three channels (3, H, W), got {self.in_shape}")
        if not isinstance(pattern, str) or len(pattern) != 4 or not set(pattern.lower()) <= set("rgb"):
            raise UserError(f"Demosaic: pattern: expected four of r, g, b, such as 'rggb', got {pattern!r}")
        self.pattern = pattern.lower()
        _, h, w = self.in_shape
        self.out_shape = (1, h, w)
        channel = torch.tensor(["rgb".index(c) for c in self.pattern]).reshape(2, 2)
        tiled = channel[torch.arange(h)[:, None] % 2, torch.arange(w) % 2]
        self._mask = Constant(torch.nn.functional.one_hot(tiled, 3).permute(2, 0, 1).bool())

    def forward(self, x: Tensor) -> Tensor:
        """Return the mosaic, `(B, 1, H, W)`."""
        return (x * self._mask.like(x)).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the mosaic's pixels in their channels, zeros elsewhere, `(B, 3, H, W)`."""
        return y * self._mask.like(y)

    @property
    def svd(self) -> Spectrum:
        """Ones, one for each pixel."""
        return row_orthogonal_spectrum(self, 1.0, device=self._mask.value.device)

    def _describe(self) -> str:
        return self.pattern
