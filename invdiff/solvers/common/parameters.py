"""Unknown parameters of a problem: their box, densities on it, and their posterior.

A point of the box has one coordinate in [0, 1] for each unknown, in which its prior is uniform; see `invdiff.unknowns`.
A density on the box is then a posterior if it is in proportion to the likelihood:

    one unknown    quadrature on a grid of coordinates, which is refined around the mass
    several        Metropolis' algorithm from the best of a coarse grid; proposals have 2.4^2 / p times the covariance
                   of the points so far

References:
    An adaptive Metropolis algorithm (Haario, Saksman, Tamminen, 2001), https://doi.org/10.2307/3318737.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...unknowns import Unknowns

FLAT = 0.2
"""Standard deviation of a coordinate from which the data tell little: the prior's is 0.29."""

STARTS = 8
"""Largest number of local maxima of the coarse grid from which the maximum is sought."""

Array = NDArray[np.float64]
LogDensity = Callable[[Sequence[float] | Array], float]
"""From the coordinates of a point to the logarithm of a density there, up to a constant."""


@dataclass(frozen=True)
class Found:
    """A posterior of the parameters of one image.

    Attributes:
        points: draws in coordinates, `(N, p)`.
        mean: of the parameters, `(p,)`, in their units.
        std: `(p,)`.
        notes: what the user should know, by name of parameter.
        spread: standard deviation of the coordinates, `(p,)`.
        evaluated: evaluations of the prior's network that it took.
    """

    points: Array
    mean: Array
    std: Array
    notes: dict[str, str]
    spread: Array
    evaluated: int = 0


def values_at(unknowns: Unknowns, point: Sequence[float] | Array) -> dict[str, float]:
    """Return the parameters at a point of the box."""
    return {name: unknown.value(float(u)) for (name, unknown), u in zip(unknowns.items(), point, strict=True)}


def posterior_on_box(
    log_density: LogDensity | None, unknowns: Unknowns, rng: np.random.Generator, *, draws: int, coarse: int = 25
) -> Found:
    """Return the posterior of a density on the box.

    Args:
        log_density: of a point; `None` for the prior, which is uniform.
        unknowns: ranges by name.
        rng: of the draws.
        draws: number of points.
        coarse: evaluations on the first grid, for each unknown.
    """
    log_density = log_density or (lambda point: 0.0)
    if len(unknowns) == 1:
        (only,) = unknowns.values()
        nodes, weights = _quadrature(lambda u: log_density([u]), coarse, periodic=only.periodic)
        return found(unknowns, _inverse(nodes, weights, rng.random(draws))[:, None], nodes[:, None], weights)
    chain = _metropolis(log_density, unknowns, rng, coarse)
    picked = chain[np.linspace(0, len(chain) - 1, draws).round().astype(int)]
    return found(unknowns, rng.permutation(picked), chain, np.full(len(chain), 1 / len(chain)))


def found(unknowns: Unknowns, points: Array, nodes: Array, weights: Array, evaluated: int = 0) -> Found:
    """Return a posterior from weighted points, with a note for each parameter that the data hardly tell.

    Args:
        unknowns: ranges by name.
        points: draws in coordinates, `(N, p)`; periodic ones may lie outside [0, 1].
        nodes: points that stand for the posterior, `(M, p)`.
        weights: of the nodes, `(M,)`, of sum one.
        evaluated: evaluations of the prior's network.
    """
    mean, std, spread, notes = [], [], [], {}
    for (name, unknown), u in zip(unknowns.items(), nodes.T, strict=True):
        low, high = unknown.ends
        values = low * (high / low) ** u if unknown.prior == "log_uniform" else low + u * (high - low)
        centre, middle = float(weights @ values), float(weights @ u)
        std.append(float(weights @ (values - centre) ** 2) ** 0.5)
        spread.append(float(weights @ (u - middle) ** 2) ** 0.5)
        mean.append(low + (centre - low) % (high - low) if unknown.periodic else centre)
        if spread[-1] > FLAT:
            notes[name] = (
                f"the measurement says little about {name}: its posterior is nearly as wide as its range, "
                f"{str(unknown)[1:]}"
            )
    return Found(points, np.array(mean), np.array(std), notes, np.array(spread), evaluated)


def _quadrature(f: Callable[[float], float], coarse: int, *, periodic: bool) -> tuple[Array, Array]:
    """Return nodes and weights of a density of one coordinate, refined until the mass has dozens of nodes."""
    start = (np.arange(coarse) + 0.5) / coarse if periodic else np.linspace(0, 1, coarse)
    log = np.array([f(u) for u in start])
    low, high, step = 0.0, 1.0, float(start[1] - start[0])
    if periodic:
        shift = float(start[log.argmax()]) - 0.5  # the mass in the middle, unwrapped
        low, high = shift, shift + 1.0
    for _ in range(12):
        near = log > log.max() - 12
        if periodic and step > 0.5 / coarse:
            start = low + (start - low) % 1.0
            order = start.argsort()
            start, log, near = start[order], log[order], near[order]
        if near.sum() >= 30:
            break
        low = max(low, float(start[near].min()) - step)
        high = min(high, float(start[near].max()) + step)
        start = np.linspace(low, high, 41)
        step = float(start[1] - start[0])
        log = np.array([f(u) for u in start])
    weights = np.exp(log - log.max())
    trapezoid = np.gradient(start)
    weights = weights * trapezoid
    return start, weights / weights.sum()


def _inverse(nodes: Array, weights: Array, uniform: Array) -> Array:
    """Return draws by the inverse of the distribution function, piecewise linear between the nodes."""
    edges = np.concatenate([[nodes[0]], (nodes[1:] + nodes[:-1]) / 2, [nodes[-1]]])
    return np.asarray(np.interp(uniform, np.concatenate([[0.0], np.cumsum(weights)]), edges))


def _metropolis(log_density: LogDensity, unknowns: Unknowns, rng: np.random.Generator, coarse: int) -> Array:
    """Return the chain after its burn-in, `(N, p)`; periodic coordinates are unwrapped around the best point."""
    p = len(unknowns)
    periodic = np.array([u.periodic for u in unknowns.values()])
    each = max(4, min(coarse, int(400 ** (1 / p))))
    axis = (np.arange(each) + 0.5) / each
    grid = np.array(list(itertools.product(axis, repeat=p)))
    log = np.array([log_density(point) for point in grid])
    climbs = [_climbed(log_density, grid[k], 0.5 / each, periodic) for k in _tops(log.reshape([each] * p))]
    at, value = max(climbs, key=lambda climb: climb[1])
    cov = np.diag(_widths(log_density, at, value, periodic) ** 2) * 2.4**2 / p
    points: list[Array] = []
    length = 450 * p
    for i in range(length):
        if i in (100, 200, 400):
            cov = np.cov(np.array(points[i // 3 :]).T) * 2.4**2 / p + 1e-10 * np.eye(p)
        to = rng.multivariate_normal(at, cov)
        inside = bool((((to >= 0) & (to <= 1)) | periodic).all())
        new = log_density(to) if inside else -np.inf
        if np.log(rng.random()) < new - value:
            at, value = to, new
        points.append(at)
    return np.array(points[length // 4 :])


def _tops(log: Array) -> list[int]:
    """Return the flat indices of the largest local maxima on a grid, at most `STARTS` of them, largest first."""
    top = np.ones(log.shape, dtype=bool)
    for axis in range(log.ndim):
        padded = np.pad(log, [(1, 1) if a == axis else (0, 0) for a in range(log.ndim)], constant_values=-np.inf)
        for shift in (0, 2):
            top &= log >= np.take(padded, np.arange(log.shape[axis]) + shift, axis)
    index = np.flatnonzero(top)
    return [int(i) for i in index[np.argsort(-log.flatten()[index])][:STARTS]]


def _widths(log_density: LogDensity, point: Array, value: float, periodic: NDArray[np.bool_]) -> Array:
    """Return the distance from a maximum along each axis at which the density falls by about one standard deviation."""
    widths = np.full(len(point), 0.3)
    for axis in range(len(point)):
        for _ in range(16):
            to = point.copy()
            to[axis] += widths[axis] if to[axis] < 0.5 or periodic[axis] else -widths[axis]
            if value - log_density(to) < 1.5:
                break
            widths[axis] /= 2
    return widths


def _climbed(log_density: LogDensity, point: Array, step: float, periodic: NDArray[np.bool_]) -> tuple[Array, float]:
    """Return a local maximum by a search along the axes with a shrinking step, and its value."""
    value = log_density(point)
    for _ in range(60):
        moved = False
        for axis in range(len(point)):
            for sign in (1, -1):
                to = point.copy()
                to[axis] += sign * step
                if not periodic[axis]:
                    to[axis] = min(max(to[axis], 0.0), 1.0)
                if (new := log_density(to)) > value:
                    point, value, moved = to, new, True
        step = step if moved else step / 2
        if step < 1e-4:
            break
    return point, value
