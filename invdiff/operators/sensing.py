"""Compressed sensing: fewer random projections than pixels.

    dense         A = G,  entries N(0, 1/m)
    structured    A = P H D:  random signs D, orthonormal Hartley transform H of the flattened image, m random rows P

The structured kind needs no matrix, costs one Fourier transform, and has `A A^T = I`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..checks import integer, number
from ..errors import UserError
from .base import LinearOperator, Spectrum
from .color import row_orthogonal_spectrum
from .composed.functions import Matrix
from .numerics.constants import Constant, linear
from .shapes import image_shape


class CompressedSensing(LinearOperator):
    """Random projections of an image.

    Args:
        in_shape: shape of one image, `(C, H, W)`, with `n = C H W` entries.
        measurements: number of projections `m`, from 1 to `n`; or give `ratio`.
        ratio: `m / n`, in (0, 1].
        kind: "structured", any size, in closed form; or "dense", a Gaussian matrix of `m n` numbers.
        seed: seed of the random numbers.

    Raises:
        ValueError: both or neither of `measurements` and `ratio`, one of them out of range, or an unknown kind.

    References:
        Fast and efficient compressive sensing using structurally random matrices (Do, Gan, Nguyen, Tran, 2012),
        https://doi.org/10.1109/TSP.2011.2170977. Differs: rows are not scaled by `sqrt(n / m)`.

    Example:
        >>> import torch
        >>> CompressedSensing((1, 8, 8), ratio=0.25)(torch.ones(2, 1, 8, 8)).shape
        torch.Size([2, 16])
    """

    name = "compressed_sensing"
    summary = "random projections, structured or dense"

    def __init__(
        self,
        in_shape: tuple[int, ...],
        *,
        measurements: int | None = None,
        ratio: float | None = None,
        kind: Literal["structured", "dense"] = "structured",
        seed: int = 0,
    ) -> None:
        self.in_shape = image_shape("CompressedSensing", in_shape)
        n = torch.Size(self.in_shape).numel()
        if (measurements is None) == (ratio is None):
            raise UserError("CompressedSensing: measurements, ratio: expected one of the two")
        if ratio is not None:
            number("CompressedSensing: ratio", ratio, 0, 1, positive=True)
        wanted = max(1, round(n * ratio)) if ratio is not None else measurements
        m = integer("CompressedSensing: measurements", wanted, 1, n)
        if kind not in ("structured", "dense"):
            raise UserError(f"CompressedSensing: kind: expected 'structured' or 'dense', got {kind!r}")
        self.kind, self.out_shape = kind, (m,)
        generator = torch.Generator().manual_seed(seed)
        self._matrix: Matrix | None = None
        if kind == "dense":
            g = torch.randn(m, n, generator=generator, dtype=torch.float64) / m**0.5
            self._matrix = Matrix(g, self.in_shape)
        else:
            self._signs = Constant(torch.randint(0, 2, (n,), generator=generator).double() * 2 - 1)
            self._rows = Constant(torch.randperm(n, generator=generator)[:m].sort().values)

    def forward(self, x: Tensor) -> Tensor:
        """Return the projections, `(B, m)`."""
        return self._matrix.forward(x) if self._matrix is not None else linear(x, self._apply, self._apply_transposed)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `A^T y`, `(B, C, H, W)`."""
        return self._matrix.adjoint(y) if self._matrix is not None else linear(y, self._apply_transposed, self._apply)

    def _apply(self, x: Tensor) -> Tensor:
        return _hartley(x.flatten(1) * self._signs.like(x)).index_select(1, self._rows.like(x))

    def _apply_transposed(self, y: Tensor) -> Tensor:
        full = y.new_zeros((len(y), torch.Size(self.in_shape).numel())).index_copy(1, self._rows.like(y), y)
        return (_hartley(full) * self._signs.like(y)).reshape(-1, *self.in_shape)

    @property
    def svd(self) -> Spectrum | None:
        """Ones for structured projections, the matrix' decomposition for dense ones of up to 4096 rows and columns."""
        if self._matrix is not None:
            return self._matrix.svd
        return row_orthogonal_spectrum(self, 1.0, device=self._signs.value.device)

    def _describe(self) -> str:
        return self.kind


def _hartley(x: Tensor) -> Tensor:
    z: Tensor = torch.fft.fft(x, norm="ortho")
    return z.real - z.imag
