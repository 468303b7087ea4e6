"""Convolution that keeps only the pixels which need no extension, as a function of the image and of the kernel.

    y = k * x,      x (G, h + n - 1, w + n - 1),  k (n, n),  y (G, h, w)

by Fourier transforms of one size. It is bilinear, so it has two transposed maps: of `x -> k * x` and of `k -> k * x`.
"""

from __future__ import annotations

import torch
from torch import Tensor


class ValidConvolution:
    """The bilinear map `(x, k) -> k * x` for one size.

    Args:
        height: `h`, rows of the result.
        width: `w`, its columns.
        side: `n`, of the kernel.

    Example:
        >>> ValidConvolution(4, 4, 3).size
        (6, 6)
    """

    def __init__(self, height: int, width: int, side: int) -> None:
        from scipy.fft import next_fast_len

        self.height, self.width, self.side = height, width, side
        self.size = tuple(int(next_fast_len(n + side - 1, real=True)) for n in (height, width))

    def spectrum(self, z: Tensor) -> Tensor:
        """Return the transform of images or kernels, padded with zeros."""
        out: Tensor = torch.fft.rfft2(z, s=self.size)
        return out

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Return `k * x` from the spectra of both, `(G, h, w)`."""
        z: Tensor = torch.fft.irfft2(x * kernel, s=self.size)
        return z[..., self.side - 1 : self.side - 1 + self.height, self.side - 1 : self.side - 1 + self.width]

    def to_image(self, y: Tensor, kernel: Tensor) -> Tensor:
        """Return the transpose of `x -> k * x` at `y`, from the kernel's spectrum, `(G, h + n - 1, w + n - 1)`."""
        z: Tensor = torch.fft.irfft2(self._embedded(y) * kernel.conj(), s=self.size)
        return z[..., : self.height + self.side - 1, : self.width + self.side - 1]

    def to_kernel(self, y: Tensor, x: Tensor) -> Tensor:
        """Return the transpose of `k -> k * x` at `y`, from the spectrum of `x`, `(n, n)`."""
        z: Tensor = torch.fft.irfft2((self._embedded(y) * x.conj()).sum(0), s=self.size)
        return z[: self.side, : self.side]

    def to_kernels(self, y: Tensor, x: Tensor) -> Tensor:
        """Return the same for each of several measurements `(N, h, w)` of one image's spectrum, `(N, n, n)`."""
        z: Tensor = torch.fft.irfft2(self._embedded(y) * x.conj(), s=self.size)
        return z[:, : self.side, : self.side]

    def _embedded(self, y: Tensor) -> Tensor:
        return self.spectrum(torch.nn.functional.pad(y, (self.side - 1, 0, self.side - 1, 0)))
