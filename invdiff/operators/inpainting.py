"""Missing pixels.

    A x = m * x,      m in {0, 1} for each pixel

`A` is an orthogonal projection, so `A^T = A^+ = A`; its singular vectors are the known pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import LinearOperator, Spectrum
from .checks import check_box, check_probability, known_pixels
from .numerics.constants import Constant


class Inpainting(LinearOperator):
    """Missing pixels: `y = m * x`; the measurement has the image's shape, with zeros where pixels are missing.

    Args:
        mask: `m`, 1 or True where a pixel is known, 0 or False where it is missing: `(C, H, W)`, or `(H, W)` or `(1,
            H, W)`, the same for all channels.
        channels: number of channels of the image, for a mask that is the same for all channels; default: those of the
            mask.

    Raises:
        TypeError: the mask is no tensor.
        ValueError: a mask with a wrong number of axes or channels, or with values other than 0 and 1.

    Example:
        >>> A = Inpainting(box_mask((4, 4), size=2), channels=3)
        >>> A.in_shape, int(A.observed.sum())
        ((3, 4, 4), 12)
    """

    name = "inpainting"
    summary = "missing pixels: box, random or any mask"
    photographic = True
    takes_mask = True

    def __init__(self, mask: Tensor, *, channels: int | None = None) -> None:
        known, count = known_pixels(mask, channels)
        self.in_shape = self.out_shape = (count, known.shape[-2], known.shape[-1])
        self._mask = Constant(known)
        self._index = Constant(known.expand(self.in_shape).flatten().nonzero().squeeze(1))

    @property
    def mask(self) -> Tensor:
        """The known pixels: boolean, `(1, H, W)` or `(C, H, W)`."""
        return self._mask.value

    @property
    def observed(self) -> Tensor:
        """The mask: missing pixels hold no noise and never enter a likelihood."""
        return self._mask.value

    def forward(self, x: Tensor) -> Tensor:
        """Return `m * x`."""
        return x * self._mask.like(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `m * y`."""
        return y * self._mask.like(y)

    def normal(self, x: Tensor) -> Tensor:
        """Return `m * x`."""
        return self.forward(x)

    def pinv(self, y: Tensor) -> Tensor:
        """Return `m * y`."""
        self._check(y, self.out_shape, "a measurement", "y")
        return self.forward(y)

    def solve(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """Return `b / (m + rho)`."""
        self._check(b, self.in_shape, "an image", "b")
        r = torch.as_tensor(rho, dtype=b.dtype, device=b.device).reshape(-1, 1, 1, 1)
        return b / (self._mask.like(b) + r) if bool((r > 0).all()) else super().solve(b, rho)  # raises

    def tikhonov(self, y: Tensor, rho: Tensor | float) -> Tensor:
        """Return `m * y / (1 + rho)`."""
        self._check(y, self.out_shape, "a measurement", "y")
        r = torch.as_tensor(rho, dtype=y.dtype, device=y.device).reshape(-1, 1, 1, 1)
        return y * (self._mask.like(y) / (1 + r))

    @property
    def pixel_gains(self) -> Tensor:
        """The mask, in float64."""
        return self.mask.double()

    @property
    def svd(self) -> Spectrum:
        """Ones, one for each known pixel; `V` places them in an image."""
        shape = self.in_shape
        index = self._index.value

        def gather(x: Tensor) -> Tensor:
            return x.flatten(1).index_select(1, self._index.like(x))

        def scatter(c: Tensor) -> Tensor:
            flat = c.new_zeros((c.shape[0], shape[0] * shape[1] * shape[2]))
            return flat.index_copy(1, self._index.like(c), c).reshape(c.shape[0], *shape)

        s = torch.ones(len(index), dtype=torch.float64, device=index.device)
        return Spectrum(s=s, V=scatter, Vt=gather, U=scatter, Ut=gather)

    def _describe(self) -> str:
        return f"{float(self.mask.double().mean()):.0%} known"


def box_mask(size_hw: tuple[int, int], *, size: int | tuple[int, int], corner: tuple[int, int] | None = None) -> Tensor:
    """Return a mask with missing pixels in a box.

    Args:
        size_hw: height and width of the image, `(H, W)`.
        size: side of the box, or its height and width.
        corner: row and column of the box's top left pixel; default: centred, up to half a pixel to the top left.

    Returns:
        A boolean mask `(H, W)`, False in the box.

    Raises:
        ValueError: the box does not lie inside the image.

    Example:
        >>> box_mask((4, 6), size=2).int()[1]
        tensor([1, 1, 0, 0, 1, 1], dtype=torch.int32)
    """
    (h, w), (bh, bw) = size_hw, (size, size) if isinstance(size, int) else size
    top, left = ((h - bh) // 2, (w - bw) // 2) if corner is None else corner
    check_box(size_hw, (bh, bw), (top, left))
    mask = torch.ones(h, w, dtype=torch.bool)
    mask[top : top + bh, left : left + bw] = False
    return mask


def random_mask(size_hw: tuple[int, int], *, missing: float, seed: int = 0) -> Tensor:
    """Return a mask with independently missing pixels.

    Args:
        size_hw: height and width of the image, `(H, W)`.
        missing: probability that a pixel is missing, in [0, 1].
        seed: seed of the random numbers.

    Returns:
        A boolean mask `(H, W)`.

    Raises:
        ValueError: the probability lies outside [0, 1].

    Example:
        >>> random_mask((100, 100), missing=0.7).double().mean().round(decimals=1)
        tensor(0.3000, dtype=torch.float64)
    """
    check_probability("random_mask: missing", missing)
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size_hw, generator=generator, dtype=torch.float64) >= missing
