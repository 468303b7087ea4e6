"""From the output of a network to `denoise`.

A network `F` sees the noisy image scaled to unit variance, `z = (x - m) / sqrt(sigma^2 + s_d^2)`, and a label of the
noise level; `m` and `s_d` are the data's mean and standard deviation. For each kind of output the denoiser is affine in
it,

    denoise(x, sigma) = m + a(sigma) (x - m) + b(sigma) F(z, label),

so the target of `F` is `((x_0 - m) - a (x - m)) / b`, or has this mean given `x_0` and `x`. With `tau = sigma /
s_d`:

    clean image       F = (x_0 - m) / s_d                               a = 0                  b = s_d
    total noise       F = n,  x = x_0 + sigma n                         a = 1                  b = -sigma
    score             F = grad log p_sigma                              a = 1                  b = sigma^2
    velocity          F = (n - tau (x_0 - m) / s_d) / sqrt(1 + tau^2)   a = 1 / (1 + tau^2)    b = -sigma sqrt(a)
    EDM               F = -velocity                                     a = 1 / (1 + tau^2)    b = sigma sqrt(a)

On a chain of levels `sigma' < sigma`, `x_sigma = x_sigma' + sqrt(sigma^2 - sigma'^2) w` and `E[x_sigma' | x, x_0] = x_0
+ c (x - x_0)` with `c = sigma'^2 / sigma^2`, hence

    previous state    F = (x_sigma' - m) / s'       a = -c / (1 - c)    b = s' / (1 - c),  s'^2 = s_d^2 + sigma'^2
    last increment    F = w                         a = 1               b = -sigma / sqrt(1 - c)

In the coordinates of a variance-preserving chain, `z` is the chain's state for data `(x - m) / s_d`. DDPM's networks
are therefore `TotalNoise`, with the chain's index as their label.
"""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ..errors import UserError
from .base import Prior, attribute_fault, check_images, expand_sigma

Network: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""`F(z, label)`: `(B, C, H, W)` and `(B,)` to `(B, C, H, W)`; further channels (a learned variance) are ignored."""
Denoiser: TypeAlias = Callable[[Tensor, "Tensor | float"], Tensor]


@dataclass(frozen=True, kw_only=True)
class Output(abc.ABC):
    """What a network estimates.

    Attributes:
        mean: the data's mean, `m`.
        std: the data's standard deviation, `s_d`; 0.5 with mean 0.5 for a network of data on [-1, 1].
        label: from noise levels `(B,)` to the labels that the network gets, `(B,)`.
        scaled: whether the network sees `z`; otherwise it sees `(x - m) / s_d`, as NCSN's networks do.
    """

    mean: float = 0.5
    std: float = 0.25
    label: Callable[[Tensor], Tensor] = field(default=torch.log)
    scaled: bool = True

    def __post_init__(self) -> None:
        if not (self.std > 0 and math.isfinite(self.std) and math.isfinite(self.mean)):
            raise UserError(
                f"{type(self).__name__}: std: expected a positive number and a finite mean, got {self.std}, {self.mean}"
            )

    @abc.abstractmethod
    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(a, b)` at noise levels `sigma`, each of its shape."""

    def corrupt(self, x0: Tensor, sigma: Tensor, noise: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """Return noisy images and the target of the network.

        Args:
            x0: clean images, `(B, C, H, W)`.
            sigma: noise levels, `(B,)`.
            noise: draws standard normal noise like `x0`.

        Returns:
            `x_sigma` and the target, both like `x0`. The network learns the mean of the target given `x_sigma`.
        """
        a, b = (expand_sigma(k, x0, maps=True) for k in self.coefficients(sigma))
        x = x0 + expand_sigma(sigma, x0, maps=True) * noise()
        return x, (x0 - self.mean - a * (x - self.mean)) / b

    def evaluate(self, network: Network, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the network's output at noisy images `x` `(B, C, H, W)` of levels `sigma` `(B,)`, like `x`."""
        s = expand_sigma(sigma, x, maps=True)
        scale = torch.sqrt(s**2 + self.std**2) if self.scaled else self.std
        return network((x - self.mean) / scale, self.label(sigma).to(x))[:, : x.shape[1]]

    def denoise(self, network: Network, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `E[x_0 | x_sigma = x]`, `(B, C, H, W)`; `sigma` is a number or `(B,)`."""
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(x.shape[0])
        a, b = (expand_sigma(k, x) for k in self.coefficients(level))
        return self.mean + a * (x - self.mean) + b * self.evaluate(network, x, level)


@dataclass(frozen=True, kw_only=True)
class CleanImage(Output):
    """The network estimates the clean image.

    Example:
        >>> CleanImage(mean=0.5, std=0.5).denoise(lambda z, label: 0 * z + 1, torch.zeros(1, 1, 1, 1), 1.0).item()
        1.0
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(0, s_d)`."""
        return torch.zeros_like(sigma), torch.full_like(sigma, self.std)


@dataclass(frozen=True, kw_only=True)
class TotalNoise(Output):
    """The network estimates the noise, `epsilon`.

    References:
        Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239, equation 14.

    Example:
        >>> TotalNoise().denoise(lambda z, label: 0 * z + 1, torch.ones(1, 1, 1, 1), 0.25).item()
        0.75
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(1, -sigma)`."""
        return torch.ones_like(sigma), -sigma


@dataclass(frozen=True, kw_only=True)
class Score(Output):
    """The network estimates the score in units of the images.

    Example:
        >>> Score().denoise(lambda z, label: 0 * z - 2, torch.ones(1, 1, 1, 1), 0.5).item()
        0.5
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(1, sigma^2)`."""
        return torch.ones_like(sigma), sigma**2


@dataclass(frozen=True, kw_only=True)
class Velocity(Output):
    """The network estimates the velocity `v` of the variance-preserving path.

    References:
        Progressive Distillation for Fast Sampling of Diffusion Models (Salimans, Ho, 2022),
        https://arxiv.org/abs/2202.00512, section 4 and appendix D.

    Example:
        >>> Velocity(mean=0.0, std=1.0).denoise(lambda z, label: 0 * z, torch.ones(1, 1, 1, 1), 1.0).item()
        0.5
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(1 / (1 + tau^2), -sigma / sqrt(1 + tau^2))`."""
        a = self.std**2 / (sigma**2 + self.std**2)
        return a, -sigma * torch.sqrt(a)


@dataclass(frozen=True, kw_only=True)
class EDMOutput(Output):
    """The network estimates EDM's target, which is the velocity with the other sign.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        https://arxiv.org/abs/2206.00364, equation 7 and table 1.

    Example:
        >>> a, b = EDMOutput(mean=0.0, std=3.0).coefficients(torch.tensor(4.0))
        >>> round(a.item(), 6), round(b.item(), 6)
        (0.36, 2.4)
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(c_skip, c_out)`."""
        c_in = torch.rsqrt(sigma**2 + self.std**2)
        return (self.std * c_in) ** 2, sigma * self.std * c_in


@dataclass(frozen=True)
class Shrink:
    """The chain in which each level is a fixed fraction of the next higher one.

    Attributes:
        ratio: `sigma' / sigma`, in (0, 1); the closer to 1, the less the target depends on the image.

    Example:
        >>> Shrink(0.5)(torch.tensor(3.0)).item()
        1.5
    """

    ratio: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise UserError(f"Shrink: ratio: expected a number between 0 and 1, got {self.ratio}")

    def __call__(self, sigma: Tensor) -> Tensor:
        """Return the previous levels, like `sigma`."""
        return self.ratio * sigma


@dataclass(frozen=True, kw_only=True)
class _OnChain(Output):
    """Targets that need the previous level of a chain.

    Attributes:
        previous: from levels to the previous, lower ones, both positive.
    """

    previous: Callable[[Tensor], Tensor] = field(default_factory=Shrink)

    def share(self, sigma: Tensor) -> Tensor:
        """Return `c = sigma'^2 / sigma^2`."""
        return (self.previous(sigma) / sigma) ** 2

    def walk(self, x0: Tensor, sigma: Tensor, noise: Callable[[], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return two neighbouring states of the forward chain, `x_sigma'` and `x_sigma`, and the noise `w` between."""
        low, high = expand_sigma(self.previous(sigma), x0), expand_sigma(sigma, x0)
        before, w = x0 + low * noise(), noise()
        return before, before + torch.sqrt(high**2 - low**2) * w, w


@dataclass(frozen=True, kw_only=True)
class PreviousState(_OnChain):
    """The network estimates the previous state of the forward chain.

    References:
        Ho et al. (2020), https://arxiv.org/abs/2006.11239, section 3.2, equation 8: the mean of the reverse step.

    Differs:
        The target is the chain's own previous state, not its mean given the clean image: the minimiser is the same.

    Example:
        >>> PreviousState(previous=Shrink(0.5)).share(torch.tensor(2.0)).item()
        0.25
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(-c, sqrt(s_d^2 + sigma'^2)) / (1 - c)`."""
        c = self.share(sigma)
        return -c / (1 - c), torch.sqrt(self.std**2 + self.previous(sigma) ** 2) / (1 - c)

    def corrupt(self, x0: Tensor, sigma: Tensor, noise: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """Return `x_sigma` and the previous state, scaled to unit variance."""
        before, x, _ = self.walk(x0, sigma, noise)
        return x, (before - self.mean) / torch.sqrt(self.std**2 + expand_sigma(self.previous(sigma), x0) ** 2)


@dataclass(frozen=True, kw_only=True)
class LastIncrement(_OnChain):
    """The network estimates the noise that the forward chain's last step added.

    Example:
        >>> a, b = LastIncrement(previous=Shrink(0.6)).coefficients(torch.tensor(2.0))
        >>> round(b.item(), 6)
        -2.5
    """

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(1, -sigma / sqrt(1 - c))`."""
        return torch.ones_like(sigma), -sigma / torch.sqrt(1 - self.share(sigma))

    def corrupt(self, x0: Tensor, sigma: Tensor, noise: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """Return `x_sigma` and the last increment."""
        _, x, w = self.walk(x0, sigma, noise)
        return x, w


OUTPUTS: dict[str, type[Output]] = {
    "edm": EDMOutput,
    "noise": TotalNoise,
    "clean": CleanImage,
    "velocity": Velocity,
    "score": Score,
    "previous": PreviousState,
    "increment": LastIncrement,
}
"""Outputs by the names that a configuration or a prior's card uses."""


class TrainedPrior(Prior):
    """A prior from a network with any kind of output.

    Args:
        network: `F(z, label)`.
        output: kind of its output.
        shape: `(C, H, W)`; `None` for any size.
        sigma_min: lowest level of its training, in units of the images.
        sigma_max: highest such level.
        std: standard deviation of the data; by default that of `output`.
        limits: interval to which estimates are clipped, as in the samplers of many networks; `None` for no clipping.
            The derivative of a clipped estimate is 0.

    Example:
        >>> prior = TrainedPrior(lambda z, label: 0 * z, TotalNoise(), (1, None, None), 0.01, 10.0)
        >>> prior.denoise(torch.ones(1, 1, 2, 2), 0.3).unique().item()
        1.0
    """

    def __init__(
        self,
        network: Network,
        output: Output,
        shape: tuple[int | None, ...],
        sigma_min: float,
        sigma_max: float,
        *,
        std: float | None = None,
        limits: tuple[float, float] | None = None,
    ) -> None:
        self.network, self.output, self.shape = network, output, shape
        self.std = output.std if std is None else std
        self.sigma_min, self.sigma_max, self.limits = sigma_min, sigma_max, limits
        if fault := attribute_fault(self):
            raise UserError(f"TrainedPrior: {fault}")
        self.shape = tuple(shape)

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `E[x_0 | x_sigma = x]`, `(B, C, H, W)`."""
        check_images(self, x)
        estimate = self.output.denoise(self.network, x, sigma)
        return estimate if self.limits is None else estimate.clamp(*self.limits)

    def to(self, device: torch.device | str) -> TrainedPrior:
        """Return this prior on `device` if the network is a module; otherwise the network must follow its input."""
        other = copy.copy(self)
        if isinstance(self.network, nn.Module):
            other.network = copy.deepcopy(self.network).to(device)
        return other
