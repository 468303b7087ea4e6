"""Linear diffusions, and their form in variance-exploding coordinates.

A forward diffusion with an affine drift, for `t` in [0, 1],

    dx = f(t) x dt + g(t) dw,

has a Gaussian marginal around every clean image,

    x_t | x_0 ~ N(alpha(t) x_0, std(t)^2 I),   d alpha / dt = f alpha,   d std^2 / dt = 2 f std^2 + g^2.

Divided by `alpha` it is the package's `x_sigma = x_0 + sigma n` with `sigma(t) = std(t) / alpha(t)`, and

    d sigma^2 / dt = g(t)^2 / alpha(t)^2.

So all these diffusions are one process with different time scales and amplitudes. The score in a diffusion's own
coordinates is the score in variance-exploding coordinates divided by `alpha`.

    VP       f = -beta / 2   g^2 = beta                   alpha = exp(-B/2)   sigma^2 = exp(B) - 1
    sub-VP   f = -beta / 2   g^2 = beta (1 - exp(-2 B))   alpha = exp(-B/2)   sigma = 2 sinh(B/2)
    VE       f = 0           g^2 = d sigma^2 / dt         alpha = 1           sigma = sigma_min^(1-t) sigma_max^t
    EDM      f = 0           g^2 = 2 sigma_max^2 t        alpha = 1           sigma = sigma_max t

with `beta(t) = beta_min + t (beta_max - beta_min)` and `B(t)` its integral from 0 to `t`.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError


def check_levels(steps: int, sigma_min: float, sigma_max: float) -> None:
    """Raise ValueError unless `steps >= 1` and `0 < sigma_min <= sigma_max`, both finite."""
    if steps < 1:
        raise UserError(f"steps: expected at least 1, got {steps}")
    if not 0 < sigma_min <= sigma_max < math.inf:
        raise UserError(f"sigma_min, sigma_max: expected 0 < sigma_min <= sigma_max, got {sigma_min} and {sigma_max}")


def _double(t: Tensor | float) -> Tensor:
    return torch.as_tensor(t, dtype=torch.float64)


class Diffusion(abc.ABC):
    """A forward diffusion `dx = f(t) x dt + g(t) dw` on `t` in [0, 1], in closed form.

    All methods take times as numbers or tensors of any shape and return float64 tensors of that shape.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
        https://arxiv.org/abs/2011.13456, section 3.4 and appendix B.
    """

    @abc.abstractmethod
    def drift(self, t: Tensor | float) -> Tensor:
        """Return `f(t)`, so that the drift is `f(t) x`."""

    @abc.abstractmethod
    def squared_diffusion(self, t: Tensor | float) -> Tensor:
        """Return `g(t)^2`."""

    @abc.abstractmethod
    def alpha(self, t: Tensor | float) -> Tensor:
        """Return the factor of the clean image, `alpha(t)`."""

    @abc.abstractmethod
    def sigma(self, t: Tensor | float) -> Tensor:
        """Return the noise level in variance-exploding coordinates, `std(t) / alpha(t)`."""

    @abc.abstractmethod
    def time(self, sigma: Tensor | float) -> Tensor:
        """Return the time at which the noise level in variance-exploding coordinates is `sigma`."""

    def std(self, t: Tensor | float) -> Tensor:
        """Return the standard deviation of the noise in the diffusion's own coordinates."""
        return self.alpha(t) * self.sigma(t)

    def to_ve(self, x: Tensor, t: float) -> tuple[Tensor, float]:
        """Return `(x_sigma, sigma)`: a state at time `t` in variance-exploding coordinates."""
        return x / float(self.alpha(t)), float(self.sigma(t))

    def from_ve(self, x: Tensor, sigma: float) -> tuple[Tensor, float]:
        """Return `(x_t, t)`: a state at noise level `sigma` in the diffusion's own coordinates."""
        t = float(self.time(sigma))
        return x * float(self.alpha(t)), t

    def levels(self, steps: int, sigma_min: float, sigma_max: float) -> Tensor:
        """Return `steps` levels uniform in time from `sigma_max` to `sigma_min`, then 0, in float64."""
        check_levels(steps, sigma_min, sigma_max)
        ends = self.time(sigma_max), self.time(sigma_min)
        t = torch.linspace(float(ends[0]), float(ends[1]), steps, dtype=torch.float64)
        return torch.cat([self.sigma(t), t.new_zeros(1)])


@dataclass(frozen=True)
class _LinearRate(Diffusion):
    """Base of VP and sub-VP: `beta(t)` linear, `alpha = exp(-B / 2)`."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if not (self.beta_min >= 0 and self.beta_max >= self.beta_min and self.beta_max > 0):
            raise UserError(
                f"{type(self).__name__}: beta_min, beta_max: expected 0 <= beta_min <= beta_max, "
                f"got {self.beta_min} and {self.beta_max}"
            )

    def rate(self, t: Tensor | float) -> Tensor:
        """Return `beta(t)`."""
        return self.beta_min + _double(t) * (self.beta_max - self.beta_min)

    def integrated_rate(self, t: Tensor | float) -> Tensor:
        """Return `B(t)`, the integral of `beta` from 0 to `t`."""
        t = _double(t)
        return self.beta_min * t + (self.beta_max - self.beta_min) * t**2 / 2

    def _time_of(self, b: Tensor) -> Tensor:
        # The root of B(t) = b in a form without cancellation for small b or a constant rate.
        return 2 * b / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * b))

    def drift(self, t: Tensor | float) -> Tensor:
        """Return `-beta(t) / 2`."""
        return -self.rate(t) / 2

    def alpha(self, t: Tensor | float) -> Tensor:
        """Return `exp(-B(t) / 2)`."""
        return torch.exp(-self.integrated_rate(t) / 2)


@dataclass(frozen=True)
class VP(_LinearRate):
    """The variance-preserving SDE, the limit of DDPM's chain.

    Attributes:
        beta_min: rate at time 0.
        beta_max: rate at time 1.

    References:
        Song et al. (2021), https://arxiv.org/abs/2011.13456, equation 11.

    Example:
        >>> vp = VP()
        >>> bool((vp.std(0.3) ** 2 + vp.alpha(0.3) ** 2).isclose(torch.tensor(1.0, dtype=torch.float64)))
        True
    """

    def squared_diffusion(self, t: Tensor | float) -> Tensor:
        """Return `beta(t)`."""
        return self.rate(t)

    def sigma(self, t: Tensor | float) -> Tensor:
        """Return `sqrt(exp(B(t)) - 1)`."""
        return torch.sqrt(torch.expm1(self.integrated_rate(t)))

    def time(self, sigma: Tensor | float) -> Tensor:
        """Return the root of `B(t) = log(1 + sigma^2)`."""
        return self._time_of(torch.log1p(_double(sigma) ** 2))


@dataclass(frozen=True)
class SubVP(_LinearRate):
    """The sub-variance-preserving SDE: VP with less noise at every time.

    Attributes:
        beta_min: rate at time 0.
        beta_max: rate at time 1.

    References:
        Song et al. (2021), https://arxiv.org/abs/2011.13456, equation 12.

    Example:
        >>> bool(SubVP().std(0.3) < VP().std(0.3))
        True
    """

    def squared_diffusion(self, t: Tensor | float) -> Tensor:
        """Return `beta(t) (1 - exp(-2 B(t)))`."""
        return -self.rate(t) * torch.expm1(-2 * self.integrated_rate(t))

    def sigma(self, t: Tensor | float) -> Tensor:
        """Return `(1 - exp(-B)) / exp(-B / 2) = 2 sinh(B / 2)`."""
        return 2 * torch.sinh(self.integrated_rate(t) / 2)

    def time(self, sigma: Tensor | float) -> Tensor:
        """Return the root of `B(t) = 2 asinh(sigma / 2)`."""
        return self._time_of(2 * torch.asinh(_double(sigma) / 2))


@dataclass(frozen=True)
class VE(Diffusion):
    """The variance-exploding SDE, the limit of SMLD's geometric levels.

    Attributes:
        sigma_min: noise level at time 0, where the diffusion already has that noise.
        sigma_max: noise level at time 1.

    References:
        Song et al. (2021), https://arxiv.org/abs/2011.13456, equation 9 and appendix C.

    Differs:
        The paper writes the marginal of a diffusion started at a clean image as `sigma(t)^2 - sigma(0)^2` and its
        code takes `sigma(t)^2`; here, as in the code, the state at time 0 is `x_0 + sigma_min n`.

    Example:
        >>> round(float(VE(0.01, 100.0).sigma(0.5)), 12)
        1.0
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        check_levels(1, self.sigma_min, self.sigma_max)

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def drift(self, t: Tensor | float) -> Tensor:
        """Return 0."""
        return torch.zeros_like(_double(t))

    def squared_diffusion(self, t: Tensor | float) -> Tensor:
        """Return `d sigma^2 / dt = 2 sigma^2 log(sigma_max / sigma_min)`."""
        return 2 * self._log_ratio * self.sigma(t) ** 2

    def alpha(self, t: Tensor | float) -> Tensor:
        """Return 1."""
        return torch.ones_like(_double(t))

    def sigma(self, t: Tensor | float) -> Tensor:
        """Return `sigma_min (sigma_max / sigma_min)^t`."""
        t = _double(t)
        return torch.exp((1 - t) * math.log(self.sigma_min) + t * math.log(self.sigma_max))

    def time(self, sigma: Tensor | float) -> Tensor:
        """Return `log(sigma / sigma_min) / log(sigma_max / sigma_min)`."""
        return torch.log(_double(sigma) / self.sigma_min) / self._log_ratio


@dataclass(frozen=True)
class EDM(Diffusion):
    """The diffusion whose time is the noise level: `sigma = sigma_max t`.

    Attributes:
        sigma_max: noise level at time 1.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        https://arxiv.org/abs/2206.00364, section 3.

    Differs:
        The paper's time runs to `sigma_max`; here to 1, as for the other diffusions.

    Example:
        >>> float(EDM(80.0).time(20.0))
        0.25
    """

    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        check_levels(1, self.sigma_max, self.sigma_max)

    def drift(self, t: Tensor | float) -> Tensor:
        """Return 0."""
        return torch.zeros_like(_double(t))

    def squared_diffusion(self, t: Tensor | float) -> Tensor:
        """Return `d sigma^2 / dt = 2 sigma_max^2 t`."""
        return 2 * self.sigma_max**2 * _double(t)

    def alpha(self, t: Tensor | float) -> Tensor:
        """Return 1."""
        return torch.ones_like(_double(t))

    def sigma(self, t: Tensor | float) -> Tensor:
        """Return `sigma_max t`."""
        return self.sigma_max * _double(t)

    def time(self, sigma: Tensor | float) -> Tensor:
        """Return `sigma / sigma_max`."""
        return _double(sigma) / self.sigma_max
