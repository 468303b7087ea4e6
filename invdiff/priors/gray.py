"""Gray images under a prior of colour images.

A gray image `x_0`, repeated in three channels with independent noise of level `s` in each, is `z_c = x_0 + s n_c`. The
mean over the channels, `x_0 + s / sqrt(3) n`, is a sufficient statistic for `x_0`; the rest, `z - mean`, is noise with
a known distribution. So for gray `x = x_0 + sigma n`

    z = x + s (e - mean(e)),        e ~ N(0, I),  s = sqrt(3) sigma,

has the distribution of a noisy colour image of level `s` for every `x_0`. If the prior contains gray images only, then
`E[x_0 | z] = E[x_0 | x]`, and the estimate does not depend on `e`. For a network that was trained on gray images among
others it depends on `e` very little. Repeating `x` in the three channels instead would give the same noise in all of
them, and no network was trained on that.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from ..errors import UserError
from . import embedded
from .base import Prior, check_images, expand_sigma
from .network import Precision, is_map


class GrayPrior(Prior):
    """The gray images of a prior of colour images, `(B, 1, H, W)`; one evaluation costs one of that prior.

    Attributes:
        colour: the prior of colour images.
        seed: of the noise `e`; it is fixed, so the denoiser is deterministic.

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
            seed: of the noise in the two chromatic directions.

        Raises:
            ValueError: the prior does not have three channels.
        """
        if colour.shape[0] not in (3, None):
            raise UserError(
                f"GrayPrior: colour: expected a prior of three channels, got {type(colour).__name__} "
                f"of shape {colour.shape}; use that prior itself"
            )
        self.colour, self.seed = colour, seed
        self.shape = (1, *colour.shape[1:])
        self.std = colour.std
        self.sigma_min, self.sigma_max = (s / math.sqrt(3) for s in (colour.sigma_min, colour.sigma_max))

    @property
    def training_images(self) -> frozenset[str]:  # type: ignore[override]
        """Those of the prior of colour images."""
        return self.colour.training_images

    @property
    def units(self) -> str:  # type: ignore[override]
        """The units of the prior of colour images."""
        return self.colour.units

    @property
    def noise_maps(self) -> bool:  # type: ignore[override]
        """Whether the prior of colour images takes a noise level for each pixel."""
        return self.colour.noise_maps

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `E[x_0 | x_sigma = x]`, `(B, 1, H, W)`; see `Prior.denoise`."""
        check_images(self, x)
        e = _chroma_noise(tuple(x.shape[-2:]), self.seed, x.dtype, x.device)
        s = math.sqrt(3) * expand_sigma(sigma, x, maps=self.noise_maps)
        level = s if s.ndim == 0 or is_map(s) else s.reshape(-1)
        return self.colour.denoise(x + s * e, level).mean(1, keepdim=True)

    @property
    def memory(self) -> float | None:  # type: ignore[override]
        """That of the prior of colour images."""
        return self.colour.memory

    @property
    def least_memory(self) -> float:
        """That of the prior of colour images."""
        return self.colour.least_memory

    def within(self, memory: float) -> Prior:
        """Return this prior with bounded evaluations; see `Prior.within`."""
        return GrayPrior(self.colour.within(memory), seed=self.seed)

    def to(self, device: torch.device | str) -> Prior:
        """Return this prior on `device`."""
        return GrayPrior(self.colour.to(device), seed=self.seed)


@functools.lru_cache(maxsize=4)  # drawing it each time would cost some percent of a network evaluation
def _chroma_noise(size: tuple[int, int], seed: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `e - mean(e)`, `(1, 3, H, W)`, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    e = torch.randn(1, 3, *size, generator=generator, dtype=torch.float64)
    return (e - e.mean(1, keepdim=True)).to(device, dtype)


def photo_gray(*, precision: Precision = "float32", tile: int | None = 1024) -> GrayPrior:
    """Return the embedded `photo` for gray images; options as in `embedded.load`."""
    return GrayPrior(embedded.photo(precision=precision, tile=tile))
