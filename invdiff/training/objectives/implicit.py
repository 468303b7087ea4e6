"""Score matching without the clean image: implicit, and sliced.

With `s(x) = (denoise(x, sigma) - x) / sigma^2` and the factor `w sigma^4` that turns errors of scores into weighted
errors of denoisers,

    implicit    w sigma^4 E[|s|^2 + 2 div s] / d
    sliced      w sigma^4 E[|s|^2 + 2 v^T grad(v^T s)] / d,     v random signs (variance reduced)
                w sigma^4 E[(v^T s)^2 + 2 v^T grad(v^T s)] / d,  v standard normal or signs (plain)

Integration by parts makes each equal to denoising score matching less `w sigma^2`, a constant:
`E|s - s*|^2 = E[|s|^2 + 2 div s] + E|s*|^2`, and the same with the target `-n / sigma` in the place of `s*`, of mean
square `d / sigma^2`.

References:
    Estimation of Non-Normalized Statistical Models by Score Matching (Hyvarinen, 2005),
    https://jmlr.org/papers/v6/hyvarinen05a.html, theorem 1.

    Sliced Score Matching (Song et al., 2020), https://arxiv.org/abs/1905.07088, equations 8 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...checks import check_count
from ...priors.base import expand_sigma
from ...priors.conversions import Denoiser, EDMOutput, Network, Output
from .base import Objective, normal_like
from .noise import LogUniform, NoiseLaw
from .weightings import InverseVariance, Weighting


@dataclass(frozen=True)
class ImplicitScoreMatching(Objective):
    """Implicit score matching with the exact divergence, with one backward pass for each pixel, for small images.

    Attributes:
        output: what the network estimates.
        noise: distribution of the noise levels.
        weighting: weight of squared denoising errors.

    Example:
        >>> ImplicitScoreMatching().loss(lambda z, label: 0 * z, torch.rand(3, 1, 1, 2), torch.Generator()).shape
        torch.Size([3])
    """

    output: Output = field(default_factory=EDMOutput)
    noise: NoiseLaw = field(default_factory=LogUniform)
    weighting: Weighting = field(default_factory=InverseVariance)

    def loss(self, network: Network, x0: Tensor, generator: torch.Generator, sigma: Tensor | None = None) -> Tensor:
        """Return `w sigma^4 (|s|^2 + 2 div s) / d` of each image, `(B,)`."""
        factor, x, s = _scores(self.output, self.noise, self.weighting, network, x0, generator, sigma)
        flat = s.flatten(1)
        divergence = torch.zeros_like(flat[:, 0])
        for k in range(flat.shape[1]):
            (row,) = torch.autograd.grad(flat[:, k].sum(), x, create_graph=True)
            divergence = divergence + row.flatten(1)[:, k]
        return factor * (flat.square().sum(1) + 2 * divergence) / flat.shape[1]

    def to_denoiser(self, network: Network) -> Denoiser:
        """Return the denoiser of the network."""
        return lambda x, sigma: self.output.denoise(network, x, sigma)


@dataclass(frozen=True)
class SlicedScoreMatching(Objective):
    """Sliced score matching: the divergence along random directions.

    Attributes:
        output: what the network estimates.
        noise: distribution of the noise levels.
        weighting: weight of squared denoising errors.
        probes: directions for each image.
        reduced: whether `|s|^2` is exact, which lowers the variance; otherwise it is estimated along the directions.

    Example:
        >>> SlicedScoreMatching(probes=2).loss(lambda z, label: 0 * z, torch.rand(3, 1, 1, 2), torch.Generator()).shape
        torch.Size([3])
    """

    output: Output = field(default_factory=EDMOutput)
    noise: NoiseLaw = field(default_factory=LogUniform)
    weighting: Weighting = field(default_factory=InverseVariance)
    probes: int = 1
    reduced: bool = True

    def __post_init__(self) -> None:
        check_count(self, "probes")

    def loss(self, network: Network, x0: Tensor, generator: torch.Generator, sigma: Tensor | None = None) -> Tensor:
        """Return `w sigma^4 (|s|^2 + 2 v^T grad(v^T s)) / d` of each image, `(B,)`, averaged over the probes."""
        factor, x, s = _scores(self.output, self.noise, self.weighting, network, x0, generator, sigma)
        draw = normal_like(x0, generator)
        total = torch.zeros_like(factor)
        for _ in range(self.probes):
            v = draw().sign()
            along = (s * v).flatten(1).sum(1)
            (gradient,) = torch.autograd.grad(along.sum(), x, create_graph=True)
            squared = s.flatten(1).square().sum(1) if self.reduced else along**2
            total = total + squared + 2 * (gradient * v).flatten(1).sum(1)
        return factor * total / (self.probes * x0[0].numel())

    def to_denoiser(self, network: Network) -> Denoiser:
        """Return the denoiser of the network."""
        return lambda x, sigma: self.output.denoise(network, x, sigma)


def _scores(
    output: Output, noise: NoiseLaw, weighting: Weighting, network: Network, x0: Tensor, generator: torch.Generator,
    sigma: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return `w sigma^4` `(B,)`, noisy images that record gradients, and their scores, both like `x0`."""
    sigma = noise.sample(len(x0), generator) if sigma is None else sigma
    factor = (weighting(sigma, output, noise) * sigma**4).to(x0)
    level = sigma.to(x0)
    s = expand_sigma(level, x0)
    x = (x0 + s * normal_like(x0, generator)()).detach().requires_grad_()
    return factor, x, (output.denoise(network, x, level) - x) / s**2
