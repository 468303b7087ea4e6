"""A factor for each entry: vignettes, flat fields, whitening of unequal noise.

A x = g * x,      A^+ y = y / g  where g is not 0
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError, UserTypeError
from .base import LinearOperator, Spectrum
from .numerics.constants import Constant


class Gain(LinearOperator):
    """A factor for each entry: `y = g * x`; entries with `g = 0` are not observed.

    Args:
        in_shape: shape of one image, or of another tensor to multiply.
        gain: `g`, of any sign, broadcastable to `(*in_shape)`.

    Raises:
        TypeError: the gain is no floating-point tensor.
        ValueError: it does not broadcast to the shape, or has values that are NaN or infinite.

    Example:
        >>> Gain((1, 1, 2), gain=torch.tensor([0.5, 2.0]))(torch.ones(1, 1, 1, 2)).flatten()
        tensor([0.5000, 2.0000])
    """

    def __init__(self, in_shape: tuple[int, ...], *, gain: Tensor) -> None:
        self.in_shape = self.out_shape = tuple(in_shape)
        if not isinstance(gain, Tensor) or not gain.is_floating_point():
            got = str(gain.dtype) if isinstance(gain, Tensor) else type(gain).__name__
            raise UserTypeError(f"Gain: gain: expected a floating-point tensor, got {got}; convert it, gain.double()")
        try:
            wide = gain.detach().double().expand(self.in_shape)
        except RuntimeError:
            raise UserError(
                f"Gain: gain: expected a map that broadcasts to {self.in_shape}, got {tuple(gain.shape)}; "
                "give one factor for each entry"
            ) from None
        if not bool(torch.isfinite(wide).all()):
            raise UserError("Gain: gain: expected finite factors, got NaN or infinite ones; 0 marks what is not seen")
        self._gain = Constant(wide.clone())
        self._seen = Constant(wide != 0)

    @property
    def gain(self) -> Tensor:
        """The factors, `(*in_shape)`, float64."""
        return self._gain.value

    @property
    def observed(self) -> Tensor | None:
        """Entries with a factor other than 0, or `None` for all."""
        return None if bool(self._seen.value.all()) else self._seen.value

    def forward(self, x: Tensor) -> Tensor:
        """Return `g * x`."""
        return x * self._gain.like(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `g * y`."""
        return y * self._gain.like(y)

    @property
    def pixel_gains(self) -> Tensor:
        """The factors."""
        return self.gain

    @property
    def svd(self) -> Spectrum:
        """The absolute factors, in the basis of the entries."""
        g = self.gain
        sign = Constant(torch.where(g < 0, -1.0, 1.0).to(g))
        return Spectrum(
            s=g.abs(), V=lambda c: c, Vt=lambda x: x, U=lambda c: c * sign.like(c), Ut=lambda y: y * sign.like(y)
        )

    def _describe(self) -> str:
        return f"factors {float(self.gain.min()):.3g} to {float(self.gain.max()):.3g}"
