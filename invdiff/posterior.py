"""Exact posteriors of Gaussian and mixture priors, under a linear operator and Gaussian noise: the oracle.

For a component `N(m, C)` of the prior, and `y = A x + s n`,

    S   = A C A^T + s^2 I                 covariance of the measurement
    K   = C A^T S^{-1}                    gain
    E   = m + K (y - A m),   Cov = C - K A C,   log p(y) = log N(y; A m, S)

and a mixture's posterior is the mixture of its components' posteriors with weights in proportion to `w_k p_k(y)`.
Samples come from Matheron's rule: `x' + K (y - A x' - s n')` with `(x', n')` drawn from the prior and the noise.

Matrices are dense in the measurement, so these are for small problems, up to some thousands of observed entries.
`gaussian_mean` solves the same equations for photographs by conjugate gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .noise import Gaussian
from .operators.base import LinearOperator
from .operators.numerics.linalg import conjugate_gradients
from .priors import GaussianPrior, MixturePrior, Prior, StationaryGaussianPrior
from .problem import Problem
from .streams import generator
from .whitening import whitened


class ExactPosterior:
    """The posterior of a Gaussian or mixture prior, in closed form, in float64.

    Args:
        problem: a linear operator, Gaussian noise (one level, or one for each entry), and measurements `(B, ...)`.
        prior: a `GaussianPrior`, `StationaryGaussianPrior` or `MixturePrior`.

    Attributes:
        weights: posterior weights of the components, `(B, K)`.
        means: posterior means of the components, `(B, K, C, H, W)`.
        log_evidence: `log p(y)` in nats over the observed entries, `(B,)`.

    Raises:
        ValueError: another prior, a nonlinear operator, or noise that is not Gaussian.

    Example:
        >>> import torch
        >>> from invdiff import Problem, noise, operators, priors
        >>> prior = priors.GaussianPrior(torch.zeros(1, 1, 1), torch.eye(1))
        >>> problem = Problem(operators.Identity((1, 1, 1)), noise.Gaussian(1.0), torch.ones(1, 1, 1, 1))
        >>> ExactPosterior(problem, prior).mean.item()
        0.5
    """

    def __init__(self, problem: Problem, prior: Prior) -> None:
        problem, log_volume = _white(problem)
        operator = problem.operator
        assert isinstance(operator, LinearOperator) and isinstance(problem.noise, Gaussian)
        self.shape = operator.in_shape
        weights, means, products = _components(prior, self.shape)
        y = problem.measurement.double().flatten(1)
        eye = torch.eye(y.shape[1], dtype=torch.float64)
        if operator.observed is not None:
            keep = operator.observed.expand(operator.out_shape).flatten()
            y, eye = y[:, keep], eye[keep]
        at = operator.adjoint(eye.reshape(-1, *operator.out_shape)).flatten(1).T  # A^T, (d, m)
        self._prior, self._at, self._y, self._noise = prior, at, y, problem.noise.std
        posterior_means, log_evidence, self._gains, self._covariances = [], [], [], []
        for m, product in zip(means, products, strict=True):
            cat = product(at)
            s = at.T @ cat + self._noise**2 * torch.eye(len(eye), dtype=torch.float64)
            values, vectors = torch.linalg.eigh((s + s.T) / 2)
            good = values > 1e-12 * values.max() if len(values) else values > 0
            values, vectors = values[good], vectors[:, good]
            gain = cat @ (vectors / values) @ vectors.T
            residual = y - m @ at
            z = residual @ vectors
            log_evidence.append(-0.5 * (z**2 / values + values.log() + math.log(2 * math.pi)).sum(1))
            posterior_means.append(m + residual @ gain.T)
            self._gains.append(gain)
            self._covariances.append((product, cat))
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
        product, cat = self._covariances[k]
        eye = torch.eye(len(self._at), dtype=torch.float64)
        out: Tensor = product(eye) - self._gains[k] @ cat.T
        return out

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
                x[k == j] += innovation[k == j] @ self._gains[j].T
            out.append(x.reshape(n, *self.shape))
        return torch.stack(out) if out else torch.zeros((0, n, *self.shape), dtype=torch.float64)


def gaussian_mean(
    problem: Problem, prior: GaussianPrior | StationaryGaussianPrior, *, tolerance: float = 1e-5, iterations: int = 300
) -> Tensor:
    """Return the posterior mean under a Gaussian prior, at any size, `(B, C, H, W)`.

    With `C = Q diag(v) Q^T` and `x = m + Q diag(v)^{1/2} u`, the whitened coefficients solve

        (I + diag(v)^{1/2} Q^T A^T A Q diag(v)^{1/2} / s^2) u = diag(v)^{1/2} Q^T A^T (y - A m) / s^2

    by conjugate gradients, preconditioned by the same matrix with `||A||^2 I` for `A^T A`, which is diagonal.

    Args:
        problem: a linear operator, Gaussian noise, and measurements. Noise below a thousandth of `prior.std` counts as
            that much.
        prior: a Gaussian prior of that size.
        tolerance: relative residual at which the iteration stops.
        iterations: limit of the iteration.
    """
    problem, _ = _white(problem)
    operator, y = problem.operator, problem.measurement
    assert isinstance(operator, LinearOperator) and isinstance(problem.noise, Gaussian)
    mean, v = prior.moments(operator.in_shape, y)
    m = mean.expand(len(problem), *operator.in_shape)
    root, precision = v.sqrt(), 1 / max(problem.noise.std, 1e-3 * prior.std) ** 2
    inverse_diagonal = 1 / (1 + precision * operator.norm() ** 2 * v)
    seen = 1 if operator.observed is None else operator.observed.to(y)

    def back(z: Tensor) -> Tensor:
        return precision * root * prior.analyse(operator.adjoint(seen * z))

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
    """Return the problem in units in which its noise is white, and what that adds to `log p(y)`."""
    if not isinstance(problem.operator, LinearOperator):
        raise ValueError(f"exact posterior: operator: expected a LinearOperator, got {problem.operator!r}")
    if not problem.noise.is_gaussian:
        raise ValueError(
            f"exact posterior: noise: expected Gaussian, got {problem.noise!r}; problem.gaussian() has the nearest one"
        )
    white = whitened(problem)
    return white.problem, white.log_volume


Product = Callable[[Tensor], Tensor]


def _components(prior: Prior, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, list[Product]]:
    """Return weights `(K,)`, means `(K, d)` and, for each component, the map `M -> C_k M` on `(d, n)`."""
    if isinstance(prior, MixturePrior):
        c = prior.covariances
        products: list[Product] = [lambda m, ck=ck: ck * m if ck.ndim == 0 else ck @ m for ck in c]  # type: ignore[misc]
        return prior.weights, prior.means.flatten(1), products
    if isinstance(prior, GaussianPrior | StationaryGaussianPrior):
        mean, _ = prior.moments(shape, torch.zeros((), dtype=torch.float64))
        flat = mean.expand(shape).reshape(1, -1)
        return (
            torch.ones(1, dtype=torch.float64),
            flat,
            [lambda m: prior.covariance_product(m.T.reshape(-1, *shape)).flatten(1).T],
        )
    raise ValueError(f"exact posterior: prior: expected a Gaussian or mixture prior, got {type(prior).__name__}")


def _draw(prior: Prior, k: Tensor, shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    """Return one draw of the prior's component `k[i]` for each i, `(n, d)`, float64."""
    if isinstance(prior, MixturePrior):
        return prior.sample_components(k, g).flatten(1)
    if isinstance(prior, StationaryGaussianPrior):
        return prior.sample(len(k), shape, g, torch.float64).flatten(1)  # type: ignore[arg-type]
    assert isinstance(prior, GaussianPrior)
    return prior.sample(len(k), g, torch.float64).flatten(1)
