"""Denoising score matching, for every kind of target and weight.

    loss = w(sigma) b(sigma)^2 |F(z, label) - target|^2 / d,      denoise = m + a (x - m) + b F,

which is `w |denoise(x_sigma, sigma) - x_0|^2 / d` if the target is a function of `x_0` and `x_sigma`, and differs from
it by a constant in the network if the target is random given both (previous state, last increment). Its minimiser is
the mean of the target given `x_sigma`, hence the posterior mean, for every positive weight.

With EDM's target and plain weights it is EDM's objective: with `x' = x_0 - m` and `x'_sigma = x' + sigma n`,

    loss = |F(c_in x'_sigma, log sigma) - (x' - c_skip x'_sigma) / c_out|^2 / d.

References:
    A Connection Between Score Matching and Denoising Autoencoders (Vincent, 2011),
    https://doi.org/10.1162/NECO_a_00142.

    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
    https://arxiv.org/abs/2206.00364, equation 8.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...priors.base import expand_sigma
from ...priors.conversions import Denoiser, EDMOutput, Network, Output
from .base import Objective, normal_like
from .noise import LogUniform, NoiseLaw
from .weightings import Plain, Weighting


@dataclass(frozen=True)
class DenoisingScoreMatching(Objective):
    """Regression of the network's target for a noisy image.

    Attributes:
        output: what the network estimates.
        noise: distribution of the noise levels.
        weighting: weight of squared denoising errors.

    Example:
        >>> objective = DenoisingScoreMatching()
        >>> objective.loss(lambda z, label: 0 * z, torch.rand(3, 1, 2, 2), torch.Generator()).shape
        torch.Size([3])
    """

    output: Output = field(default_factory=EDMOutput)
    noise: NoiseLaw = field(default_factory=LogUniform)
    weighting: Weighting = field(default_factory=Plain)

    def loss(self, network: Network, x0: Tensor, generator: torch.Generator, sigma: Tensor | None = None) -> Tensor:
        """Return the weighted mean square error of each image, `(B,)`."""
        sigma = self.noise.sample(len(x0), generator) if sigma is None else sigma
        factor = self.weighting(sigma, self.output, self.noise) * self.output.coefficients(sigma)[1] ** 2
        level = sigma.to(x0)
        x, target = self.output.corrupt(x0, level, normal_like(x0, generator))
        error = (self.output.evaluate(network, x, level) - target).square()
        return (expand_sigma(factor, x0, maps=True) * error).flatten(1).mean(1)

    def to_denoiser(self, network: Network) -> Denoiser:
        """Return the denoiser of the network."""
        return lambda x, sigma: self.output.denoise(network, x, sigma)
