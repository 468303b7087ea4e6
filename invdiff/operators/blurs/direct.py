"""Linear convolution with a short kernel by sums of shifted images.

With the extension `P` of `bordered` and the kernel as a product of passes `k = k_1 * k_2 * ...`, each a few taps,

    y = S_2 S_1 P x,        (S x)[i, j] = sum_{m, n} k[m, n] x[i + a - m, j + b - n]

over the pixels that need no wrap-around; `(a, b)` is the last pixel of the kernel. A kernel of rank one is a pass along
each axis. A Fourier transform of a large picture costs as much as some 40 taps, and takes more memory.
"""

from __future__ import annotations

from torch import Tensor

from ..numerics.constants import Constant
from .bordered import Bordered
from .borders import Border

TAPS = 40
"""Largest number of taps in all passes for which this is faster than Fourier transforms."""


class Direct(Bordered):
    """Linear convolution of the extended image with the passes of a kernel, tap by tap.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        passes: kernels `(C or 1, h, w)` whose convolution is the kernel.
        kernel: the kernel itself.
        border: extension of the image.
    """

    def __init__(self, in_shape: tuple[int, ...], passes: tuple[Tensor, ...], kernel: Tensor, border: Border) -> None:
        super().__init__(in_shape, kernel, border)
        self._passes = tuple(Constant(p) for p in passes)

    def _convolved(self, x: Tensor) -> Tensor:
        for one in self._passes:
            x = _gathered(x, one.like(x))
        return x

    def _spread(self, y: Tensor) -> Tensor:
        for one in reversed(self._passes):
            y = _scattered(y, one.like(y))
        return y


def count_taps(passes: tuple[Tensor, ...]) -> int:
    """Return the number of products for each pixel."""
    return sum(p.shape[-2] * p.shape[-1] for p in passes)


def _taps(kernel: Tensor) -> list[tuple[int, int]]:
    return [(i, j) for i in range(kernel.shape[-2]) for j in range(kernel.shape[-1])]


def _gathered(x: Tensor, kernel: Tensor) -> Tensor:
    """Return the convolution over the pixels that need no extension."""
    a, b = kernel.shape[-2] - 1, kernel.shape[-1] - 1
    h, w = x.shape[-2] - a, x.shape[-1] - b
    out = x.new_zeros((*x.shape[:-2], h, w))
    for i, j in _taps(kernel):
        out.addcmul_(x[..., a - i : a - i + h, b - j : b - j + w], kernel[:, i : i + 1, j : j + 1])
    return out


def _scattered(y: Tensor, kernel: Tensor) -> Tensor:
    """Return the transpose of `_gathered`."""
    a, b = kernel.shape[-2] - 1, kernel.shape[-1] - 1
    h, w = y.shape[-2:]
    out = y.new_zeros((*y.shape[:-2], h + a, w + b))
    for i, j in _taps(kernel):
        out[..., a - i : a - i + h, b - j : b - j + w].addcmul_(y, kernel[:, i : i + 1, j : j + 1])
    return out
