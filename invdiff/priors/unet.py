r"""A compact, fully convolutional, noise-conditional U-Net without normalisation.

With `e = MLP(Fourier(c_noise))`, every residual block is

    h <- h + W_2 * relu((1 + G e) . (W_1 * h)),

with two 3x3 convolutions without biases; the noise level enters as one gain for each channel. The stem folds patches of
`p x p` pixels into channels, so the finest level works at `1/p` of the resolution. 2x2 convolutions lead down a level,
1x1 convolutions with a depth-to-space step lead up, and skip connections are added. Nothing depends on the other images
of a batch or on statistics of the image, so a crop and a whole photograph are treated alike.

With `noise_maps`, `c_noise` may also be an image `l` of logarithms, one for each pixel. Its mean takes the place of
`c_noise` in the embedding, and a convolution of `l - mean(l)`, without a bias, is added to the stem. So a constant map
is the same as its number.

References:
    Plug-and-Play Image Restoration with Deep Denoiser Prior (Zhang et al., 2021), https://arxiv.org/abs/2008.13751,
    section 3 (no biases, no normalisation, added skips).
    Fixup Initialization (Zhang, Dauphin, Ma, 2019), https://arxiv.org/abs/1901.09321 (last convolution of a block
    starts at zero).

    Differs: gains from an embedding of the noise level instead of a noise-level map, which is an option here; a stem of
    patches; 3x3 convolutions only at levels that are small enough for their cost.
"""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """Shape of a `UNet`.

    Attributes:
        channels: channels of the image.
        patch: side of the square of pixels that the stem folds into channels.
        widths: channels of each level, finest first.
        encoder: residual blocks of each level of the encoder; the last entry is the coarsest level.
        decoder: residual blocks of each level of the decoder, without the coarsest.
        embedding: width of the embedding of the noise level.
        groups: groups of a group normalisation before each convolution; 0 for none.
        noise_maps: whether the network takes a noise level for each pixel beside one for the image.

    Example:
        >>> UNetConfig(channels=1, widths=(16, 32), encoder=(1, 1), decoder=(1,)).stride
        4
    """

    channels: int = 3
    patch: int = 2
    widths: tuple[int, ...] = (64, 96, 128, 192)
    encoder: tuple[int, ...] = (1, 1, 1, 2)
    decoder: tuple[int, ...] = (2, 1, 1)
    embedding: int = 128
    groups: int = 0
    noise_maps: bool = False

    def __post_init__(self) -> None:
        for name in ("widths", "encoder", "decoder"):  # TOML and JSON give lists
            object.__setattr__(self, name, tuple(int(v) for v in getattr(self, name)))
        if not self.widths or len(self.encoder) != len(self.widths) or len(self.decoder) != len(self.widths) - 1:
            raise UserError(
                f"UNetConfig: widths, encoder and decoder: expected n, n and n - 1 entries, got {len(self.widths)}, "
                f"{len(self.encoder)} and {len(self.decoder)}; give one entry for each level"
            )
        if min(self.channels, self.patch, self.embedding, *self.widths) < 1 or self.groups < 0:
            raise UserError(f"UNetConfig: expected positive sizes, got {self}; correct the configuration")

    @property
    def stride(self) -> int:
        """Pixels by which the sides of an input must be divisible."""
        return self.patch * int(2 ** (len(self.widths) - 1))

    @property
    def reach(self) -> int | None:
        """Pixels within which the input determines an output pixel; `None` with a normalisation, which uses them all.

        A block looks two pixels of its level to each side, stem and head one, and the grids of the levels add a stride.
        """
        if self.groups:
            return None
        blocks = [e + d for e, d in zip(self.encoder, (*self.decoder, 0), strict=True)]
        levels = sum(2 * n * int(2**level) for level, n in enumerate(blocks))
        return self.patch * (2 + levels) + self.stride

    @property
    def activations(self) -> tuple[float, float]:
        """Numbers held for each pixel of an image at the peak of an evaluation, without and with its gradient.

        Measured for the embedded networks; an upper bound for images of 512 x 512 and more.
        """
        blocks = [e + d for e, d in zip(self.encoder, (*self.decoder, 0), strict=True)]
        kept = sum(n * self.widths[k] / self.widths[0] / 4**k for k, n in enumerate(blocks))
        finest = self.widths[0] / self.patch**2
        return 8 * finest, (8 + 3 * kept) * finest


class Block(nn.Module):
    """Residual block `h + W_2 * relu((1 + G e) . (W_1 * h))`."""

    def __init__(self, width: int, config: UNetConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.gain = nn.Linear(config.embedding, width)
        self.norm = nn.GroupNorm(config.groups, width) if config.groups else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.gain.weight)
        nn.init.ones_(self.gain.bias)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        """Return the block's output, of the shape of `h`, for embeddings `e` `(B or 1, E)`."""
        g = self.gain(e)[:, :, None, None]
        r: Tensor = self.conv2(F.relu(self.conv1(self.norm(h)) * g, inplace=True))
        return h + r


class Up(nn.Module):
    """A 1x1 convolution to four times the channels, then depth to space: a 2x2 transposed convolution."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, 4 * width_out, 1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """Return `h` with doubled sides."""
        return depth_to_space(self.conv(h), 2)


class UNet(nn.Module):
    """The raw network `F(x, c_noise)`; `NetworkPrior` makes a denoiser of it.

    Args:
        config: shape of the network.

    Example:
        >>> net = UNet(UNetConfig(channels=1, widths=(8, 16), encoder=(1, 1), decoder=(1,)))
        >>> net(torch.zeros(2, 1, 8, 12), torch.zeros(2)).shape
        torch.Size([2, 1, 8, 12])
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        w, e = config.widths, config.embedding
        self.register_buffer("frequencies", torch.arange(1, 9, dtype=torch.float32) * (math.pi / 4), persistent=False)
        self.embed1 = nn.Linear(17, e)
        self.embed2 = nn.Linear(e, e)
        self.stem = nn.Conv2d(config.channels * config.patch**2, w[0], 3, padding=1)
        self.shift = nn.Linear(e, w[0])
        if config.noise_maps:
            self.map_stem = nn.Conv2d(config.patch**2, w[0], 3, padding=1, bias=False)
            nn.init.zeros_(self.map_stem.weight)
        self.encoder = nn.ModuleList(
            nn.ModuleList(Block(width, config) for _ in range(n)) for width, n in zip(w, config.encoder, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2, bias=False) for a, b in pairwise(w))
        self.up = nn.ModuleList(Up(b, a) for a, b in pairwise(w))
        self.decoder = nn.ModuleList(
            nn.ModuleList(Block(width, config) for _ in range(n))
            for width, n in zip(w[:-1], config.decoder, strict=True)
        )
        self.head = nn.Conv2d(w[0], config.channels * config.patch**2, 3, padding=1, bias=False)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor, c_noise: Tensor, mean: Tensor | None = None) -> Tensor:
        """Return `F(x, c_noise)`.

        Args:
            x: scaled images `(B, C, H, W)`, sides divisible by `config.stride`.
            c_noise: logarithm of the noise level, `(B,)` or `(1,)`; with `config.noise_maps` also `(B or 1, 1, H, W)`.
            mean: mean of `c_noise` over the image that `x` is a tile of, `(B or 1,)`; by default over `x` itself.

        Returns:
            A tensor of the shape of `x`.
        """
        is_map = c_noise.ndim == 4
        mean = c_noise if not is_map else c_noise.mean((1, 2, 3)) if mean is None else mean
        e = self._embed(mean).to(x.dtype)
        h = self.stem(space_to_depth(x, self.config.patch)) + self.shift(e)[:, :, None, None]
        if is_map:
            deviation = (c_noise - mean.reshape(-1, 1, 1, 1)).to(x.dtype)
            h = h + self.map_stem(space_to_depth(deviation, self.config.patch))
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            if level:
                skips.append(h)
                h = self.down[level - 1](h)
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, e)
        for level in reversed(range(len(skips))):
            h = skips[level] + self.up[level](h)
            for block in self.decoder[level]:  # type: ignore[attr-defined]
                h = block(h, e)
        return depth_to_space(self.head(h), self.config.patch)

    def _embed(self, c_noise: Tensor) -> Tensor:
        weight = self.embed1.weight
        angles = c_noise.to(torch.float32)[:, None] * self.frequencies  # type: ignore[operator]
        features = torch.cat([angles.sin(), angles.cos(), c_noise.to(torch.float32)[:, None]], dim=1)
        return F.relu(self.embed2(F.relu(self.embed1(features.to(weight.dtype)))))


def space_to_depth(x: Tensor, p: int) -> Tensor:
    """Fold squares of `p x p` pixels into channels, `(B, C, H, W) -> (B, p p C, H/p, W/p)`, channels last in memory."""
    b, c, h, w = x.shape
    y = x.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1)
    return y.reshape(b, h // p, w // p, p * p * c).permute(0, 3, 1, 2)


def depth_to_space(x: Tensor, p: int) -> Tensor:
    """Undo `space_to_depth`: `(B, p p C, H, W) -> (B, C, p H, p W)`, channels last in memory."""
    b, c, h, w = x.shape
    y = x.permute(0, 2, 3, 1).reshape(b, h, w, p, p, c // (p * p)).permute(0, 1, 3, 2, 4, 5)
    return y.reshape(b, h * p, w * p, c // (p * p)).permute(0, 3, 1, 2)
