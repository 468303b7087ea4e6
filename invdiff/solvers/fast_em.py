r"""Expectation-maximisation with posterior samples of the image.

E-step: samples `x ~ p(x | y, theta)` from a diffusion solver. M-step: by Fisher's identity they give the gradient of
the evidence of the parameters,

    g(theta) = d/dtheta log p(y | theta) = E[d/dtheta log p(y | x, theta) | y, theta]

whose zero the plain iteration `theta <- argmax E[log p(y | x, theta)]` approaches by a small fraction of the distance
in each step: a sample that fits `y` with a wrong `theta` hardly speaks against it. So the zero is found from the values
of `g` themselves, by secants, and their slope is the posterior's precision. For one parameter the posterior is the
integral of `g`,

    log p(theta | y) = log p(theta) + int g(theta) dtheta + const

for several it is the normal distribution of the linear model of `g`. The evidence of `common.evidence` starts the
search, and stays the posterior of a noise level. Derivatives in `theta` are central differences, so any operator will
do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

from ..checks import check_count
from ..noise import NoiseFamily
from ..posterior import ExactPosterior
from ..priors.base import Prior
from ..problem import Problem
from ..registry import solvers
from .base import Solver, make_solver
from .common.evidence import EXACT, evidence_of, is_closed
from .common.inferring import InferringSolver
from .common.parameters import Array, Found, found, posterior_on_box, values_at

WIDTH = 0.29
"""Standard deviation of a coordinate that is uniform on [0, 1]."""
ERRORS = 4.0
"""Root mean square, on photographs, of errors over the standard deviation that the scores give.

Posteriors are as much wider, for samples of a network are not those of the posterior.
"""
SAMPLERS = ("rmps", "daps")
"""Solvers of the E-step, the first that can do the problem; scores of their samples vanish near the truth, see
docs/blind.md."""
GAP = 0.5
"""Largest distance, in standard deviations, of the middle and the ends of the posterior from the nearest score."""


@dataclass(frozen=True)
class Score:
    """The gradient of the log evidence at a point.

    Attributes:
        point: coordinates of the free parameters, `(p,)`.
        gradient: in these, `(p,)`.
        variance: of the gradient by chance, `(p,)`.
    """

    point: Array
    gradient: Array
    variance: Array


Scorer = Callable[[Array], Score]


@dataclass(frozen=True, kw_only=True)
class FastEM(InferringSolver):
    """Expectation-maximisation of unknown parameters with posterior samples of the image, then the image.

    Attributes:
        iterations: largest number of E-steps for one parameter; with p of them, p + 2 are taken.
        draws: samples of the image in an E-step.
        steps: noise levels of the solver of the E-step, `rmps`, or `daps` without a singular value decomposition.
        coarse: whether the evidence under a Gaussian of images starts the search; otherwise the middle of the ranges.

    References:
        Fast Diffusion EM: a diffusion model for blind inverse problems with application to deconvolution (Laroche,
        Almansa, Coupete, 2024), https://arxiv.org/abs/2309.00287, algorithm 1. Differs: its M-step maximises over a
        kernel with a denoiser as prior; here a few numbers are updated by secants on Fisher's identity, and they get a
        posterior; samples come from RMPS, or DAPS where it cannot be applied.
        GibbsDDRM: A Partially Collapsed Gibbs Sampler for Solving Blind Inverse Problems with Denoising Diffusion
        Restoration (Murata et al., 2023), https://arxiv.org/abs/2301.12686: samples of the parameters and the image.

    Example:
        >>> import torch
        >>> from invdiff import Unknown, priors, simulate
        >>> from invdiff.operators import GammaCurve
        >>> prior = priors.GaussianPrior(torch.full((1, 4, 4), 0.5), 0.01 * torch.eye(16))
        >>> x, curve = torch.full((1, 1, 4, 4), 0.5), GammaCurve((1, 4, 4), gamma=Unknown(1, 3))
        >>> problem = simulate(curve, x, 0.01, parameters={"gamma": 2.0})
        >>> solver = FastEM(image_solver="dps:steps=3", iterations=2)
        >>> solver(problem, prior, samples=2).parameters["gamma"].samples.shape
        torch.Size([1, 2])
    """

    iterations: int = 5
    draws: int = 2
    steps: int = 30
    coarse: bool = True

    name: ClassVar[str] = "fast_em"
    paper: ClassVar[str] = "Laroche et al. 2024"
    summary: ClassVar[str] = "unknown parameters by expectation-maximisation with posterior samples, then the image"

    def __post_init__(self) -> None:
        for name in ("iterations", "draws", "steps"):
            check_count(self, name)

    def infer(self, problem: Problem, prior: Prior, draws: int, rng: np.random.Generator) -> Found:
        """Return the posterior of the parameters from scores at a few points."""
        log_density = evidence_of(problem, prior) if self.coarse else None
        start = posterior_on_box(log_density, problem.unknowns, rng, draws=max(draws, 400))
        names = list(problem.unknowns)
        noise = problem.noise.unknowns if isinstance(problem.noise, NoiseFamily) else {}
        free = [i for i, name in enumerate(names) if name not in noise or log_density is None]
        if not free:
            return dataclasses.replace(start, points=start.points[:draws])
        base, spread = start.points.mean(0), np.minimum(start.spread, WIDTH)
        seed, cost = int(rng.integers(2**31)), [0]

        def score(at: Array) -> Score:
            point = base.copy()
            point[free] = at
            return self._score(problem, prior, point, free, spread, seed, cost)

        if len(free) == 1:
            nodes, weights = _integrated(self._along(score, base[free], spread[free]), rng)
        else:
            nodes, weights = _normal(self._simplex(score, base[free], spread[free]), rng)
        if not (is_closed(problem, prior) and problem.observations <= EXACT):
            nodes = np.clip(nodes.mean(0) + ERRORS * (nodes - nodes.mean(0)), 0, 1)
        picked = rng.choice(len(nodes), size=max(draws, 2000), p=weights)
        whole = start.points[rng.integers(len(start.points), size=len(picked))].copy()
        whole[:, free] = nodes[picked]
        return found(problem.unknowns, whole[:draws], whole, np.full(len(whole), 1 / len(whole)), cost[0])

    def _sampler(self, problem: Problem) -> Solver:
        found = (make_solver(solvers[name], {"steps": self.steps}) for name in SAMPLERS)
        return next(solver for solver in found if not solver.unmet(problem))

    def _score(
        self, problem: Problem, prior: Prior, point: Array, free: list[int], spread: Array, seed: int, cost: list[int]
    ) -> Score:
        """Return the mean over the samples of `d/du log p(y | x, theta(u))`."""
        fixed = problem.at(values_at(problem.unknowns, point))
        if is_closed(fixed, prior) and fixed.observations <= EXACT:
            x = ExactPosterior(fixed, prior).sample(self.draws, seed)[0]
        else:
            result = self._sampler(fixed)(fixed, prior, samples=self.draws, seed=seed)
            cost[0] += result.nfe * self.draws
            x = result.samples[0].double()
        y = problem.measurement.double().expand(len(x), *problem.measurement.shape[1:])
        many = Problem(problem.operator, problem.noise, y)
        slopes = []
        for i in free:
            step = max(1e-4, 0.01 * float(spread[i]))
            ends = []
            for sign in (1, -1):
                to = point.copy()
                to[i] += sign * step
                if not list(problem.unknowns.values())[i].periodic:
                    to[i] = min(max(to[i], 0.0), 1.0)
                near = many.at(values_at(problem.unknowns, to))
                with torch.no_grad():
                    ends.append((to[i], near.log_likelihood(x.to(y)).cpu().numpy()))
            slopes.append((ends[0][1] - ends[1][1]) / (ends[0][0] - ends[1][0]))
        rows = np.stack(slopes)
        chance = rows.var(1, ddof=1) / len(x) if len(x) > 1 else np.zeros(len(rows))
        return Score(point[free], rows.mean(1), chance)

    def _along(self, score: Scorer, start: Array, spread: Array) -> list[Score]:
        """Return scores for one parameter: uphill until the sign changes, then in the gaps of the posterior so far."""
        scores = [score(start)]
        reach = 1.5 * float(spread[0])
        while len(scores) < self.iterations:
            points = [float(s.point[0]) for s in scores]
            low = [u for u, s in zip(points, scores, strict=True) if s.gradient[0] > 0]
            high = [u for u, s in zip(points, scores, strict=True) if s.gradient[0] <= 0]
            to = max(low) + reach if not high else min(high) - reach
            reach *= 2
            to = min(max(to, 0.0), 1.0)
            if (low and high) or any(abs(to - u) < 1e-9 for u in points):
                grid, weights = _integral(scores)
                at = np.interp([0.5, 0.1, 0.9, 0.01, 0.99], np.cumsum(weights), grid)
                sd = max(float(np.sqrt(weights @ (grid - weights @ grid) ** 2)), 1e-6)
                gaps = [min(abs(u - v) for v in points) / sd for u in at]
                if max(gaps) < GAP:
                    break
                to = float(at[int(np.argmax(gaps))])
            scores.append(score(np.array([to])))
        return scores

    def _simplex(self, score: Scorer, start: Array, spread: Array) -> list[Score]:
        """Return scores at the start, beside it along each axis, and at the zero of their linear model."""
        first = score(start)
        scores = [first]
        for i in range(len(start)):
            to = start.copy()
            to[i] += np.copysign(1.5 * spread[i], first.gradient[i])
            scores.append(score(np.clip(to, -0.5, 1.5)))
        centre, _ = _linear_model(scores)
        scores.append(score(np.clip(centre, start - 3 * spread, start + 3 * spread)))
        return scores


def _integral(scores: Sequence[Score]) -> tuple[Array, Array]:
    """Return a grid of [0, 1] and weights in proportion to the exponential of the integral of the score."""
    order = sorted(scores, key=lambda s: float(s.point[0]))
    u = np.array([s.point[0] for s in order])
    g = np.array([s.gradient[0] for s in order])
    grid = np.linspace(0, 1, 20001)
    if len(u) < 2:
        inside = np.full_like(grid, g[0])
    else:
        inside = np.asarray(PchipInterpolator(u, g)(np.clip(grid, u[0], u[-1])))
        left, right = (g[1] - g[0]) / (u[1] - u[0]), (g[-1] - g[-2]) / (u[-1] - u[-2])
        inside = inside + np.minimum(left, 0) * np.minimum(grid - u[0], 0)
        inside = inside + np.minimum(right, 0) * np.maximum(grid - u[-1], 0)
    log = np.concatenate([[0.0], np.cumsum((inside[1:] + inside[:-1]) / 2 * np.diff(grid))])
    weights = np.exp(log - log.max())
    return grid, weights / weights.sum()


def _integrated(scores: Sequence[Score], rng: np.random.Generator) -> tuple[Array, Array]:
    """Return nodes and weights of the posterior of one parameter, wider by the chance of the scores."""
    grid, weights = _integral(scores)
    spread = np.sqrt(weights @ (grid - weights @ grid) ** 2)
    chance = spread**2 * np.sqrt(np.mean([s.variance[0] for s in scores]))  # of the zero, by that of the score
    nodes = rng.choice(grid, size=20000, p=weights) + min(chance, WIDTH) * rng.standard_normal(20000)
    return np.clip(nodes, 0, 1)[:, None], np.full(20000, 1 / 20000)


def _linear_model(scores: Sequence[Score]) -> tuple[Array, Array]:
    """Return the zero of the least-squares linear model of the scores, and its precision, positive definite."""
    points, gradients = np.stack([s.point for s in scores]), np.stack([s.gradient for s in scores])
    design = np.column_stack([np.ones(len(points)), points - points[-1]])
    solution = np.linalg.lstsq(design, gradients, rcond=None)[0]
    precision = -(solution[1:] + solution[1:].T) / 2
    values, vectors = np.linalg.eigh(precision)
    precision = (vectors * np.maximum(values, WIDTH**-2)) @ vectors.T
    return points[-1] + np.linalg.solve(precision, solution[0]), precision


def _normal(scores: Sequence[Score], rng: np.random.Generator) -> tuple[Array, Array]:
    """Return points of the normal distribution of several parameters, with equal weights."""
    centre, precision = _linear_model(scores)
    cov = np.linalg.inv(precision)
    chance = cov @ np.diag(np.mean([s.variance for s in scores], 0)) @ cov
    nodes = rng.multivariate_normal(centre, cov + chance, size=20000)
    inside = ((nodes >= 0) & (nodes <= 1)).all(1)
    kept = nodes[inside] if inside.mean() > 0.02 else np.clip(nodes, 0, 1)
    return kept, np.full(len(kept), 1 / len(kept))
