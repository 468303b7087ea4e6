"""What hypothesis draws for the property tests: small random matrices, priors, problems and operators.

Shapes, ranks and levels are drawn; the numbers in a matrix come from a seed that is drawn, too. Draws repeat in every
run, so that a failure seen once is seen by everybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor

from invdiff import Problem
from invdiff.noise import Gaussian
from invdiff.operators import (
    Blur,
    Composition,
    Downsample,
    Gain,
    Grayscale,
    Identity,
    Inpainting,
    LinearOperator,
    Separable,
    Stack,
    gaussian_kernel,
    random_mask,
)
from invdiff.priors import GaussianPrior, MixturePrior

SEEDS = st.integers(0, 2**20)


def repeatable(examples: int) -> settings:
    """Return the settings of a property test."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


def normal(seed: int, *shape: int) -> Tensor:
    """Return standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def levels(low: float, high: float) -> st.SearchStrategy[float]:
    """Return positive numbers, uniform in the logarithm."""
    return st.floats(math.log(low), math.log(high), allow_nan=False).map(math.exp)


@st.composite
def matrices(draw: st.DrawFn, columns: int, *, most_rows: int = 7) -> Tensor:
    """Draw a matrix `(m, columns)` of any rank from 1 on, with singular values of about 1."""
    rows = draw(st.integers(1, most_rows))
    rank = draw(st.integers(1, min(rows, columns)))
    seed = draw(SEEDS)
    a: Tensor = normal(seed, rows, rank) @ normal(seed + 1, rank, columns) / math.sqrt(rank * columns)
    return a


@st.composite
def covariances(draw: st.DrawFn, d: int, *, full: bool = False) -> Tensor:
    """Draw a covariance `(d, d)`, of any rank from 1 on unless `full`, with eigenvalues over at most two decades."""
    rank = d if full else draw(st.integers(1, d))
    seed = draw(SEEDS)
    q, _ = torch.linalg.qr(normal(seed, d, d))
    values = torch.where(
        torch.arange(d) < rank, 10 ** -(2 * torch.rand(d, dtype=torch.float64, generator=_of(seed))), 0
    )
    c: Tensor = (q * values) @ q.T
    return (c + c.T) / 2


def _of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def priors(draw: st.DrawFn, d: int, *, components: int = 3, full: bool = False) -> GaussianPrior | MixturePrior:
    """Draw a Gaussian, or a mixture of up to three, on images `(1, 1, d)`."""
    k = draw(st.integers(1, components))
    seed = draw(SEEDS)
    means = normal(seed, k, 1, 1, d)
    c = torch.stack([draw(covariances(d, full=full)) for _ in range(k)])
    if k == 1:
        return GaussianPrior(means[0], c[0])
    weights = torch.rand(k, generator=_of(seed), dtype=torch.float64) + 0.1
    return MixturePrior(weights, means, c)


@dataclass(frozen=True)
class Drawn:
    """A problem by its parts: `y = A x + s n`, two measurements of draws of the prior."""

    matrix: Tensor
    noise: float
    y: Tensor
    prior: GaussianPrior | MixturePrior

    @property
    def problem(self) -> Problem:
        """The problem."""
        return problem_of(self.matrix, self.y, self.noise)


def problem_of(matrix: Tensor, y: Tensor, noise: float) -> Problem:
    """Return the problem of a matrix on images `(1, 1, d)`."""
    return Problem(LinearOperator.from_matrix(matrix, (1, 1, matrix.shape[1])), Gaussian(noise), y)


@st.composite
def problems(
    draw: st.DrawFn,
    *,
    most: int = 6,
    noise: st.SearchStrategy[float] | None = None,
    components: int = 3,
    full: bool = False,
) -> Drawn:
    """Draw a matrix, a noise level, a prior, and measurements that fit them."""
    d = draw(st.integers(1, most))
    a, prior = draw(matrices(d)), draw(priors(d, components=components, full=full))
    s, seed = draw(levels(1e-5, 10.0) if noise is None else noise), draw(SEEDS)
    x = prior.sample(2, _of(seed), torch.float64).flatten(1)
    return Drawn(a, s, x @ a.T + s * normal(seed, 2, len(a)), prior)


@st.composite
def operators(draw: st.DrawFn, shape: tuple[int, int, int], *, depth: int = 2) -> LinearOperator:
    """Draw a linear operator on images of a shape: a simple one, or one made of others."""
    c, h, w = shape
    seed = draw(SEEDS)
    simple: dict[str, Callable[[], LinearOperator]] = {
        "identity": lambda: Identity(shape),
        "mask": lambda: Inpainting(random_mask((h, w), missing=0.4, seed=seed), channels=c),
        "circular": lambda: Blur(shape, kernel=normal(seed, 3, 2), border="circular"),
        "mirror": lambda: Blur(shape, kernel=normal(seed, 2, 3), border="reflect"),
        "gaussian": lambda: Blur(shape, kernel=gaussian_kernel(0.8), border="zero"),
        "smaller": lambda: Downsample(shape, factor=2, kernel="average"),
        "gain": lambda: Gain(shape, gain=normal(seed, *shape)),
        "axes": lambda: Separable(shape, rows=normal(seed, 3, h), columns=normal(seed + 1, w, w)),
        "gray": lambda: Grayscale(shape, weights=normal(seed, c).tolist()),
        "matrix": lambda: LinearOperator.from_matrix(normal(seed, 3, c * h * w), shape),
    }
    made = ("scaled", "sum", "composed", "stacked", "adjoint") if depth else ()
    kind = draw(st.sampled_from([*simple, *made]))
    if kind in simple:
        return simple[kind]()
    inner = draw(operators(shape, depth=depth - 1))
    if kind == "scaled":
        return draw(st.sampled_from([-2.0, 0.0, 0.3])) * inner
    if kind == "sum":
        return inner + 0.5 * inner
    if kind == "adjoint":
        return Composition(inner.T, inner)
    other = draw(operators(shape, depth=depth - 1))
    if kind == "stacked":
        return Stack([inner, other])
    return Composition(inner, Composition(other.T, other))
