"""The rule by which `auto` gets its solvers, from what candidates gave on problems of one kind.

Each sampler has a weighted mean: of its own and of further candidates, within the budget. Samplers count whose 90 %
intervals, around this mean and around the mean of their samples, hold `COVERED` of the true values on each problem; if
there is none, the one that comes closest. Of these, the mean must have a PSNR at most `NEAR_BEST` below the best; of
the rest the sampler with the least continuous ranked probability score (CRPS, geometric mean over the problems) is
taken. The weights of the mean are those of stacking: with the errors `e_k` of the candidates' means on an image, the
error of a weighted mean has the mean square `w^T G w`, `G_kl = <e_k, e_l>`, and the weights on a grid with the highest
PSNR, averaged over images and problems, are taken.

The interval score of intervals around the weighted mean was tried in the place of the CRPS: with the noisy widths of
four samples it prefers intervals that are too narrow.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...solvers.choice.kinds import Kind
from ...solvers.choice.table import EFFORTS, SAMPLES

BUDGETS = {"fast": 15.0, "normal": 60.0, "best": 250.0}
COVERED = (0.80, 0.97)
NEAR_BEST = 0.1
"""Decibels below the best mean that a more honest sampler may cost."""
DRAWN = 4
GRID = 20
"""Weights are multiples of 1 / GRID."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one candidate gave on one problem.

    Attributes:
        errors: mean minus truth, of each image, `(images, values)`.
        cost: evaluations for one of `DRAWN` samples.
        work: evaluations and products with the network's transposed Jacobian, for one of these samples.
        sampler: whether it is a candidate for the samples.
        widths: half-widths of its 90 % intervals, `(images, values)`; empty for one estimate.
        crps: continuous ranked probability score, averaged over images; NaN for one estimate.
    """

    errors: NDArray[np.float32]
    cost: float
    work: float
    sampler: bool
    widths: NDArray[np.float32]
    crps: float


def psnr(errors: NDArray[np.float32]) -> float:
    """Return the mean over images of the PSNR in dB, from errors `(images, values)`."""
    return float(np.mean(-10 * np.log10(np.mean(np.square(errors, dtype=np.float64), axis=1))))


def simplex(parts: int) -> Iterator[tuple[float, ...]]:
    """Yield the non-negative weights of sum 1 on the grid."""
    for cut in itertools.product(range(GRID + 1), repeat=parts - 1):
        if sum(cut) <= GRID:
            yield (*(c / GRID for c in cut), (GRID - sum(cut)) / GRID)


def weigh(problems: Sequence[Mapping[str, Cell]], names: Sequence[str]) -> tuple[float, tuple[float, ...]]:
    """Return the highest mean PSNR of weighted means of candidates, and the weights."""
    grams = []
    for found in problems:
        errors = np.stack([found[n].errors for n in names], 1).astype(np.float64)  # (images, parts, values)
        grams.append(errors @ errors.transpose(0, 2, 1) / errors.shape[2])
    gram = np.concatenate(grams)
    best = max(
        ((float(np.mean(-10 * np.log10(np.einsum("i,nij,j->n", w, gram, w)))), w) for w in simplex(len(names))),
        key=lambda pair: pair[0],
    )
    return best


def combine(problems: Sequence[Mapping[str, Cell]], budget: float, first: str | None) -> tuple[dict[str, float], float]:
    """Return weights by candidate, and their mean PSNR.

    Args:
        problems: cells of each problem of a kind.
        budget: evaluations for one sample.
        first: the sampler, whose evaluations are spent already; `None` for an estimate without one.
    """
    common = [n for n in problems[0] if all(n in p for p in problems)]
    cost = {n: float(np.mean([p[n].cost for p in problems])) for n in common}
    work = {n: float(np.mean([p[n].work for p in problems])) for n in common}
    common.sort(key=work.__getitem__)  # of equally good ones, the one with fewest evaluations
    best: tuple[float, dict[str, float]] = (-math.inf, {})
    for count in range(0 if first else 1, 3):
        for others in itertools.combinations([n for n in common if n != first], count):
            names = ([first] if first else []) + list(others)
            if sum(cost[n] for n in names) > budget or sum(work[n] for n in names) > 2 * budget:
                continue
            value, weights = weigh(problems, names)
            if value > best[0] + 0.005:  # a further solver must pay for itself
                best = value, {n: w for n, w in zip(names, weights, strict=True) if w > 0}
    if not best[1]:
        raise UserError(f"choices: no candidate within {budget:g} evaluations; add a shorter one")
    return best[1], best[0]


def coverage(problem: Mapping[str, Cell], sampler: str, weights: Mapping[str, float]) -> float:
    """Return the coverage of the 90 % intervals with the widths of a sampler around a weighted mean."""
    error = np.sum([w * problem[name].errors for name, w in weights.items()], axis=0)
    return float(np.mean(np.abs(error) <= problem[sampler].widths))


@dataclasses.dataclass(frozen=True)
class Found:
    """A sampler with the weights of its mean.

    Attributes:
        sampler: name of the candidate.
        weights: by candidate.
        psnr: of the weighted mean, averaged over problems and images.
        covered: coverage of its intervals on each problem, around the weighted mean.
        own: the same around the mean of its samples.
        crps: geometric mean over the problems.
    """

    sampler: str
    weights: Mapping[str, float]
    psnr: float
    covered: tuple[float, ...]
    own: tuple[float, ...]
    crps: float

    @property
    def outside(self) -> float:
        """How far a coverage leaves `COVERED` on the worst problem."""
        return max(max(COVERED[0] - c, c - COVERED[1], 0.0) for c in self.covered + self.own)


def _within(cell: Cell, budget: float) -> bool:
    return cell.cost <= budget and cell.work <= 2 * budget


def best_sampler(problems: Sequence[Mapping[str, Cell]], budget: float) -> Found:
    """Return the sampler of a kind with its mean: see the module."""
    able = [n for n, c in problems[0].items() if c.sampler and all(n in p and _within(p[n], budget) for p in problems)]
    if not able:
        raise UserError(f"choices: no sampler within {budget:g} evaluations; add a shorter one")
    found = []
    for name in able:
        weights, value = combine(problems, budget, name)
        score = math.exp(float(np.mean([math.log(p[name].crps) for p in problems])))
        covered, own = (tuple(coverage(p, name, w) for p in problems) for w in (weights, {name: 1.0}))
        found.append(Found(name, weights, value, covered, own, score))
    least = min(f.outside for f in found)
    honest = [f for f in found if f.outside == least]
    highest = max(f.psnr for f in honest)
    return min((f for f in honest if f.psnr >= highest - NEAR_BEST), key=lambda f: f.crps)


def choose(groups: Mapping[tuple[Kind, bool | None], Sequence[Mapping[str, Cell]]]) -> list[dict[str, Any]]:
    """Return the rows of the table."""
    rows: list[dict[str, Any]] = []
    for (kind, maps), problems in groups.items():
        common = [n for n in problems[0] if all(n in p for p in problems)]
        single = max(float(np.mean([psnr(p[n].errors) for p in problems])) for n in common)
        for effort in EFFORTS:
            found = best_sampler(problems, BUDGETS[effort])
            estimate, alone = combine(problems, BUDGETS[effort], None)
            measured = {
                "problems": len(problems),
                "coverage": round(float(np.mean(found.covered)), 3),
                "least_coverage": round(min(found.covered), 3),
                "psnr": round(found.psnr, 2),
                "psnr_estimate": round(alone, 2),
                "psnr_best_single": round(single, 2),
            }
            rows.append(
                {
                    "kind": str(kind),
                    "effort": effort,
                    "maps": maps,
                    "sampler": found.sampler,
                    "mean": {SAMPLES if n == found.sampler else n: w for n, w in found.weights.items()},
                    "estimate": estimate,
                    "measured": measured,
                }
            )
    return rows
