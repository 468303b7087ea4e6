"""What the comparisons with papers share: a small problem on [-1, 1], and walks in the papers' own coordinates.

A paper's step works on z = 2 x - 1, in the variance-preserving coordinates `z_t = sqrt(abar) z + sqrt(1 - abar) n` or
in variance-exploding ones, for one image and without any of the package's steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from invdiff import Problem
from invdiff.noise import Gaussian
from invdiff.priors import GaussianPrior
from invdiff.solvers import IterativeSolver
from invdiff.streams import generator
from invdiff.testing.exact import MatrixOperator

D, M = 6, 4


@dataclass
class World:
    """A Gaussian prior of standard deviation 1/4, so that one unit of [-1, 1] is r = 1/2, and a matrix."""

    prior: GaussianPrior
    problem: Problem
    u: Tensor
    s: Tensor
    v: Tensor  # (D, D): right singular vectors, those of the null space last

    @property
    def a(self) -> Tensor:
        out: Tensor = self.u @ torch.diag(self.s) @ self.v[:, :M].T
        return out

    @property
    def y(self) -> Tensor:  # a z = 2 a x - a 1
        out: Tensor = 2 * self.problem.measurement[0] - self.a.sum(1)
        return out

    @property
    def noise(self) -> float:
        assert isinstance(self.problem.noise, Gaussian)
        return 2 * self.problem.noise.std

    def eps(self, z: Tensor, abar: float) -> Tensor:
        mean, cov = 2 * self.prior.mean.flatten() - 1, 4 * self.prior.covariance
        total = abar * cov + (1 - abar) * torch.eye(D, dtype=torch.float64)
        out: Tensor = math.sqrt(1 - abar) * torch.linalg.solve(total, z - math.sqrt(abar) * mean)
        return out

    def clean(self, z: Tensor, abar: float) -> Tensor:
        return (z - math.sqrt(1 - abar) * self.eps(z, abar)) / math.sqrt(abar)


def world(std: float) -> World:
    g = torch.Generator().manual_seed(0)
    root = torch.randn(D, D, generator=g, dtype=torch.float64)
    cov = root @ root.T
    mean = torch.rand(D, 1, 1, generator=g, dtype=torch.float64)
    prior = GaussianPrior(mean, cov / cov.diagonal().mean() * 0.25**2)
    u, _, vt = torch.linalg.svd(torch.randn(M, D, generator=g, dtype=torch.float64), full_matrices=True)
    s = torch.tensor([1.0, 0.7, 0.3, 0.1], dtype=torch.float64)
    operator = MatrixOperator(u, s, vt.T[:, :M])
    y = operator(mean[None]) + 0.3 * torch.randn(1, M, generator=g, dtype=torch.float64)
    return World(prior, Problem(operator, Gaussian(std), y), u, s, vt.T)


Step = Callable[[Tensor, float, float, Callable[[], Tensor]], Tensor]


def check(
    w: World, solver: IterativeSolver, step: Step, start: Callable[[Tensor, Tensor, float], Tensor] | None = None,
    *, tolerance: float = 1e-8,
) -> None:  # fmt: skip
    """Walk with `step(z, abar, abar_next, draw)` and compare with the solver."""
    sigmas = [x / 0.5 for x in solver.levels(w.problem, w.prior).tolist()]
    stream = generator(7, 0, 0)

    def draw() -> Tensor:
        return torch.randn(D, 1, 1, generator=stream, dtype=torch.float64).flatten()

    n = draw()
    z = sigmas[0] * n - 1  # the package starts at x = sigma n
    z = z if start is None else start(z, n, sigmas[0])
    abars = [1 / (1 + s**2) for s in sigmas]
    z = math.sqrt(abars[0]) * z
    for now, after in pairwise(abars):
        z = step(z, now, after, draw).detach()
    got = solver(w.problem, w.prior, seed=7)
    assert got.status in ("ok", "misfit")
    torch.testing.assert_close(got.samples[0, 0].flatten(), (z + 1) / 2, rtol=tolerance, atol=tolerance)


def ddim(x0: Tensor, eps: Tensor, now: float, after: float, eta: float, n: Tensor) -> Tensor:
    c1 = eta * math.sqrt((1 - now / after) * (1 - after) / (1 - now))
    return math.sqrt(after) * x0 + c1 * n + math.sqrt(max(1 - after - c1**2, 0)) * eps


def exploding(w: World, solver: IterativeSolver, step: Step) -> None:
    """As `check`, with `step(z, sigma, sigma_next, draw)` in variance-exploding coordinates."""

    def sigma(abar: float) -> float:
        return math.sqrt(max((1 - abar) / abar, 0))

    def scaled(z: Tensor, now: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        return math.sqrt(after) * step(z / math.sqrt(now), sigma(now), sigma(after), draw)

    check(w, solver, scaled)


def ve_score(w: World, z: Tensor, sigma: float) -> Tensor:
    mean, cov = 2 * w.prior.mean.flatten() - 1, 4 * w.prior.covariance
    out: Tensor = -torch.linalg.solve(cov + sigma**2 * torch.eye(D, dtype=torch.float64), z - mean)
    return out
