r"""Denoising score matching, and the noise levels at which it is done.

    loss = E | (F(c_in x'_sigma, log sigma) - (x' - c_skip x'_sigma) / c_out |^2,    x'_sigma = x' + sigma n,

the error of the denoiser weighted by `1 / c_out^2`. Noise levels are a mixture: log-normal where quality counts
most, log-uniform so that no level is forgotten. Within a batch they are stratified, which lowers the variance.

References:
    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
    https://arxiv.org/abs/2206.00364, equation 8.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn

from ..priors.network import Preconditioning


@dataclasses.dataclass(frozen=True)
class NoiseConfig:
    """Noise levels of the training.

    Attributes:
        sigma_min: lowest level.
        sigma_max: highest level.
        centre: median of the log-normal part.
        spread: standard deviation of its logarithm.
        uniform_share: share of the log-uniform part.
    """

    sigma_min: float = 0.002
    sigma_max: float = 2.0
    centre: float = 0.12
    spread: float = 1.1
    uniform_share: float = 0.15

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `count` stratified noise levels."""
        u = rng.permutation((np.arange(count) + rng.random(count)) / count)
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        normal = math.log(self.centre) + self.spread * ndtri(u.clip(1e-9, 1 - 1e-9))
        log_sigma = np.where(rng.random(count) < self.uniform_share, low + u * (high - low), normal)
        sigma: NDArray[np.float64] = np.exp(log_sigma.clip(low, high))
        return sigma


def denoising_loss(
    network: nn.Module, x: Tensor, noise: Tensor, sigma: Tensor, scaling: Preconditioning, autocast: bool
) -> Tensor:
    """Return the mean loss of a batch.

    Args:
        network: `F(x, c_noise)`.
        x: images in [0, 1], `(B, C, H, W)`.
        noise: standard normal, of the shape of `x`.
        sigma: noise levels, `(B,)`.
        scaling: preconditioning.
        autocast: whether the network computes in bfloat16.
    """
    s = sigma[:, None, None, None]
    c_skip, c_out, c_in, _ = scaling.factors(s)
    clean = x - scaling.mean
    noisy = clean + s * noise
    target = (clean - c_skip * noisy) / c_out
    y = (c_in * noisy).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
        f: Tensor = network(y, scaling.factors(sigma)[3])
    return (f.to(torch.float32) - target).square().mean()
