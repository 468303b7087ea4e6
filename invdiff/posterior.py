"""Exact posteriors of Gaussian and mixture priors, under a linear operator and Gaussian noise: the oracle.

For a component `N(m, C)` of the prior with `C = L L^T`, and `y = A x + s n`, the singular values of
`A L = U diag(t) W^T` give

    S   = A C A^T + s^2 I = U diag(t^2 + s^2) U^T + s^2 (I - U U^T)              covariance of the measurement
    K   = C A^T S^{-1}    = L W diag(t / (t^2 + s^2)) U^T                        gain
    Cov = C - K A C       = L (W diag(s^2 / (t^2 + s^2)) W^T + I - W W^T) L^T    covariance of the posterior
    E   = m + K (y - A m),   log p(y) = log N(y; A m, S)

and a mixture's posterior is the mixture of its components' posteriors with weights in proportion to `w_k p_k(y)`.
Samples come from Matheron's rule: `x' + K (y - A x' - s n')` with `(x', n')` drawn from the prior and the noise.

`S` and `C - K A C` are never formed. `S` loses everything below 1e-16 of the largest `t^2`, which includes the noise if
`s` is below 1e-8 of the largest `t`, and the difference then cancels. The singular values keep `t / s` down to 1e-16 of
the largest, and the sum of squares has no cancellation.

Matrices are dense in the measurement, so problems must be small, with up to some thousands of observed entries.
`gaussian_mean` solves the same equations for photographs by conjugate gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .errors import NotApplicable
from .noise import Gaussian
from .operators.base import LinearOperator
from .operators.numerics.linalg import conjugate_gradients
from .priors import GaussianPrior, MixturePrior, Prior, StationaryGaussianPrior
from .problem import Problem
from .streams import generator
from .whitening import whitened


class ExactPosterior:
    """The posterior of a Gaussian or mixture prior, in closed form, in float64 on the CPU.

    Args:
        problem: a linear operator, Gaussian noise (one level, or one for each entry), and measurements `(B, ...)`.
        prior: a `GaussianPrior`, `StationaryGaussianPrior` or `MixturePrior`.

    Attributes:
        weights: posterior weights of the components, `(B, K)`.
        means: posterior means of the components, `(B, K, C, H, W)`.
        log_evidence: `log p(y)` in nats over the observed entries, `(B,)`. Without noise, the density on the range of
            `A L`.

    Raises:
        ValueError: another prior, a nonlinear operator, noise that is not Gaussian, or no noise under a mixture whose
            components' measurements differ in rank, so that their densities cannot be compared.

    Example:
        >>> import torch
        >>> from invdiff import Problem, noise, operators, priors
        >>> prior = priors.GaussianPrior(torch.zeros(1, 1, 1), torch.eye(1))
        >>> problem = Problem(operators.Identity((1, 1, 1)), noise.Gaussian(1.0), torch.ones(1, 1, 1, 1))
        >>> ExactPosterior(problem, prior).mean.item()
        0.5
    """

    def __init__(self, problem: Problem, prior: Prior) -> None:
        problem, log_volume = _white(problem.to("cpu"))
        operator = problem.operator
        assert isinstance(operator, LinearOperator) and isinstance(problem.noise, Gaussian)
        self.shape = operator.in_shape
        weights, means, roots = _components(prior, self.shape)
        y = problem.measurement.double().flatten(1)
        eye = torch.eye(y.shape[1], dtype=torch.float64)
        if operator.observed is not None:
            keep = operator.observed.expand(operator.out_shape).flatten()
            y, eye = y[:, keep], eye[keep]
        at = operator.adjoint(eye.reshape(-1, *operator.out_shape)).flatten(1)  # rows A^T e_i, (m, d)
        self._prior, self._at, self._y, self._noise = prior, at.T, y, problem.noise.std
        self._conditioned = [_Conditioned.on(at, root, self._noise) for root in roots]
        ranks = sorted({len(c.t) for c in self._conditioned})
        if self._noise == 0 and len(ranks) > 1:
            raise NotApplicable(
                f"exact posterior: noise: expected a positive level where the prior's components have measurements of "
                f"different rank, got 0 and ranks {ranks}; give a small level"
            )
        residuals = [y - m @ at.T for m in means]
        pairs = list(zip(self._conditioned, residuals, strict=True))
        posterior_means = [m + r @ c.gain.T for m, (c, r) in zip(means, pairs, strict=True)]
        log_evidence = [c.log_evidence(r) for c, r in pairs]
        joint = torch.stack(log_evidence, 1) + weights.log()
        self.log_evidence = joint.logsumexp(1) + log_volume
        self.weights = joint.softmax(1)
        self.means = torch.stack(posterior_means, 1).reshape(len(y), len(means), *self.shape)

    @property
    def mean(self) -> Tensor:
        """Posterior mean, `(B, C, H, W)`."""
        return torch.einsum("bk,bkchw->bchw", self.weights, self.means)

    def component_covariance(self, k: int) -> Tensor:
        """Return the covariance of component `k`, `(d, d)`, the same for every measurement."""
        return self._conditioned[k].covariance

    @property
    def covariance(self) -> Tensor:
        """Posterior covariance, `(B, d, d)`."""
        spread = (self.means - self.mean[:, None]).flatten(2)
        between = torch.einsum("bk,bki,bkj->bij", self.weights, spread, spread)
        within = sum(
            self.weights[:, k, None, None] * self.component_covariance(k) for k in range(self.weights.shape[1])
        )
        return between + within

    @property
    def std(self) -> Tensor:
        """Posterior standard deviation of each pixel, `(B, C, H, W)`."""
        variance = torch.diagonal(self.covariance, dim1=1, dim2=2)
        return variance.clamp(min=0).sqrt().reshape(-1, *self.shape)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Return `n` independent samples of each image's posterior, `(B, n, C, H, W)`, in float64."""
        out = []
        for b in range(len(self._y)):
            g = generator(seed, b)
            k = torch.multinomial(self.weights[b], n, replacement=True, generator=g)
            x = _draw(self._prior, k, self.shape, g)
            y = x @ self._at + self._noise * torch.randn((n, self._at.shape[1]), generator=g, dtype=torch.float64)
            innovation = self._y[b] - y
            for j in sorted(set(k.tolist())):
                x[k == j] += innovation[k == j] @ self._conditioned[j].gain.T
            out.append(x.reshape(n, *self.shape))
        return torch.stack(out) if out else torch.zeros((0, n, *self.shape), dtype=torch.float64)


def gaussian_mean(
    problem: Problem, prior: GaussianPrior | StationaryGaussianPrior, *, tolerance: float = 1e-5, iterations: int = 300
) -> Tensor:
    """Return the posterior mean under a Gaussian prior, at any size, `(B, C, H, W)`.

    With `C = Q diag(v) Q^T` and `x = m + Q diag(v)^{1/2} u`, the whitened coefficients solve

        (I + diag(v)^{1/2} Q^T A^T A Q diag(v)^{1/2} / s^2) u = diag(v)^{1/2} Q^T A^T (y - A m) / s^2

    by conjugate gradients, preconditioned by the same matrix with a diagonal one for `Q^T A^T A Q`: the operator's
    `cosine_power` under a stationary prior, else `||A||^2 I`. For symmetric blurs of large pictures it is the inverse.
    `operators.watch_solves` reports how the iteration ended.

    Args:
        problem: a linear operator, Gaussian noise, and measurements. Noise below a thousandth of `||A|| prior.std` is
            raised to it.
        prior: a Gaussian prior of that size.
        tolerance: relative residual at which the iteration stops.
        iterations: limit of the iteration.
    """
    problem, _ = _white(problem)
    operator, y = problem.operator, problem.measurement
    assert isinstance(operator, LinearOperator) and isinstance(problem.noise, Gaussian)
    mean, v = prior.moments(operator.in_shape, y)
    m = mean.expand(len(problem), *operator.in_shape)
    size = problem.gain or 1.0
    root, precision = v.sqrt(), 1 / max(problem.noise.std, 1e-3 * prior.std * size) ** 2
    known = operator.cosine_power if isinstance(prior, StationaryGaussianPrior) else None
    power = size**2 if known is None else known.mean(0).to(v)
    inverse_diagonal = 1 / (1 + precision * power * v)
    seen = 1 if operator.observed is None else operator.observed.to(y)

    def back(z: Tensor) -> Tensor:
        return precision * root * prior.analyse(operator.adjoint(seen * z))

    if known is not None and operator.diagonal_in_cosines and len(known) == 1:
        return prior.synthesise(back(problem.residual(m)).mul_(inverse_diagonal).mul_(root)).add_(mean)

    def system(u: Tensor) -> Tensor:
        return u + back(operator.forward(prior.synthesise(root * u)))

    u = conjugate_gradients(
        system,
        back(problem.residual(m)),
        tolerance=tolerance,
        max_iterations=iterations,
        preconditioner=lambda r: inverse_diagonal * r,
    ).x
    return m + prior.synthesise(root * u)


def _white(problem: Problem) -> tuple[Problem, float]:
    """Return the problem with whitened noise, and the term that this adds to `log p(y)`."""
    if not isinstance(problem.operator, LinearOperator):
        raise NotApplicable(f"exact posterior: operator: expected a LinearOperator, got {problem.operator!r}")
    if not problem.noise.is_gaussian:
        raise NotApplicable(
            f"exact posterior: noise: expected Gaussian, got {problem.noise!r}; problem.gaussian() has the nearest one"
        )
    white = whitened(problem)
    return white.problem, white.log_volume


@dataclass(frozen=True)
class _Root:
    """A factor of a covariance `C = L L^T`, as maps of rows of coefficients and of images, `(n, d)`."""

    image: Callable[[Tensor], Tensor]
    """`z -> L z`"""
    coefficients: Callable[[Tensor], Tensor]
    """`x -> L^T x`"""


@dataclass(frozen=True)
class _Conditioned:
    """A Gaussian `N(m, L L^T)` conditioned on `y = A x + s n`, by `A L = U diag(t) W^T`.

    Attributes:
        u: `U`, `(m, k)`.
        t: singular values, `(k,)`.
        w: `W`, `(d, k)`.
        root: `L`.
        noise: `s`; at 0 only the singular values beyond rounding are kept, for the posterior on the range of `A L`.
    """

    u: Tensor
    t: Tensor
    w: Tensor
    root: _Root
    noise: float

    @classmethod
    def on(cls, rows: Tensor, root: _Root, noise: float) -> _Conditioned:
        """Return the conditioned Gaussian for the rows of `A`, `(m, d)`."""
        u, t, wt = torch.linalg.svd(root.coefficients(rows), full_matrices=False)
        if noise == 0 and len(t):
            known = t > max(rows.shape) * torch.finfo(t.dtype).eps * t.max()
            u, t, wt = u[:, known], t[known], wt[known]
        return cls(u, t, wt.T, root, noise)

    @property
    def _total(self) -> Tensor:
        return self.t**2 + self.noise**2

    @cached_property
    def gain(self) -> Tensor:
        """`K = L W diag(t / (t^2 + s^2)) U^T`, `(d, m)`."""
        return (self.root.image(self.w.T).T * (self.t / self._total)) @ self.u.T

    def log_evidence(self, residual: Tensor) -> Tensor:
        """Return `log N(y - A m; 0, S)` of residuals `(B, m)`, `(B,)`; without noise on the range of `A L` only."""
        z = residual @ self.u
        terms = (z**2 / self._total + self._total.log() + math.log(2 * math.pi)).sum(1)
        outside = residual.shape[1] - len(self.t)
        if outside and self.noise:
            rest = (residual - z @ self.u.T).square().sum(1) / self.noise**2
            terms = terms + rest + outside * math.log(2 * math.pi * self.noise**2)
        return -0.5 * terms

    @property
    def covariance(self) -> Tensor:
        """Covariance of the posterior, `(d, d)`: the sum over observed and unobserved directions."""
        whole, seen = self.root.image(torch.eye(len(self.w), dtype=self.w.dtype)).T, self.root.image(self.w.T).T
        unseen, seen = whole - seen @ self.w.T, seen * (self.noise / self._total.sqrt())
        return unseen @ unseen.T + seen @ seen.T


def _components(prior: Prior, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, list[_Root]]:
    """Return weights `(K,)`, means `(K, d)` and, for each component, a factor of its covariance."""
    if isinstance(prior, MixturePrior):
        return prior.weights, prior.means.flatten(1), [_dense_root(*prior.eigen(k)) for k in range(len(prior.weights))]
    if isinstance(prior, GaussianPrior | StationaryGaussianPrior):
        mean, variance = prior.moments(shape, torch.zeros((), dtype=torch.float64))
        std = variance.sqrt()
        root = _Root(
            image=lambda z: prior.synthesise(std * z.reshape(-1, *shape)).flatten(1),
            coefficients=lambda x: (std * prior.analyse(x.reshape(-1, *shape))).flatten(1),
        )
        return torch.ones(1, dtype=torch.float64), mean.expand(shape).reshape(1, -1), [root]
    raise NotApplicable(f"exact posterior: prior: expected a Gaussian or mixture prior, got {type(prior).__name__}")


def _dense_root(variance: Tensor, q: Tensor | None) -> _Root:
    """Return the factor `Q diag(v)^{1/2}`, with the identity for no `Q`."""
    std = variance.sqrt()
    if q is None:
        return _Root(lambda z: std * z, lambda x: std * x)
    return _Root(lambda z: (std * z) @ q.T, lambda x: std * (x @ q))


def _draw(prior: Prior, k: Tensor, shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    """Return one draw of the prior's component `k[i]` for each i, `(n, d)`, float64."""
    if isinstance(prior, MixturePrior):
        return prior.sample_components(k, g).flatten(1)
    if isinstance(prior, StationaryGaussianPrior):
        return prior.sample(len(k), shape, g, torch.float64).flatten(1)  # type: ignore[arg-type]
    assert isinstance(prior, GaussianPrior)
    return prior.sample(len(k), g, torch.float64).flatten(1)
