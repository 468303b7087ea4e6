"""Orthonormal cosine transform of the last two axes (DCT-II and its inverse), by one fast Fourier transform each.

    c_k = w_k sum_n x_n cos(pi k (2 n + 1) / (2 N)),      w_0 = sqrt(1/N),  w_k = sqrt(2/N)

It diagonalises covariances that are stationary under reflecting borders, and convolutions with symmetric kernels there.

Large images are transformed plane by plane with real Fourier transforms, which take half the work and a few planes of
memory. With `z_k` the product of spectrum and phase, `c_k = Re z_k` and `c_{N-k} = -Im z_k` for `k <= N / 2`.

References:
    A Fast Cosine Transform in One and Two Dimensions (Makhoul, 1980), https://doi.org/10.1109/TASSP.1980.1163351,
    section III.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

LARGE = 2**20
"""Pixels of a plane above which planes are transformed one by one."""


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


def _real_dct(x: Tensor) -> Tensor:
    n, half = x.shape[-1], x.shape[-1] // 2 + 1
    v = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1)
    z: Tensor = torch.fft.rfft(v) * (_phase(n, x) * _weights(n, x))[:half]
    return torch.cat([z.real, z.imag[..., 1 : n - half + 1].neg().flip(-1)], -1)


def _real_idct(c: Tensor) -> Tensor:
    n, half = c.shape[-1], c.shape[-1] // 2 + 1
    mirrored = torch.cat([torch.zeros_like(c[..., :1]), c[..., n - half + 1 :].flip(-1)], -1)
    weights = _weights(n, c)
    # The two halves share their weights but at k = 0, where the mirrored part is zero.
    z = torch.complex(c[..., :half], -mirrored) * (_phase(n, c).conj() / weights)[:half]
    v: Tensor = torch.fft.irfft(z, n=n)
    x = torch.empty_like(v)
    x[..., ::2] = v[..., : (n + 1) // 2]
    x[..., 1::2] = v[..., (n + 1) // 2 :].flip(-1)
    return x


def _by_planes(x: Tensor, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a transform of the last axis to both last axes, plane by plane."""
    planes = x.reshape(-1, *x.shape[-2:])
    return torch.stack([transform(transform(p).mT.contiguous()).mT for p in planes]).reshape(x.shape)


def _is_large(x: Tensor) -> bool:
    return x.shape[-2] * x.shape[-1] > LARGE


def dct2(x: Tensor) -> Tensor:
    """Return the coefficients of images, `(..., H, W)` -> `(..., H, W)`."""
    return _by_planes(x, _real_dct) if _is_large(x) else _dct(_dct(x).mT).mT


def idct2(c: Tensor) -> Tensor:
    """Return the images of coefficients, `(..., H, W)` -> `(..., H, W)`; the inverse and the transpose of `dct2`."""
    return _by_planes(c, _real_idct) if _is_large(c) else _idct(_idct(c).mT).mT
