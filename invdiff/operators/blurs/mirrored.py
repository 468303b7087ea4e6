"""Convolution under mirrored borders with a kernel that is symmetric in both axes, such as a disc of defocus.

With an odd number of pixels on each axis and `k[m, n] = k[-m, n] = k[m, -n]` around its centre, the convolution of a
mirrored image is a mirrored image. The cosines `D[i, x] = sqrt((2 - [i = 0]) / N) cos(pi i (x + 1/2) / N)`, the
discrete cosine transform of type II, are the eigenvectors:

    A = (D_r (x) D_c)^T diag(l) (D_r (x) D_c),      l[i, j] = sum_{m, n} k[m, n] cos(pi i m / H) cos(pi j n / W)

The cosines are dense matrices for short sides, where a product with them is fastest, and fast transforms for others.

References:
    The Discrete Cosine Transform (Strang, 1999), https://doi.org/10.1137/S0036144598336745. For deblurring: A Fast
    Algorithm for Deblurring Models with Neumann Boundary Conditions (Ng, Chan, Tang, 1999),
    https://doi.org/10.1137/S1064827598341384.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...dct import dct2, idct2
from ..base import LinearOperator, Spectrum
from ..numerics.constants import Constant, linear

MATRIX_LIMIT = 512
"""Longest side on which a product with a dense matrix is faster than a Fourier transform."""


class Mirrored(LinearOperator):
    """Convolution under mirrored borders, in the basis of cosines.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        kernel: a kernel for which `is_symmetric` holds, `(1, h, w)` or `(C, h, w)`.

    Example:
        >>> A = Mirrored((1, 4, 4), torch.ones(1, 3, 3) / 9)
        >>> A(torch.ones(1, 1, 4, 4)).mean().round(decimals=4)
        tensor(1.)
    """

    def __init__(self, in_shape: tuple[int, ...], kernel: Tensor) -> None:
        self.in_shape = self.out_shape = tuple(in_shape)
        h, w = self.in_shape[1:]
        self._dense = (Constant(cosines(h)), Constant(cosines(w))) if max(h, w) <= MATRIX_LIMIT else None
        (kh, kw), k = kernel.shape[-2:], kernel.double()
        down = torch.cos(math.pi / h * torch.outer(torch.arange(h), torch.arange(kh) - kh // 2).double())
        across = torch.cos(math.pi / w * torch.outer(torch.arange(w), torch.arange(kw) - kw // 2).double())
        values = down @ k @ across.T
        self._modulus = Constant(values.abs())
        self._sign = Constant(torch.where(values < 0, -1.0, 1.0))

    def _apply(self, x: Tensor) -> Tensor:
        return self._back(self._modulus.like(x) * self._sign.like(x) * self._transform(x))

    def forward(self, x: Tensor) -> Tensor:
        """Return `k * x`."""
        return linear(x, self._apply, self._apply)  # it is symmetric

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `k * y`: the operator is symmetric."""
        return self.forward(y)

    @property
    def svd(self) -> Spectrum:
        """The absolute eigenvalues; the signs belong to `U`."""
        sign = self._sign
        return Spectrum(
            s=self._modulus.value.expand(self.in_shape),
            V=self._back,
            Vt=self._transform,
            U=lambda c: self._back(sign.like(c) * c),
            Ut=lambda y: sign.like(y) * self._transform(y),
        )

    def _transform(self, x: Tensor) -> Tensor:
        if self._dense is None:
            return dct2(x)
        rows, columns = self._dense
        return rows.like(x) @ x @ columns.like(x).T

    def _back(self, c: Tensor) -> Tensor:
        if self._dense is None:
            return idct2(c)
        rows, columns = self._dense
        return rows.like(c).T @ c @ columns.like(c)


def cosines(n: int) -> Tensor:
    """Return the orthogonal matrix of the discrete cosine transform of type II, `(n, n)`, float64."""
    i, x = torch.arange(n, dtype=torch.float64), torch.arange(n, dtype=torch.float64) + 0.5
    d = torch.cos(math.pi / n * torch.outer(i, x)) * math.sqrt(2 / n)
    d[0] /= math.sqrt(2)
    return d


def is_symmetric(kernel: Tensor) -> bool:
    """Return whether a kernel `(C, h, w)` has odd sides and is its own mirror image in both axes, up to rounding."""
    h, w = kernel.shape[-2:]
    if h % 2 == 0 or w % 2 == 0:
        return False
    single = bool((kernel == kernel.float()).all())  # a kernel from float32 has that precision only
    gap = max(float((kernel - kernel.flip(axis)).abs().max()) for axis in (-2, -1))
    return gap <= (1e-6 if single else 1e-13) * float(kernel.abs().max())
