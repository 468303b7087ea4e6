"""Periodic convolution, `A = F^H diag(h) F` with the kernel's transform `h`.

In real numbers, with the Hartley basis `V c = Re F c - Im F c` (orthonormal, its own inverse),

    A = U diag(|h|) V^T,      U = F^H (h / |h|) F V
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import LinearOperator, Spectrum
from ..numerics.constants import Constant, linear
from .fourier import filtered, hartley, wrapped


class Circular(LinearOperator):
    """Periodic convolution: a product in Fourier space."""

    def __init__(self, in_shape: tuple[int, ...], kernel: Tensor) -> None:
        self.in_shape = self.out_shape = in_shape
        full = torch.fft.fft2(wrapped(kernel, in_shape[-2:]))
        modulus = full.abs()
        phase = torch.where(modulus > 0, full / torch.where(modulus > 0, modulus, 1), 1)
        self._modulus, self._phase = Constant(modulus), Constant(phase[..., : phase.shape[-1] // 2 + 1])
        self._half = Constant(torch.fft.rfft2(wrapped(kernel, in_shape[-2:])))
        self._power = Constant(self._half.value.abs() ** 2)
        self._largest = float(self._power.value.max())

    def _apply(self, x: Tensor) -> Tensor:
        return filtered(x, self._half.like(x))

    def _apply_transposed(self, y: Tensor) -> Tensor:
        return filtered(y, self._half.like(y).conj())

    def forward(self, x: Tensor) -> Tensor:
        """Return `F^H (h F x)`."""
        return linear(x, self._apply, self._apply_transposed)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `F^H (conj(h) F y)`."""
        return linear(y, self._apply_transposed, self._apply)

    def normal(self, x: Tensor) -> Tensor:
        """Return `F^H (|h|^2 F x)`."""
        return filtered(x, self._power.like(x))

    def pinv(self, y: Tensor) -> Tensor:
        """Return `F^H (F y / h)`, 0 where `|h|^2` is below 1e-12 of its largest value."""
        power = self._power.like(y)
        keep = power > 1e-12 * self._largest
        return filtered(y, self._half.like(y).conj() * torch.where(keep, 1 / torch.where(keep, power, 1), 0))

    def solve(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """Return `F^H (F b / (|h|^2 + rho))`."""
        r = torch.as_tensor(rho, dtype=b.dtype, device=b.device)
        if not bool((r > 0).all()):
            return super().solve(b, rho)  # raises
        return filtered(b, 1 / (self._power.like(b) + r.reshape(-1, 1, 1, 1)))

    def tikhonov(self, y: Tensor, rho: Tensor | float) -> Tensor:
        """Return `F^H (conj(h) F y / (|h|^2 + rho))`."""
        r = torch.as_tensor(rho, dtype=y.dtype, device=y.device).reshape(-1, 1, 1, 1)
        return filtered(y, self._half.like(y).conj() / (self._power.like(y) + r))

    @property
    def svd(self) -> Spectrum:
        """The Hartley transform of the image, and of the measurement after the phase of `h`."""

        def u(c: Tensor) -> Tensor:
            return filtered(hartley(c), self._phase.like(c))

        def ut(y: Tensor) -> Tensor:
            return hartley(filtered(y, self._phase.like(y).conj()))

        return Spectrum(s=self._modulus.value.expand(self.in_shape), V=hartley, Vt=hartley, U=u, Ut=ut)
