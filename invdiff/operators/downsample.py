"""Downsampling: an antialiasing filter, then every f-th value.

On each axis, for output pixel `i` whose centre lies at `u = f (i + 1/2)` in input pixels,

    y[i] = sum_j w_ij x[j] / sum_j w_ij,      w_ij = phi((j + 1/2 - u) / f)

over the pixels `j` inside the image: at the border the filter is clipped and renormalised, as in Pillow (and a filter
without a pixel inside takes the nearest one). `phi` is the box of width 1 for averages, and Keys' cubic with a = -1/2
for bicubic. There are `ceil(n / f)` output pixels; if `f` does not divide the size, the last one depends on fewer
pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError, UserTypeError
from .base import LinearOperator, Spectrum
from .composed.separable import Separable
from .numerics.constants import Constant
from .shapes import image_shape


class Downsample(LinearOperator):
    """Downsampling by an integer factor, channel by channel.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        factor: positive integer `f`; the output has `ceil(H / f)` rows and `ceil(W / f)` columns.
        kernel: "bicubic" (antialiased: support of `4 f` pixels), "average" (blocks of `f x f` pixels), or a filter of
            one axis, `(m,)`, or of two, `(m, n)`, in input pixels, centred on the output pixel and normalised.

    Raises:
        TypeError: the kernel is neither a name nor a tensor.
        ValueError: the factor is no positive integer, or the kernel is unknown, of another shape, or of sum zero.

    References:
        Cubic convolution interpolation for digital image processing (Keys, 1981),
        https://doi.org/10.1109/TASSP.1981.1163711, equation 15.

    Example:
        >>> import torch
        >>> Downsample((1, 4, 4), factor=2, kernel="average")(torch.ones(1, 1, 4, 4)).shape
        torch.Size([1, 1, 2, 2])
    """

    name = "downsample"
    summary = "fewer pixels: average or antialiased bicubic, any integer factor"
    photographic = True

    def __init__(
        self, in_shape: tuple[int, ...], *, factor: int, kernel: Literal["bicubic", "average"] | Tensor = "bicubic"
    ) -> None:
        self.in_shape = image_shape("Downsample", in_shape)
        if not isinstance(factor, int) or isinstance(factor, bool) or factor < 1:
            raise UserError(f"Downsample: factor: expected a positive integer, got {factor!r}")
        self.factor = factor
        filters, self._name = _filters(kernel, factor)
        self._separable: Separable | None = None
        self._form: LinearOperator
        if isinstance(filters, Tensor):
            self._form = _Strided(self.in_shape, filters, factor)
        else:
            rows, columns = (_matrix(t, n, factor) for t, n in zip(filters, self.in_shape[1:], strict=True))
            self._form = self._separable = Separable(self.in_shape, rows=rows, columns=columns)
        self.out_shape = self._form.out_shape

    def forward(self, x: Tensor) -> Tensor:
        """Return the smaller images, `(B, C, ceil(H / f), ceil(W / f))`."""
        return self._form.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `A^T y`, `(B, C, H, W)`."""
        return self._form.adjoint(y)

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """The matrices of the two axes, for a kernel of rank one."""
        return self._separable.factors if self._separable else None

    @property
    def svd(self) -> Spectrum | None:
        """Two small decompositions, for a kernel of rank one; see `Separable`."""
        return self._form.svd

    def _describe(self) -> str:
        return f"factor {self.factor}, {self._name}"


class _Strided(LinearOperator):
    """Strided correlation with a kernel that is not a product over the axes."""

    def __init__(self, in_shape: tuple[int, int, int], kernel: Tensor, factor: int) -> None:
        self.in_shape = in_shape
        channels, h, w = in_shape
        self.out_shape = (channels, -(-h // factor), -(-w // factor))
        self._factor, self._kernel = factor, Constant(kernel)
        pads = []
        for n, taps in ((w, kernel.shape[1]), (h, kernel.shape[0])):
            first = _offset(taps, factor)
            pads += [-first, (-(-n // factor) - 1) * factor + first + taps - n]
        self._pads = tuple(pads)
        total = self._correlate(torch.ones(1, 1, h, w, dtype=kernel.dtype))[0]
        if bool((total.abs() < 1e-12 * kernel.abs().max()).any()):
            raise UserError(_ZERO_SUM)
        self._weights = Constant(1 / total)

    def _correlate(self, x: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(x, self._pads)
        return torch.nn.functional.conv2d(padded, self._kernel.like(x)[None, None], stride=self._factor)

    def forward(self, x: Tensor) -> Tensor:
        return self._correlate(x.flatten(0, 1)[:, None]).reshape(-1, *self.out_shape) * self._weights.like(x)


_ZERO_SUM = "Downsample: kernel: expected a sum other than zero over every output pixel; it is normalised"


def _filters(kernel: object, factor: int) -> tuple[tuple[Tensor, Tensor] | Tensor, str]:
    """Return the filters of the two axes, or one filter if it is not a product, and a name."""
    if isinstance(kernel, Tensor):
        k = kernel.detach().double()
        if k.ndim not in (1, 2) or k.numel() == 0 or not bool(torch.isfinite(k).all()):
            raise UserError(
                f"Downsample: kernel: expected finite values of shape (m,) or (m, n), got shape {tuple(k.shape)}"
            )
        if k.ndim == 1:
            return (k, k), f"kernel {len(k)}"
        u, s, vt = torch.linalg.svd(k, full_matrices=False)
        name = f"kernel {k.shape[0]}x{k.shape[1]}"
        if len(s) > 1 and s[1] > 1e-6 * s[0]:
            return k, name
        return (u[:, 0] * s[0], vt[0]), name
    if kernel == "average":
        taps = torch.ones(factor, dtype=torch.float64)
    elif kernel == "bicubic":
        t = (torch.arange(4 * factor, dtype=torch.float64) + 0.5) / factor - 2
        taps = _cubic(t if factor % 2 == 0 else (torch.arange(4 * factor - 1, dtype=torch.float64) + 1) / factor - 2)
    elif isinstance(kernel, str):
        raise UserError(f"Downsample: kernel: expected 'bicubic', 'average' or a tensor, got {kernel!r}")
    else:
        raise UserTypeError(f"Downsample: kernel: expected a name or a tensor, got {type(kernel).__name__}")
    return (taps, taps), str(kernel)


def _cubic(t: Tensor) -> Tensor:
    a, d = -0.5, t.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return torch.where(d < 1, near, torch.where(d < 2, far, 0))


def _offset(taps: int, factor: int) -> int:
    """Return the input pixel of the first tap of output pixel 0.

    Even filters on even factors, and odd on odd, are centred exactly; otherwise half a pixel to the left.
    """
    return (factor - taps) // 2


def _matrix(taps: Tensor, n: int, factor: int) -> Tensor:
    count = -(-n // factor)
    column = torch.arange(count)[:, None] * factor + _offset(len(taps), factor) + torch.arange(len(taps))
    inside = (column >= 0) & (column < n)
    weight = torch.where(inside, taps, 0)
    blind = ~inside.any(1)  # a short filter centred beyond the last pixel takes that pixel
    weight[blind, 0], column[blind, 0] = 1.0, n - 1
    total = weight.sum(1, keepdim=True)
    if bool((total.abs() < 1e-12 * taps.abs().max()).any()):
        raise UserError(_ZERO_SUM)
    return torch.zeros(count, n, dtype=taps.dtype).scatter_add(1, column.clamp(0, n - 1), weight / total)
