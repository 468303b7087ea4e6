"""Convolution with a point-spread function.

    y[i] = sum_m k[m] x[i + c - m],      c = n // 2 for a kernel of n pixels, on each axis

This is a true convolution: the kernel is flipped, as in `scipy.ndimage.convolve`, also for even sizes. Four borders
extend the image: `circular` (scipy's "wrap"), `reflect` (scipy's "reflect": d c b a | a b c d | d c b a), `zero`
(scipy's "constant"), and `valid`, which keeps only the `(H - h + 1, W - w + 1)` pixels that need no extension.

A circular blur is diagonal in Fourier space, with the kernel's transform `h`. In real numbers, with the Hartley basis
`V c = Re F c - Im F c` (orthonormal, its own inverse),

    A = U diag(|h|) V^T,      U = F^H (h / |h|) F V

A kernel of rank one is a product over the axes, for which the other borders have a closed form too (`separable`), and
one that is symmetric in both axes is diagonal in cosines under reflecting borders (`mirrored`).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from ..base import LinearOperator, Spectrum
from ..composed.separable import SVD_LIMIT, Separable
from ..numerics.constants import Constant, linear
from ..numerics.linalg import conjugate_gradients
from ..shapes import image_shape
from .mirrored import Mirrored, is_symmetric

Border = Literal["circular", "reflect", "zero", "valid"]

MATRIX_LIMIT = 512
"""Longest side on which a product with a dense matrix is faster than a Fourier transform."""


class Blur(LinearOperator):
    """Convolution `y = k * x` of every channel with one kernel, or with its own.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        kernel: point-spread function `k`, `(h, w)` or `(C, h, w)`, of any sign and sum; it may be larger than the image
            except with the border "valid".
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
            raise ValueError(f"Blur: border: expected one of {', '.join(get_args(Border))}, got {border!r}")
        self.border: Border = border
        k = _kernel(kernel, self.in_shape, border)
        self._kernel = Constant(k)
        factors = None if border == "circular" else _rank_one(k)
        self._closed: Separable | Mirrored | None = None
        self._form: LinearOperator
        if factors is not None and max(self.in_shape[1:]) <= SVD_LIMIT:
            h, w = self.in_shape[1:]
            rows, columns = (convolution_matrix(f, n, border) for f, n in zip(factors, (h, w), strict=True))
            self._closed = Separable(self.in_shape, rows=rows, columns=columns)
        elif border == "reflect" and is_symmetric(k) and max(self.in_shape[1:]) <= SVD_LIMIT:
            self._closed = Mirrored(self.in_shape, k)
        if border == "circular":
            self._form = _Circular(self.in_shape, k)
        elif isinstance(self._closed, Separable) and max(self.in_shape[1:]) <= MATRIX_LIMIT:
            self._form = self._closed
        else:
            self._form = _Bordered(self.in_shape, k, border)
        self.out_shape = self._form.out_shape

    @property
    def kernel(self) -> Tensor:
        """The point-spread function, `(1, h, w)` or `(C, h, w)`, float64."""
        return self._kernel.value

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """Matrices of the two axes, for a kernel of rank one and a border other than circular."""
        return None if self._closed is None else self._closed.factors

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
        return f"kernel {self.kernel.shape[-2]}x{self.kernel.shape[-1]}, {self.border}"


class _Circular(LinearOperator):
    """Periodic convolution: a product in Fourier space."""

    def __init__(self, in_shape: tuple[int, ...], kernel: Tensor) -> None:
        self.in_shape = self.out_shape = in_shape
        full = torch.fft.fft2(_wrapped(kernel, in_shape[-2:]))
        modulus = full.abs()
        phase = torch.where(modulus > 0, full / torch.where(modulus > 0, modulus, 1), 1)
        self._modulus, self._phase = Constant(modulus), Constant(phase[..., : phase.shape[-1] // 2 + 1])
        self._half = Constant(torch.fft.rfft2(_wrapped(kernel, in_shape[-2:])))
        self._power = Constant(self._half.value.abs() ** 2)
        self._largest = float(self._power.value.max())

    def _apply(self, x: Tensor) -> Tensor:
        return _filtered(x, self._half.like(x))

    def _apply_transposed(self, y: Tensor) -> Tensor:
        return _filtered(y, self._half.like(y).conj())

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self._apply, self._apply_transposed)

    def adjoint(self, y: Tensor) -> Tensor:
        return linear(y, self._apply_transposed, self._apply)

    def normal(self, x: Tensor) -> Tensor:
        return _filtered(x, self._power.like(x))

    def pinv(self, y: Tensor) -> Tensor:
        power = self._power.like(y)
        keep = power > 1e-12 * self._largest
        return _filtered(y, self._half.like(y).conj() * torch.where(keep, 1 / torch.where(keep, power, 1), 0))

    def solve(self, b: Tensor, rho: Tensor | float) -> Tensor:
        r = torch.as_tensor(rho, dtype=b.dtype, device=b.device)
        if not bool((r > 0).all()):
            return super().solve(b, rho)  # raises
        return _filtered(b, 1 / (self._power.like(b) + r.reshape(-1, 1, 1, 1)))

    def tikhonov(self, y: Tensor, rho: Tensor | float) -> Tensor:
        r = torch.as_tensor(rho, dtype=y.dtype, device=y.device).reshape(-1, 1, 1, 1)
        return _filtered(y, self._half.like(y).conj() / (self._power.like(y) + r))

    @property
    def svd(self) -> Spectrum:
        def u(c: Tensor) -> Tensor:
            return _filtered(_hartley(c), self._phase.like(c))

        def ut(y: Tensor) -> Tensor:
            return _hartley(_filtered(y, self._phase.like(y).conj()))

        return Spectrum(s=self._modulus.value.expand(self.in_shape), V=_hartley, Vt=_hartley, U=u, Ut=ut)


class _Bordered(LinearOperator):
    """Linear convolution of the padded image, by Fourier transforms of a fast size."""

    def __init__(self, in_shape: tuple[int, ...], kernel: Tensor, border: Border) -> None:
        from scipy.fft import next_fast_len

        self.in_shape = in_shape
        channels, h, w = in_shape
        self._taps = (kernel.shape[-2], kernel.shape[-1])
        self._index: tuple[Constant, ...] = ()
        self._pad: tuple[int, int, int, int] = (0, 0, 0, 0)
        if border != "valid":
            (top, bottom), (left, right) = (_margins(n) for n in self._taps)
            if border == "reflect":
                self._index = (Constant(_reflected(h, top, bottom)), Constant(_reflected(w, left, right)))
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
            self._near = Constant(torch.fft.rfft2(_wrapped(kernel, in_shape[-2:])).abs() ** 2)

    def _apply(self, x: Tensor) -> Tensor:
        _, h, w = self.out_shape
        top, left = self._taps[0] - 1, self._taps[1] - 1
        if self._index:
            x = x.index_select(-2, self._index[0].like(x)).index_select(-1, self._index[1].like(x))
        elif any(self._pad):
            x = torch.nn.functional.pad(x, self._pad)
        return _filtered(x, self._spectrum.like(x), self._size)[..., top : top + h, left : left + w]

    def _apply_transposed(self, y: Tensor) -> Tensor:
        (kh, kw), (_, h, w) = self._taps, self.in_shape
        # `_apply` crops at k - 1; its transpose begins with that shift, here a circular one at the end.
        z = _filtered(y, self._spectrum.like(y).conj(), self._size)
        z = torch.roll(z, (kh - 1, kw - 1), (-2, -1))[..., : self._padded[0], : self._padded[1]]
        if self._index:
            rows, columns = self._index[0].like(y), self._index[1].like(y)
            z = z.new_zeros((*z.shape[:-2], h, z.shape[-1])).index_add(-2, rows, z)
            return z.new_zeros((*z.shape[:-1], w)).index_add(-1, columns, z)
        left, _, top, _ = self._pad
        return z[..., top : top + h, left : left + w]

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self._apply, self._apply_transposed)

    def adjoint(self, y: Tensor) -> Tensor:
        return linear(y, self._apply_transposed, self._apply)

    def solve(self, b: Tensor, rho: Tensor | float) -> Tensor:
        r = torch.as_tensor(rho, dtype=b.dtype, device=b.device).reshape(-1, *[1] * (b.ndim - 1))
        if self._near is None or not bool((r > 0).all()):
            return super().solve(b, rho)
        response = 1 / (self._near.like(b) + r)
        solution = conjugate_gradients(
            lambda v: self.normal(v) + r * v, b, preconditioner=lambda v: _filtered(v, response)
        )
        return solution.x


def convolution_matrix(kernel: Tensor, n: int, border: Border) -> Tensor:
    """Return the matrix of a convolution on one axis.

    Args:
        kernel: `k`, `(m,)`.
        n: length of the axis.
        border: extension of the axis.

    Returns:
        Matrix `(n, n)`, or `(n - m + 1, n)` for "valid".
    """
    m = len(kernel)
    before, after = (0, 0) if border == "valid" else _margins(m)
    source = torch.arange(-before, n + after)
    rows = len(source) - m + 1
    column = source.unfold(0, m, 1)  # y[i] = sum_t k[t] p[i + m - 1 - t] on the padded axis p
    weight = kernel.flip(0).expand(rows, m)
    if border == "zero":
        weight = torch.where((column >= 0) & (column < n), weight, 0)
        column = column.clamp(0, n - 1)
    elif border == "circular":
        column = column % n
    elif border == "reflect":
        column = _reflect(column, n)
    return torch.zeros(rows, n, dtype=kernel.dtype).scatter_add(1, column, weight)


def _kernel(kernel: object, in_shape: tuple[int, ...], border: Border) -> Tensor:
    if not isinstance(kernel, Tensor):
        raise TypeError(
            f"Blur: kernel: expected a torch tensor, got {type(kernel).__name__}; convert it with torch.as_tensor"
        )
    if kernel.ndim not in (2, 3) or kernel.numel() == 0 or (kernel.ndim == 3 and len(kernel) not in (1, in_shape[0])):
        raise ValueError(
            f"Blur: kernel: expected shape (h, w) or ({in_shape[0]}, h, w) for images {in_shape}, "
            f"got {tuple(kernel.shape)}"
        )
    if kernel.is_complex() or not bool(torch.isfinite(kernel).all()):
        raise ValueError("Blur: kernel: expected finite real values, got NaN, infinite or complex ones; check its file")
    h, w = kernel.shape[-2:]
    if border == "valid" and (h > in_shape[1] or w > in_shape[2]):
        raise ValueError(
            f"Blur: kernel: expected at most {in_shape[1]} x {in_shape[2]} with border 'valid', got {h} x {w}; "
            "crop the kernel or choose another border"
        )
    return kernel.detach().double().reshape(-1, h, w)


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


def _margins(taps: int) -> tuple[int, int]:
    """Return the number of pixels before and behind the image that a kernel of `taps` pixels reaches."""
    return taps - 1 - taps // 2, taps // 2


def _reflect(index: Tensor, n: int) -> Tensor:
    folded = index % (2 * n)
    return torch.where(folded < n, folded, 2 * n - 1 - folded)


def _reflected(n: int, before: int, after: int) -> Tensor:
    return _reflect(torch.arange(-before, n + after), n)


def _wrapped(kernel: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the kernel on a periodic grid, its centre at the origin; parts beyond the grid add up."""
    h, w = size
    kh, kw = kernel.shape[-2:]
    rows, columns = (torch.arange(kh) - kh // 2) % h, (torch.arange(kw) - kw // 2) % w
    rows, columns = rows.to(kernel.device), columns.to(kernel.device)
    tall = kernel.new_zeros((*kernel.shape[:-2], h, kw)).index_add(-2, rows, kernel)
    return tall.new_zeros((*kernel.shape[:-2], h, w)).index_add(-1, columns, tall)


def _filtered(x: Tensor, response: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Return `x` with its real Fourier transform, of the given size, multiplied by `response`."""
    size = (x.shape[-2], x.shape[-1]) if size is None else size
    out: Tensor = torch.fft.irfft2(torch.fft.rfft2(x, s=size) * response, s=size)
    return out


def _hartley(x: Tensor) -> Tensor:
    """Return `Re F x - Im F x`; the half of `F x` is enough, as `F x(-k)` is the conjugate of `F x(k)`."""
    z: Tensor = torch.fft.rfft2(x, norm="ortho")
    rest = z[..., 1 : x.shape[-1] - z.shape[-1] + 1]
    mirrored = (rest.real + rest.imag).flip((-2, -1))
    return torch.cat([z.real - z.imag, torch.cat([mirrored[..., -1:, :], mirrored[..., :-1, :]], -2)], -1)
