"""Convolution with a point-spread function.

    y[i] = sum_m k[m] x[i + c - m],      c = n // 2 for a kernel of n pixels, on each axis

This is a true convolution: the kernel is flipped, as in `scipy.ndimage.convolve`, also for even sizes. Four borders
extend the image: `circular` (scipy's "wrap"), `reflect` (scipy's "reflect": d c b a | a b c d | d c b a), `zero`
(scipy's "constant"), and `valid`, which keeps only the `(H - h + 1, W - w + 1)` pixels that need no extension.

A circular blur is diagonal in Fourier space (`circular`). The other borders take Fourier transforms of the extended
image (`bordered`), or sums of shifted images for short kernels on large ones (`direct`). A kernel that is symmetric in
both axes is diagonal in cosines under reflecting borders (`mirrored`), at any size. With all borders a kernel of rank
one is a product over the axes, with a closed form up to 2048 pixels (`separable`).
"""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from ...errors import UserError
from ..base import LinearOperator, Spectrum
from ..checks import point_spread
from ..composed.separable import SVD_LIMIT, Separable
from ..numerics.constants import Constant
from ..shapes import image_shape
from .bordered import Bordered
from .borders import Border, convolution_matrix
from .circular import Circular
from .direct import TAPS, Direct, count_taps
from .fourier import cosine_power
from .mirrored import MATRIX_LIMIT, Mirrored, is_symmetric


class Blur(LinearOperator):
    """Convolution `y = k * x` of every channel with one kernel, or with its own.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        kernel: point-spread function `k`, `(h, w)` or `(C, h, w)`, of any sign and sum; it may be larger than the image
            except with the border "valid". Its centre is pixel `n // 2`: a kernel of an even size, symmetric about its
            middle, shifts the image by half a pixel; see `centered_kernel`.
        border: extension of the image: "circular", "reflect", "zero", or "valid" for the pixels that need no extension.

    Raises:
        TypeError: the kernel is no tensor.
        ValueError: a kernel of a wrong shape, with values that are NaN or infinite, or larger than the image with
            "valid"; an unknown border.

    Example:
        >>> import torch
        >>> A = Blur((1, 8, 8), kernel=torch.ones(3, 3) / 9, border="reflect")
        >>> A(torch.ones(1, 1, 8, 8)).mean().round(decimals=4)
        tensor(1.)
    """

    name = "blur"
    summary = "convolution: Gaussian, motion, uniform or any kernel, four borders"
    photographic = True

    def __init__(self, in_shape: tuple[int, ...], *, kernel: Tensor, border: Border = "reflect") -> None:
        self.in_shape = image_shape("Blur", in_shape)
        if border not in get_args(Border):
            raise UserError(f"Blur: border: expected one of {', '.join(get_args(Border))}, got {border!r}")
        self.border: Border = border
        k = point_spread(kernel, self.in_shape, border)
        self._kernel = Constant(k)
        factors = None if border == "circular" else _rank_one(k)
        self._axes = None if factors is None else (Constant(factors[0]), Constant(factors[1]))
        longest = max(self.in_shape[1:])
        mirrored = border == "reflect" and is_symmetric(k)
        self._closed: Separable | Mirrored | None = None
        self._form: LinearOperator
        if mirrored and (longest > MATRIX_LIMIT or factors is None):
            self._closed = Mirrored(self.in_shape, k)
        elif (matrices := self.factors) is not None:
            self._closed = Separable(self.in_shape, rows=matrices[0], columns=matrices[1])
        passes = (k,) if factors is None else (factors[0][None, :, None], factors[1][None, None])
        if border == "circular":
            self._form = Circular(self.in_shape, k)
        elif isinstance(self._closed, Separable) and longest <= MATRIX_LIMIT:
            self._form = self._closed
        elif longest > MATRIX_LIMIT and count_taps(passes) <= TAPS:
            self._form = Direct(self.in_shape, passes, k, border)
        else:
            self._form = Bordered(self.in_shape, k, border)
        self.out_shape = self._form.out_shape
        self.diagonal_in_cosines = isinstance(self._closed, Mirrored)

    @property
    def kernel(self) -> Tensor:
        """The point-spread function, `(1, h, w)` or `(C, h, w)`, float64."""
        return self._kernel.value

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """Matrices of the two axes up to 2048 pixels, for a kernel of rank one and a border other than circular."""
        if self._axes is None or max(self.in_shape[1:]) > SVD_LIMIT:
            return None
        rows, columns = (
            convolution_matrix(f.value, n, self.border) for f, n in zip(self._axes, self.in_shape[1:], strict=True)
        )
        return rows, columns

    @property
    def cosine_power(self) -> Tensor | None:
        """The diagonal of `A^T A` in cosines, up to the borders, for a large picture."""
        if max(self.in_shape[1:]) <= MATRIX_LIMIT:
            return None
        return cosine_power(self.kernel, (self.in_shape[1], self.in_shape[2]))

    def norm(self) -> float:
        """Return the largest singular value; see `LinearOperator.norm`."""
        return (self._closed or self._form).norm()

    def forward(self, x: Tensor) -> Tensor:
        """Return `k * x`, `(B, *out_shape)`."""
        return self._form.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the correlation of `y` with `k`, borders folded back, `(B, *in_shape)`."""
        return self._form.adjoint(y)

    def normal(self, x: Tensor) -> Tensor:
        """Return `A^T A x`."""
        return self._form.normal(x)

    @property
    def svd(self) -> Spectrum | None:
        """The spectrum, if it has a closed form.

        By the Fourier transform for circular borders, by small decompositions for a kernel of rank one, by the cosine
        transform for a kernel that is symmetric in both axes and reflecting borders; else `None`.
        """
        return (self._closed or self._form).svd

    def pinv(self, y: Tensor) -> Tensor:
        """Return `A^+ y`, in closed form if `svd` exists, else by conjugate gradients."""
        self._check(y, self.out_shape, "a measurement", "y")
        return (self._closed or self._form).pinv(y)

    def solve(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """Return `(A^T A + rho I)^{-1} b`, in closed form if `svd` exists, else by conjugate gradients."""
        self._check(b, self.in_shape, "an image", "b")
        return (self._closed or self._form).solve(b, rho)

    def tikhonov(self, y: Tensor, rho: Tensor | float) -> Tensor:
        """Return `(A^T A + rho I)^{-1} A^T y`, in closed form if `svd` exists, else by conjugate gradients."""
        self._check(y, self.out_shape, "a measurement", "y")
        return (self._closed or self._form).tikhonov(y, rho)

    def _describe(self) -> str:
        h, w = self.kernel.shape[-2:]
        centre = "" if h % 2 and w % 2 else f" about pixel [{h // 2}, {w // 2}]"  # half a pixel beyond the middle
        return f"kernel {h}x{w}{centre}, {self.border}"


def _rank_one(kernel: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return factors `(h,)`, `(w,)` of a kernel shared by the channels, if it is their product up to rounding."""
    if len(kernel) != 1:
        return None
    u, s, vt = torch.linalg.svd(kernel[0], full_matrices=False)
    single = bool((kernel == kernel.float()).all())  # a kernel from float32 has that precision only
    if s[0] == 0 or (len(s) > 1 and s[1] > (1e-6 if single else 1e-13) * s[0]):
        return None
    root = math.sqrt(float(s[0]))
    return u[:, 0] * root, vt[0] * root
