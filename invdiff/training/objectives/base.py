"""The contract of an objective: a loss of each image, and the denoiser of a network."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable

import torch
from torch import Tensor

from ...priors.conversions import Denoiser, Network


class Objective(abc.ABC):
    """A loss whose minimiser, over all networks, is the exact denoiser; a frozen dataclass of parameters.

    A network is `F(z, label)`, `(B, C, H, W)` and `(B,)` to `(B, C, H, W)`.
    """

    @abc.abstractmethod
    def loss(self, network: Network, x0: Tensor, generator: torch.Generator, sigma: Tensor | None = None) -> Tensor:
        """Return the loss of each image, `(B,)`, with its gradient in the network's weights.

        Args:
            network: the network.
            x0: clean images, `(B, C, H, W)`.
            generator: of noise and noise levels, on the CPU, for every device of `x0`.
            sigma: noise levels, `(B,)`; by default they are drawn. Denoising score matching with EDM's output also
                takes one for each pixel, `(B, 1, H, W)`.
        """

    @abc.abstractmethod
    def to_denoiser(self, network: Network) -> Denoiser:
        """Return the network's estimate of `E[x_0 | x_sigma = x]`, a function of `(x, sigma)`."""


def normal_like(x: Tensor, generator: torch.Generator) -> Callable[[], Tensor]:
    """Return a function that draws standard normal noise like `x` from a generator on the CPU."""
    return functools.partial(_normal, x, generator)


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
