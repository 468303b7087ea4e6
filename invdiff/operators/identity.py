"""The identity, for denoising.

A x = x
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import LinearOperator, Spectrum
from .shapes import image_shape


def _same(x: Tensor) -> Tensor:
    return x


class Identity(LinearOperator):
    """The identity `A x = x`.

    Args:
        in_shape: shape of one image, `(C, H, W)`.

    Example:
        >>> import torch
        >>> Identity((1, 2, 2))(torch.ones(1, 1, 2, 2)).sum()
        tensor(4.)
    """

    name = "identity"
    summary = "the image itself: denoising"
    photographic = True

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        self.in_shape = self.out_shape = image_shape("Identity", in_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `y`."""
        return y

    @property
    def pixel_gains(self) -> Tensor:
        """One."""
        return torch.ones((1, 1, 1), dtype=torch.float64)

    @property
    def svd(self) -> Spectrum:
        """Ones."""
        return Spectrum(torch.ones((), dtype=torch.float64).expand(self.in_shape), _same, _same, _same, _same)
