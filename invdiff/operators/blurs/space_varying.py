"""A blur that varies over the image.

    y = sum_k  h_k * (w_k x)

with kernels `h_k` and weights `w_k` of each source pixel (product-convolution). The point-spread function of a pixel is
the mixture of the kernels with its weights. Weights with sum one preserve the amount of light.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import UserError
from ..base import LinearOperator
from ..numerics.constants import Constant
from ..shapes import image_shape
from .blur import Blur
from .borders import Border


class SpaceVaryingBlur(LinearOperator):
    """Mixture of convolutions with weights that vary over the image: `y = sum_k h_k * (w_k x)`.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        kernels: `h_k`, `(K, h, w)`.
        weights: `w_k`, `(K, H, W)`; `tile_weights` makes smooth ones.
        border: extension of the image, as for `Blur`.

    Raises:
        ValueError: not one weight for each kernel, weights of another size than the image, or an argument that `Blur`
            refuses.

    References:
        Efficient filter flow for space-variant multiframe blind deconvolution (Hirsch, Sra, Schölkopf, Harmeling,
        2010), https://doi.org/10.1109/CVPR.2010.5540158.

    Example:
        >>> import torch
        >>> from invdiff.operators import gaussian_kernel
        >>> kernels = torch.stack([gaussian_kernel(s, 9) for s in (0.5, 2.0)])
        >>> SpaceVaryingBlur((3, 32, 32), kernels=kernels, weights=tile_weights((32, 32), (1, 2))).out_shape
        (3, 32, 32)
    """

    name = "space_varying_blur"
    summary = "Gaussian blur that grows from left to right"
    photographic = True

    def __init__(
        self, in_shape: tuple[int, ...], *, kernels: Tensor, weights: Tensor, border: Border = "reflect"
    ) -> None:
        self.in_shape = image_shape("SpaceVaryingBlur", in_shape)
        _, h, w = self.in_shape
        if not isinstance(kernels, Tensor) or kernels.ndim != 3 or len(kernels) == 0:
            got = tuple(kernels.shape) if isinstance(kernels, Tensor) else type(kernels).__name__
            raise UserError(f"SpaceVaryingBlur: kernels: expected a tensor (K, h, w), got {got}")
        if not isinstance(weights, Tensor) or tuple(weights.shape) != (len(kernels), h, w):
            got = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
            raise UserError(
                f"SpaceVaryingBlur: weights: expected a tensor {(len(kernels), h, w)}, one for each kernel, got {got}"
            )
        if not bool(torch.isfinite(weights).all()):
            raise UserError("SpaceVaryingBlur: weights: expected finite values, got NaN or infinite ones")
        self._weights = Constant(weights.detach().double())
        self._blur = Blur((len(kernels), h, w), kernel=kernels, border=border)
        self.out_shape = (self.in_shape[0], *self._blur.out_shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        """Return `sum_k h_k * (w_k x)`, `(B, *out_shape)`."""
        spread = self._blur.forward(x.flatten(0, 1)[:, None] * self._weights.like(x))
        return spread.sum(1).reshape(-1, *self.out_shape)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `sum_k w_k (h_k correlated with y)`, `(B, C, H, W)`."""
        copies = y.flatten(0, 1)[:, None].expand(-1, self._blur.out_shape[0], -1, -1)
        return (self._blur.adjoint(copies) * self._weights.like(y)).sum(1).reshape(-1, *self.in_shape)

    def _describe(self) -> str:
        return f"{self._weights.value.shape[0]} kernels, {self._blur.border}"


def tile_weights(size_hw: tuple[int, int], tiles: tuple[int, int]) -> Tensor:
    """Return weights that vary smoothly from tile to tile and have sum one.

    Args:
        size_hw: height and width of the image, `(H, W)`.
        tiles: number of tiles in a column and in a row.

    Returns:
        Weights `(tiles[0] * tiles[1], H, W)`, tiles row by row, float64: 1 in the middle of a tile, linear between.

    Raises:
        ValueError: a number of tiles that is not positive.

    Example:
        >>> tile_weights((1, 4), (1, 2))[:, 0]
        tensor([[1.0000, 0.7500, 0.2500, 0.0000],
                [0.0000, 0.2500, 0.7500, 1.0000]], dtype=torch.float64)
    """
    axes = []
    for n, count in zip(size_hw, tiles, strict=True):
        if not isinstance(count, int) or count < 1:
            raise UserError(f"tile_weights: tiles: expected two positive integers, got {tiles}")
        place = ((torch.arange(n, dtype=torch.float64) + 0.5) * count / n - 0.5).clamp(0, count - 1)
        axes.append((1 - (place - torch.arange(count)[:, None]).abs()).clamp(min=0))
    return (axes[0][:, None, :, None] * axes[1][None, :, None, :]).flatten(0, 1)
