"""Linear convolution of an image that is extended past its border, by Fourier transforms.

    A = C F_s^H diag(h_s) F_s P

with the extension `P` by reflection or zeros, the kernel's transform `h_s` on a grid of a size `s` with a fast
transform, and the crop `C` to the pixels that are free of wrap-around.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import LinearOperator
from ..numerics.constants import Constant, linear
from ..numerics.linalg import conjugate_gradients
from .borders import Border, margins, reflected
from .fourier import filtered, wrapped


class Bordered(LinearOperator):
    """Linear convolution of the padded image, by Fourier transforms of a fast size."""

    def __init__(self, in_shape: tuple[int, ...], kernel: Tensor, border: Border) -> None:
        from scipy.fft import next_fast_len

        self.in_shape = in_shape
        channels, h, w = in_shape
        self._taps = (kernel.shape[-2], kernel.shape[-1])
        self._index: tuple[Constant, ...] = ()
        self._pad: tuple[int, int, int, int] = (0, 0, 0, 0)
        if border != "valid":
            (top, bottom), (left, right) = (margins(n) for n in self._taps)
            if border == "reflect":
                self._index = (Constant(reflected(h, top, bottom)), Constant(reflected(w, left, right)))
            else:
                self._pad = (left, right, top, bottom)
            h, w = h + top + bottom, w + left + right
        self._padded = (h, w)
        self.out_shape = (channels, h - self._taps[0] + 1, w - self._taps[1] + 1)
        self._size = (int(next_fast_len(h, real=True)), int(next_fast_len(w, real=True)))
        self._spectrum = Constant(torch.fft.rfft2(kernel, s=self._size))
        # A circular blur approximates one with zero borders, but not with reflections, which took more steps with it.
        self._near: Constant | None = None
        if border == "zero":
            self._near = Constant(torch.fft.rfft2(wrapped(kernel, in_shape[-2:])).abs() ** 2)

    def _apply(self, x: Tensor) -> Tensor:
        _, h, w = self.out_shape
        top, left = self._taps[0] - 1, self._taps[1] - 1
        if self._index:
            x = x.index_select(-2, self._index[0].like(x)).index_select(-1, self._index[1].like(x))
        elif any(self._pad):
            x = torch.nn.functional.pad(x, self._pad)
        return filtered(x, self._spectrum.like(x), self._size)[..., top : top + h, left : left + w]

    def _apply_transposed(self, y: Tensor) -> Tensor:
        (kh, kw), (_, h, w) = self._taps, self.in_shape
        # `_apply` crops at k - 1; its transpose begins with that shift, here a circular one at the end.
        z = filtered(y, self._spectrum.like(y).conj(), self._size)
        z = torch.roll(z, (kh - 1, kw - 1), (-2, -1))[..., : self._padded[0], : self._padded[1]]
        if self._index:
            rows, columns = self._index[0].like(y), self._index[1].like(y)
            z = z.new_zeros((*z.shape[:-2], h, z.shape[-1])).index_add(-2, rows, z)
            return z.new_zeros((*z.shape[:-1], w)).index_add(-1, columns, z)
        left, _, top, _ = self._pad
        return z[..., top : top + h, left : left + w]

    def forward(self, x: Tensor) -> Tensor:
        """Return `C F^H diag(h) F P x`, `(B, *out_shape)`."""
        return linear(x, self._apply, self._apply_transposed)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the transpose, which folds the extensions back, `(B, *in_shape)`."""
        return linear(y, self._apply_transposed, self._apply)

    def solve(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """Return `(A^T A + rho I)^{-1} b` by conjugate gradients; zeros outside allow a circular preconditioner."""
        r = torch.as_tensor(rho, dtype=b.dtype, device=b.device).reshape(-1, *[1] * (b.ndim - 1))
        if self._near is None or not bool((r > 0).all()):
            return super().solve(b, rho)
        response = 1 / (self._near.like(b) + r)
        solution = conjugate_gradients(
            lambda v: self.normal(v) + r * v, b, preconditioner=lambda v: filtered(v, response)
        )
        return solution.x
