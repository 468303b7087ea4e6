"""The error of a solver: its samples compared with the exact posterior.

For the samples `x_1, ..., x_S` of one image, and the exact posterior's mean `m` and standard deviation `s` of each
pixel:

    bias            root mean square over pixels of (mean(x) - m) / s, less the expectation for S exact samples
    variance ratio  sum over pixels of var(x) / sum of s^2
    coverage        posterior probability of the central 50 and 90 % intervals of each pixel's samples
    distance        sliced Wasserstein-1 distance to exact samples, and its floor: exact against exact
    worst ratio     variance ratio along the principal axis of the exact posterior where it is farthest from 1 (`axes`)
    chi-square      mean over samples of ||y - A(x)||^2 / s^2 over the number of observed entries (`invdiff.fit`)
    modes           share of the samples that are in the right modes, in the right numbers (`axes`)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fit import measure_fit
from ..metrics import sliced_wasserstein
from ..posterior import ExactPosterior
from ..priors import MixturePrior, Prior
from ..problem import Problem
from ..reconstruction import Reconstruction
from ..solvers import Solver
from .axes import axis_ratios, chance_range, mode_overlap, worst_ratio
from .exact import ExactProblem, exact_problems
from .report import Check, Report


@dataclass(frozen=True)
class Grade:
    """A solver's errors on one exact problem; see the module for each figure.

    Attributes:
        bias: of the mean, in posterior standard deviations; 0 for a perfect solver.
        variance_ratio: 1 for a perfect solver.
        coverage_50: 0.5 for a perfect solver.
        coverage_90: 0.9 for a perfect solver.
        distance: sliced Wasserstein-1 distance to the exact posterior, in posterior standard deviations.
        floor: the same between two sets of exact samples.
        worst_ratio: variance ratio along the worst principal axis of the exact posterior; 1 for a perfect solver.
        chance: range in which `worst_ratio` of independent exact samples lies in 99 of 100 cases.
        chi_square: 1 on average for a perfect solver, and at least for most problems.
        modes: 1 for a perfect solver; `None` for a prior that is no mixture.
        samples: number of samples of each image.
        nfe: network evaluations for one sample.
        seconds: wall time.
        status: of the solver's run.
    """

    bias: float
    variance_ratio: float
    coverage_50: float
    coverage_90: float
    distance: float
    floor: float
    worst_ratio: float
    chance: tuple[float, float]
    chi_square: float
    modes: float | None
    samples: int
    nfe: int
    seconds: float
    status: str


def grade_solver(solver: Solver, problem: Problem, prior: Prior, *, samples: int = 500, seed: int = 0) -> Grade:
    """Return the errors of a solver on a problem with a closed-form posterior.

    Args:
        solver: the solver.
        problem: a linear operator and Gaussian noise.
        prior: a Gaussian or mixture prior.
        samples: number of samples of each image.
        seed: non-negative integer.

    Example:
        >>> from invdiff.solvers import DPS
        >>> problem, prior = exact_problems()["modes"]
        >>> grade_solver(DPS(steps=20), problem, prior, samples=50).nfe
        20
    """
    return grade_result(solver(problem, prior, samples=samples, seed=seed), problem, prior, seed=seed)


def grade_result(result: Reconstruction, problem: Problem, prior: Prior, *, seed: int = 0) -> Grade:
    """Return the errors of samples of a problem with a closed-form posterior.

    Args:
        result: the samples, at least two of each image.
        problem: a linear operator and Gaussian noise.
        prior: a Gaussian or mixture prior.
        seed: of the exact samples in comparison, a non-negative integer.
    """
    exact = ExactPosterior(problem, prior)
    x = result.samples.double()
    samples = x.shape[1]
    # Relative to the overall spread, because some pixels of an exact posterior have almost none.
    scale = exact.std.clamp(min=1e-3 * float(exact.std.max()))
    truth, other = exact.sample(samples, seed=seed + 1), exact.sample(samples, seed=seed + 2)
    z = (x.mean(1) - exact.mean) / scale
    by_chance = (x.var(1) / scale**2 / samples).mean()
    bias = math.sqrt(max(0.0, float(z.square().mean() - by_chance)))
    distances = [[_distance(a, t, s) for a, t, s in zip(xs, truth, scale, strict=True)] for xs in (x, other)]
    ratios, fit = axis_ratios(x, exact.covariance), measure_fit(problem, x)
    return Grade(
        bias=bias,
        variance_ratio=float(x.var(1).sum() / (exact.std**2).sum()),
        coverage_50=_coverage(x, truth, 0.5),
        coverage_90=_coverage(x, truth, 0.9),
        distance=sum(distances[0]) / len(distances[0]),
        floor=sum(distances[1]) / len(distances[1]),
        worst_ratio=worst_ratio(ratios),
        chance=chance_range(samples, ratios.numel()),
        chi_square=math.nan if fit is None else float(fit.figures.mean()),
        modes=mode_overlap(x, prior, exact.weights) if isinstance(prior, MixturePrior) else None,
        samples=samples,
        nfe=result.nfe,
        seconds=result.seconds,
        status=result.status,
    )


def _distance(a: Tensor, truth: Tensor, scale: Tensor) -> float:
    return sliced_wasserstein(a / scale, truth / scale, slices=500)


def _coverage(x: Tensor, truth: Tensor, level: float) -> float:
    """Return the fraction of exact samples inside the central interval of each pixel's samples."""
    low, high = torch.quantile(x, torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=x.dtype), dim=1)
    inside = (truth >= low[:, None]) & (truth <= high[:, None])
    return float(inside.double().mean())


def check_solver(
    solver: Solver,
    problems: dict[str, ExactProblem] | None = None,
    *,
    samples: int = 400,
    seed: int = 0,
    bias: float | None = None,
    variance_ratio: tuple[float, float] | None = None,
) -> Report:
    """Check the contract of a solver, and its errors on exact problems.

    Args:
        solver: the solver; problems that do not meet its needs are left out.
        problems: exact problems by name; by default those of `exact_problems`.
        samples: number of samples of each image.
        seed: non-negative integer.
        bias: largest allowed bias beyond the Monte Carlo error; by default no bound.
        variance_ratio: allowed range of the ratio of variances beyond the Monte Carlo error.

    Returns:
        A report with a check for each property; `raise_if_failed` turns it into an error.

    Example:
        >>> from invdiff.solvers import DPS
        >>> check_solver(DPS(steps=5), samples=20).ok
        True
    """
    checks: list[Check] = []
    able = {n: p for n, p in (problems or exact_problems()).items() if not solver.unmet(p[0])}
    if not able:
        advice = "pass problems with what the solver needs"
        return Report(repr(solver), (Check("problems", False, "no problem has what the solver needs", advice),))
    for name, (problem, prior) in able.items():
        checks += _contract(name, solver, problem, prior, seed)
        g = grade_solver(solver, problem, prior, samples=samples, seed=seed)
        bias_error = 4 * math.sqrt(g.variance_ratio / samples)
        ratio_error = 4 * g.variance_ratio * math.sqrt(2 / samples)
        low, high = variance_ratio or (0.0, math.inf)
        detail = f"{name}: bias {g.bias:.3f} +- {bias_error:.3f}, allowed {bias if bias is not None else 'any'}"
        checks.append(
            Check("bias", bias is None or g.bias <= bias + bias_error, detail, "the mean is off: check the step")
        )
        ok = low - ratio_error <= g.variance_ratio <= high + ratio_error
        detail = f"{name}: variance ratio {g.variance_ratio:.3f} +- {ratio_error:.3f}, allowed {low:.3g} to {high:.3g}"
        checks.append(Check("variance", ok, detail, "the spread is off: check noise terms and levels"))
        detail = f"{name}: coverage {g.coverage_50:.2f} of 50 %, {g.coverage_90:.2f} of 90 %, distance {g.distance:.3f}"
        detail = f"{detail}, floor {g.floor:.3f}, status {g.status}"
        checks.append(Check("calibration", g.status != "diverged", detail, f"status {g.status}"))
    return Report(repr(solver), tuple(checks))


def _contract(name: str, solver: Solver, problem: Problem, prior: Prior, seed: int) -> list[Check]:
    """Check shape, finiteness, seeds, batches and the count of evaluations."""
    n = max(2, solver.samples_per_row)
    a = solver(problem, prior, samples=n, seed=seed)
    b = solver(problem, prior, samples=n, seed=seed)
    other = solver(problem, prior, samples=n, seed=seed + 1)
    alone = solver(problem[-1:], prior, samples=n, seed=seed)
    shape = (len(problem), n, *problem.operator.in_shape)
    finite = a.samples.shape == shape and bool(torch.isfinite(a.samples).all())
    gap = float((a.samples[-1:] - alone.samples).abs().max()) / max(prior.std, 1e-12)
    moved = not torch.equal(a.samples, other.samples)
    random = not solver.point
    rows = solver.declared_evaluations(problem, prior, n)
    return [
        Check("result", finite, f"{name}: samples {tuple(a.samples.shape)}, finite", f"expected shape {shape}, no NaN"),
        Check("same seed", torch.equal(a.samples, b.samples), f"{name}: same bits", "draw from run.randn only"),
        Check(
            "other seed", moved or not random, f"{name}: other samples", "draw from run.randn, not from a fixed seed"
        ),
        Check("batch", gap < 1e-6, f"{name}: alone and in a batch differ by {gap:.1e} std", "norms are per image"),
        Check("evaluations", a.nfe == round(rows), f"{name}: {a.nfe}, declared {rows:g}", "override `evaluations`"),
    ]
