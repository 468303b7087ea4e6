"""Priors made of priors: with a likelihood, as a product, as a mixture.

- A likelihood score adds to the score, `grad log p_sigma(x | y) = s(x, sigma) + grad log p(y | x_sigma = x)`. By
  Tweedie's formula

      denoise(x, sigma) = prior.denoise(x, sigma) + sigma^2 grad log p(y | x_sigma = x)

  is the posterior mean `E[x_0 | x_sigma = x, y]`. Every sampler then draws from the posterior.

- A mixture `sum_i w_i p_i` is a mixture at every noise level, with responsibilities `r_i(x)` proportional to `w_i
  p_{i,sigma}(x)`:

      denoise(x, sigma) = sum_i r_i(x) denoise_i(x, sigma).

- A product `p(x) ~ prod_i p_i(x)^{e_i}` is no product at other noise levels: noise added to a product is not the
  product of the noisy factors. The score `sum_i e_i s_i(x, sigma)` belongs to the path `prod_i p_{i,sigma}^{e_i}`,
  which ends at the right product but is not the marginal of any diffusion. Samplers that follow a diffusion (DDIM, the
  ODE, the SDE) are biased on it; those that equilibrate at each level (annealed Langevin, unadjusted or with
  Metropolis' test) are not. With exponents `(1 - w, w)` this is classifier-free guidance. The weights of distant modes
  are those at the level below which chains no longer cross between them, not those at the last level.

References:
    Reduce, Reuse, Recycle: Compositional Generation with Energy-Based Diffusion Models and MCMC (Du et al., 2023),
    https://arxiv.org/abs/2302.11552, sections 3 and 4.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..errors import UserError, UserTypeError
from .base import Prior, expand_sigma

LogDensity = Callable[[Tensor, Tensor | float], Tensor]


@runtime_checkable
class HasLogProb(Protocol):
    """A prior with `log p_sigma(x)` in nats, `(B,)`."""

    def log_prob(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """Return `log p_sigma(x)`."""
        ...


@runtime_checkable
class HasLogDensity(Protocol):
    """A prior with `log p_sigma(x)` up to a constant that depends on `sigma` alone, `(B,)`."""

    def log_density(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `log p_sigma(x)` up to a constant."""
        ...


def log_density_of(prior: Prior) -> LogDensity | None:
    """Return the prior's log-density up to a constant, or `None` where it has none."""
    if isinstance(prior, ProductOf):
        return prior.log_density if prior.has_log_density else None
    if isinstance(prior, HasLogDensity):
        return prior.log_density
    return prior.log_prob if isinstance(prior, HasLogProb) else None


class Guided(Prior):
    """A prior with a likelihood score added to its score: the posterior, as a prior that every sampler accepts.

    Args:
        prior: the prior.
        likelihood_score: `(x, sigma)` to `grad log p(y | x_sigma = x)`, like `x`; `sigma` is a number or `(B,)`. It is
            called without gradients being recorded.

    Example:
        >>> from invdiff.priors import GaussianPrior
        >>> prior = GaussianPrior(torch.zeros(1, 1, 1), torch.eye(1))
        >>> guided = Guided(prior, lambda x, sigma: (2 - x) * 0.5)
        >>> guided.denoise(torch.zeros(1, 1, 1, 1), 1.0).item()
        1.0
    """

    def __init__(self, prior: Prior, likelihood_score: Callable[[Tensor, Tensor | float], Tensor]) -> None:
        self.prior, self.likelihood_score = prior, likelihood_score
        self.shape, self.std = prior.shape, prior.std
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max

    @property
    def training_images(self) -> frozenset[str]:  # type: ignore[override]
        """Those of the prior."""
        return self.prior.training_images

    @property
    def units(self) -> str:  # type: ignore[override]
        """The units of the prior."""
        return self.prior.units

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `E[x_0 | x_sigma = x, y]`, `(B, C, H, W)`."""
        return self.prior.denoise(x, sigma) + expand_sigma(sigma, x) ** 2 * self.likelihood_score(x, sigma)

    def to(self, device: torch.device | str) -> Guided:
        """Return this prior on `device`; the likelihood score must follow the device of its argument."""
        return Guided(self.prior.to(device), self.likelihood_score)


class _Composition(Prior):
    """Several priors over the same images: the base of products and mixtures."""

    def __init__(self, priors: Sequence[Prior], coefficients: Sequence[float] | None, label: str) -> None:
        name = type(self).__name__
        if not priors:
            raise UserError(f"{name}: priors: expected at least one, got none")
        self.priors = tuple(priors)
        self.coefficients = tuple(float(c) for c in coefficients) if coefficients is not None else (1.0,) * len(priors)
        if len(self.coefficients) != len(self.priors) or not all(math.isfinite(c) for c in self.coefficients):
            raise UserError(f"{name}: {label}: expected {len(self.priors)} finite numbers, got {self.coefficients}")
        self.shape = _common_shape(name, [p.shape for p in priors])
        self.sigma_min = max(p.sigma_min for p in priors)
        self.sigma_max = min(p.sigma_max for p in priors)

    @property
    def training_images(self) -> frozenset[str]:  # type: ignore[override]
        """Those of all priors."""
        return frozenset().union(*(p.training_images for p in self.priors))

    @property
    def units(self) -> str:  # type: ignore[override]
        """The units of the priors, if they have the same."""
        stated = {p.units for p in self.priors}
        return stated.pop() if len(stated) == 1 else ""

    def to(self, device: torch.device | str) -> Prior:
        """Return this prior on `device`."""
        other = copy.copy(self)
        other.priors = tuple(p.to(device) for p in self.priors)
        return other


class ProductOf(_Composition):
    """The product `prod_i p_i^{e_i}` of priors, on the path of products of the noisy factors.

    Sample it by annealed Langevin dynamics, with or without Metropolis' test; the module says why.

    Args:
        priors: the factors.
        exponents: `e_i`; by default 1.

    Example:
        >>> from invdiff.priors import GaussianPrior
        >>> unit = GaussianPrior(torch.zeros(1, 1, 1), torch.eye(1))
        >>> ProductOf([unit, unit]).score(torch.ones(1, 1, 1, 1), 1.0).item()
        -1.0
    """

    def __init__(self, priors: Sequence[Prior], exponents: Sequence[float] | None = None) -> None:
        super().__init__(priors, exponents, "exponents")
        precision = sum(e / p.std**2 for e, p in zip(self.coefficients, self.priors, strict=True))
        if not precision > 0:
            raise UserError(
                f"ProductOf: exponents: expected a positive sum of e_i / std_i^2, got {precision:g} "
                f"from {self.coefficients}"
            )
        self.std = precision**-0.5

    @property
    def has_log_density(self) -> bool:
        """Whether every factor has a log-density."""
        return all(log_density_of(p) is not None for p in self.priors)

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `x + sigma^2 sum_i e_i s_i(x, sigma)`, `(B, C, H, W)`: it has that score but is no posterior mean."""
        total = sum(self.coefficients)
        out = (1 - total) * x
        for e, p in zip(self.coefficients, self.priors, strict=True):
            out = out + e * p.denoise(x, sigma)
        return out

    def log_density(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `sum_i e_i log p_{i,sigma}(x)`, `(B,)`, which is the log-density up to a constant.

        Raises:
            TypeError: a factor has no log-density.
        """
        terms = [
            e * _need_log_density("ProductOf", p)(x, sigma) for e, p in zip(self.coefficients, self.priors, strict=True)
        ]
        return torch.stack(terms).sum(0)


class MixtureOf(_Composition):
    """The mixture `sum_i w_i p_i` of priors with known log-densities; exact at every noise level.

    Args:
        priors: the components, each with `log_prob`.
        weights: `w_i`, positive; they are normalised; by default equal.
        std: standard deviation of the mixture's data; by default that of the components, without the spread of their
            means.

    Raises:
        TypeError: a component has no `log_prob`, which its responsibility needs.

    Example:
        >>> from invdiff.priors import GaussianPrior
        >>> left, right = (GaussianPrior(torch.full((1, 1, 1), m), 0.01 * torch.eye(1)) for m in (-1.0, 1.0))
        >>> round(MixtureOf([left, right], std=1.0).denoise(torch.full((1, 1, 1, 1), 0.2), 0.1).item(), 2)
        0.6
    """

    def __init__(
        self, priors: Sequence[Prior], weights: Sequence[float] | None = None, std: float | None = None
    ) -> None:
        super().__init__(priors, weights, "weights")
        if not all(w > 0 for w in self.coefficients):
            raise UserError(f"MixtureOf: weights: expected positive numbers, got {self.coefficients}")
        total = sum(self.coefficients)
        self.coefficients = tuple(w / total for w in self.coefficients)
        for p in self.priors:
            if not isinstance(p, HasLogProb):
                raise UserTypeError(
                    f"MixtureOf: priors: expected priors with log_prob, got {type(p).__name__}; without it "
                    "the share of each component at a noisy image is not known"
                )
        variance = sum(w * p.std**2 for w, p in zip(self.coefficients, self.priors, strict=True))
        self.std = math.sqrt(variance) if std is None else std

    def _log_joint(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        terms = []
        for w, p in zip(self.coefficients, self.priors, strict=True):
            assert isinstance(p, HasLogProb)
            terms.append(math.log(w) + p.log_prob(x, sigma))
        return torch.stack(terms)

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `sum_i r_i(x) denoise_i(x, sigma)`, `(B, C, H, W)`."""
        r = self._log_joint(x, sigma).softmax(0).to(x)
        parts = torch.stack([p.denoise(x, sigma) for p in self.priors])
        return (r.reshape(*r.shape, *[1] * (x.ndim - 1)) * parts).sum(0)

    def log_prob(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """Return `log sum_i w_i p_{i,sigma}(x)` in nats, `(B,)`."""
        return self._log_joint(x, sigma).logsumexp(0)


def _need_log_density(name: str, prior: Prior) -> LogDensity:
    found = log_density_of(prior)
    if found is None:
        raise UserTypeError(f"{name}: priors: expected priors with log_prob or log_density, got {type(prior).__name__}")
    return found


def _common_shape(name: str, shapes: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
    """Return the common size of all priors; `None` fits any size."""
    if len({len(s) for s in shapes}) != 1:
        raise UserError(f"{name}: priors: expected the same number of axes, got shapes {shapes}")
    out: list[int | None] = []
    for sizes in zip(*shapes, strict=True):
        known = {s for s in sizes if s is not None}
        if len(known) > 1:
            raise UserError(f"{name}: priors: expected priors over the same images, got shapes {shapes}")
        out.append(known.pop() if known else None)
    return tuple(out)
