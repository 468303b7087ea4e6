"""Replacing noise that is not white and Gaussian by white Gaussian noise.

- Gaussian noise of unequal levels, and stacks of it, are whitened, exactly, for every solver.
- For a solver that uses the data only in a sum of squares (`Solver.approximates`), any other noise is replaced by its
  Gaussian approximation at the measured values, as DPS does for Poisson noise, which weights the squares. The variance
  then depends on the measurement, so images are solved one by one.
- For all other solvers the problem is unchanged: those with "gaussian" in their `needs` refuse it, the others use its
  likelihood.

References:
    Diffusion Posterior Sampling for General Noisy Inverse Problems (Chung et al., 2023),
    https://arxiv.org/abs/2209.14687, equation 17: Gaussian weights from the measurement for Poisson noise.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch

from ...noise import Gaussian, Independent
from ...problem import Problem
from ...reconstruction import Reconstruction
from ...whitening import White, whitened
from .progress import Progress


def white_problems(problem: Problem, approximates: bool) -> list[White] | None:
    """Return the equivalent problems with white Gaussian noise, or `None` if the problem stays unchanged.

    Args:
        problem: with any noise.
        approximates: whether noise that is not Gaussian is replaced.

    Returns:
        One for all images, or one for each image.
    """
    if isinstance(problem.noise, Gaussian):
        return None
    if problem.noise.is_gaussian:
        return [whitened(problem)]
    if approximates:
        return [whitened(problem[b].gaussian()) for b in range(len(problem))]
    return None


def solve_white(
    white: list[White], solve: Callable[[Problem, bool | Progress], Reconstruction], progress: bool | Progress
) -> Reconstruction:
    """Solve problems one after the other, and concatenate their images.

    Args:
        white: the problems.
        solve: from a problem and a progress bar to its reconstruction.
        progress: whether to show bars, or a function called with (steps done, steps in all).
    """
    results = []
    for i, w in enumerate(white):
        r = solve(w.problem, _share(progress, i, len(white)) if callable(progress) else progress)
        evidence = None if r.log_evidence is None else r.log_evidence + w.log_volume
        results.append(dataclasses.replace(r, log_evidence=evidence))
    if len(results) == 1:
        return results[0]
    bad = next((r for r in results if r.status != "ok"), results[0])
    known = [r.log_evidence for r in results if r.log_evidence is not None]
    names = sorted(set.intersection(*(set(r.trace) for r in results)))
    steps = {n: min(len(r.trace[n]) for r in results) for n in names}
    estimates = [r.estimate for r in results if r.estimate is not None]
    return Reconstruction(
        samples=torch.cat([r.samples for r in results]),
        nfe=round(math.fsum(r.nfe for r in results) / len(results)),
        vjps=round(math.fsum(r.vjps for r in results) / len(results)),
        seconds=math.fsum(r.seconds for r in results),
        status=bad.status,
        message=bad.message or next((r.message for r in results if r.message), ""),
        trace={n: torch.stack([r.trace[n][: steps[n]] for r in results]).mean(0) for n in names},
        log_evidence=torch.cat(known) if len(known) == len(results) else None,
        estimate=torch.cat(estimates) if len(estimates) == len(results) else None,
    )


def _share(progress: Progress, i: int, count: int) -> Progress:
    """Return a function that reports the steps of problem `i` of `count` as steps of all problems."""
    return lambda done, total: progress(i * total + done, count * total)


def noise_level(problem: Problem) -> float:
    """Return the noise's standard deviation; if it depends on the measurement, that of a gray image's measurement.

    It determines steps and levels of a whole batch. No image may depend on others of its batch, so it does not depend
    on the measurement. Noise without a known variance counts as no noise.
    """
    noise = problem.noise
    if isinstance(noise, Gaussian):
        return noise.std
    if not isinstance(noise, Independent):
        return 0.0
    operator, y = problem.operator, problem.measurement
    with torch.no_grad():
        gray = operator.forward(torch.full((1, *operator.in_shape), 0.5, dtype=y.dtype, device=y.device))
    variance = noise.variance(gray.double()).clamp(min=0)
    if operator.observed is not None:
        variance = variance[:, operator.observed.expand(gray.shape[1:])]
    return float(variance.mean().sqrt()) if variance.numel() else 0.0
