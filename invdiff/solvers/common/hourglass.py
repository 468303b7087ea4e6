"""The network of the deep image prior: an hourglass with thin skip connections, as a function of a flat vector.

    down    3x3 convolution of stride 2, 3x3 convolution
    across  1x1 convolution to a few channels, from encoder to decoder
    up      bilinear interpolation, join, 3x3 and 1x1 convolutions
    end     1x1 convolution and the logistic function: images in [0, 1]

Each convolution is followed by normalisation over the image, a bias and a leaky rectifier. Parameters are one vector,
so a solver can keep them, and Adam's moments, as plain values.

References:
    Deep Image Prior (Ulyanov et al., 2018), https://arxiv.org/abs/1711.10925.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SKIP = 4


class Hourglass:
    """A network of `depth` scales.

    Args:
        shape: `(C, H, W)` of the image.
        width: channels of each scale, and of the input.
        depth: number of scales.

    Attributes:
        input_shape: shape of the input, whose sides are the image's, rounded up.
        size: length of the vector of parameters.

    Example:
        >>> net = Hourglass((3, 5, 7), width=8, depth=2)
        >>> net(torch.zeros(net.size), torch.zeros(1, *net.input_shape)).shape
        torch.Size([1, 3, 5, 7])
    """

    def __init__(self, shape: tuple[int, ...], *, width: int, depth: int) -> None:
        self.shape, self.depth = shape, depth
        unit = 2**depth
        sides = [max(2 * unit, -(-n // unit) * unit) for n in shape[-2:]]
        self.input_shape = (width, *sides)
        down = [(width, width, 3), (width, width, 3)]
        up = [(SKIP, width, 1), (width, width + SKIP, 3), (width, width, 1)]
        self._layers = [*down * depth, *up * depth, (shape[0], width, 1)]  # (out, in, kernel), in the order of calls
        self._sizes = [o * i * k * k + o for o, i, k in self._layers]
        self.size = sum(self._sizes)

    def spread(self, like: Tensor) -> Tensor:
        """Return the standard deviations of the initial random parameters, `(size,)`; zero for the biases."""
        parts = []
        for o, i, k in self._layers:
            parts += [like.new_full((o * i * k * k,), math.sqrt(2 / (i * k * k))), like.new_zeros(o)]
        return torch.cat(parts)

    def __call__(self, theta: Tensor, z: Tensor) -> Tensor:
        """Return the image, `(1, C, H, W)`, for parameters `(size,)` and an input `(1, *input_shape)`."""
        parts = iter(torch.split(theta, self._sizes))
        layers = iter(self._layers)

        def convolve(x: Tensor, stride: int = 1) -> tuple[Tensor, Tensor]:
            o, i, k = next(layers)
            part = next(parts)
            weight, bias = part[:-o].reshape(o, i, k, k), part[-o:].reshape(-1, 1, 1)
            padded = F.pad(x, [k // 2] * 4, mode="reflect") if k > 1 else x
            return F.conv2d(padded, weight, stride=stride), bias

        def block(x: Tensor, stride: int = 1) -> Tensor:
            y, bias = convolve(x, stride)
            return F.leaky_relu(F.batch_norm(y, None, None, training=True) + bias, 0.2)

        def scale(x: Tensor, depth: int) -> Tensor:
            below = block(block(x, stride=2))
            below = scale(below, depth - 1) if depth > 1 else below
            above = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
            return block(block(torch.cat([above, block(x)], 1)))

        y, bias = convolve(scale(z, self.depth))
        return torch.sigmoid(y + bias)[..., : self.shape[1], : self.shape[2]]
