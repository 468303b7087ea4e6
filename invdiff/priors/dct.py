"""Orthonormal cosine transform of the last two axes (DCT-II and its inverse), by one fast Fourier transform each.

    c_k = w_k sum_n x_n cos(pi k (2 n + 1) / (2 N)),      w_0 = sqrt(1/N),  w_k = sqrt(2/N)

It diagonalises covariances that are stationary under reflecting borders.

References:
    A Fast Cosine Transform in One and Two Dimensions (Makhoul, 1980), https://doi.org/10.1109/TASSP.1980.1163351,
    section III.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _weights(n: int, x: Tensor) -> Tensor:
    w = torch.full((n,), math.sqrt(2 / n), dtype=x.dtype, device=x.device)
    w[0] = math.sqrt(1 / n)
    return w


def _phase(n: int, x: Tensor) -> Tensor:
    k = torch.arange(n, dtype=torch.float64, device=x.device)
    phase: Tensor = torch.polar(torch.ones_like(k), -math.pi * k / (2 * n))
    return phase.to(torch.complex128 if x.dtype == torch.float64 else torch.complex64)


def _dct(x: Tensor) -> Tensor:
    n = x.shape[-1]
    v = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1)
    c: Tensor = (torch.fft.fft(v) * _phase(n, x)).real * _weights(n, x)
    return c


def _idct(c: Tensor) -> Tensor:
    n = c.shape[-1]
    c = c / _weights(n, c)
    # The spectrum of the reordered signal is e^{i pi k / 2N} (c_k - i c_{N-k}), with c_N = 0.
    mirrored = torch.cat([torch.zeros_like(c[..., :1]), c[..., 1:].flip(-1)], -1)
    v = torch.fft.ifft(torch.complex(c, -mirrored) * _phase(n, c).conj()).real
    x = torch.empty_like(v)
    x[..., ::2] = v[..., : (n + 1) // 2]
    x[..., 1::2] = v[..., (n + 1) // 2 :].flip(-1)
    return x


def dct2(x: Tensor) -> Tensor:
    """Return the coefficients of images, `(..., H, W)` -> `(..., H, W)`."""
    return _dct(_dct(x).mT).mT


def idct2(c: Tensor) -> Tensor:
    """Return the images of coefficients, `(..., H, W)` -> `(..., H, W)`; the inverse and the transpose of `dct2`."""
    return _idct(_idct(c).mT).mT
