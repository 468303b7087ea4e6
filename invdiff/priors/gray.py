"""Gray images under a prior of colour images.

A gray image `x_0`, seen as `(x_0, x_0, x_0)` with independent noise of level `s` in each channel, is `z_c = x_0 + s
n_c`. The mean over the channels, `x_0 + s / sqrt(3) n`, is all that `z` says about `x_0`; the rest, `z - mean`, is
noise with a known law. So for gray `x = x_0 + sigma n`

    z = x + s (e - mean(e)),        e ~ N(0, I),  s = sqrt(3) sigma,

has the law of a noisy colour image of level `s` whatever `x_0` is, and `E[x_0 | z] = E[x_0 | x]` if the prior knows
that the image is gray: then the estimate does not depend on `e`. For a network that was trained on gray images among
others it hardly does. Repeating `x` in the three channels instead would give noise that is the same in all, which no
network was trained on.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from . import embedded
from .base import Prior, check_images, expand_sigma
from .network import Precision


class GrayPrior(Prior):
    """The gray images of a prior of colour images, `(B, 1, H, W)`; one evaluation costs one of that prior.

    Attributes:
        colour: the prior of colour images.
        seed: of the noise `e`, which is fixed, so that the denoiser is a function.

    References:
        Our own; the argument is sufficiency of the mean for a Gaussian location.

    Example:
        >>> import torch
        >>> from invdiff.priors import photograph_gaussian
        >>> GrayPrior(photograph_gaussian()).denoise(torch.zeros(1, 1, 8, 8), 0.1).shape
        torch.Size([1, 1, 8, 8])
    """

    def __init__(self, colour: Prior, *, seed: int = 0) -> None:
        """Wrap a prior of three channels.

        Args:
            colour: the prior of colour images.
            seed: of the noise that fills the two directions of colour.

        Raises:
            ValueError: the prior has not three channels.
        """
        if colour.shape[0] not in (3, None):
            raise ValueError(
                f"GrayPrior: colour: expected a prior of three channels, got {type(colour).__name__} "
                f"of shape {colour.shape}; use that prior itself"
            )
        self.colour, self.seed = colour, seed
        self.shape = (1, *colour.shape[1:])
        self.std = colour.std
        self.sigma_min, self.sigma_max = (s / math.sqrt(3) for s in (colour.sigma_min, colour.sigma_max))

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `E[x_0 | x_sigma = x]`, `(B, 1, H, W)`; see `Prior.denoise`."""
        check_images(self, x)
        e = _chroma_noise(tuple(x.shape[-2:]), self.seed, x.dtype, x.device)
        s = math.sqrt(3) * expand_sigma(sigma, x)
        return self.colour.denoise(x + s * e, s.reshape(-1) if s.ndim else s).mean(1, keepdim=True)

    def to(self, device: torch.device | str) -> Prior:
        """Return this prior on `device`."""
        return GrayPrior(self.colour.to(device), seed=self.seed)


@functools.lru_cache(maxsize=4)  # drawing it anew would cost some percent of a network's evaluation
def _chroma_noise(size: tuple[int, int], seed: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `e - mean(e)`, `(1, 3, H, W)`, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    e = torch.randn(1, 3, *size, generator=generator, dtype=torch.float64)
    return (e - e.mean(1, keepdim=True)).to(device, dtype)


def photo_gray(*, precision: Precision = "float32", tile: int | None = 1024) -> GrayPrior:
    """Return the embedded `photo` for gray images; options as in `embedded.load`."""
    return GrayPrior(embedded.photo(precision=precision, tile=tile))
