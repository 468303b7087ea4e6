"""What a solver makes of noise that is not white and Gaussian.

- Gaussian noise of unequal levels, and stacks of it, are white in other units: every solver takes them, exactly.
- A solver that knows the data only through a sum of squares (`Solver.approximates`) replaces any other noise by the
  Gaussian noise nearest to it at what was measured, as DPS does for Poisson noise, and weights its squares with that.
  The variance then depends on the measurement, so that images are taken one by one.
- All others hand the problem on as it is: those whose `needs` have "gaussian" refuse it, the rest use its likelihood.

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
    """Return the problems with white Gaussian noise that stand for a problem, or `None` where it is taken as it is.

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
    """Solve problems one after the other, and put their images side by side.

    Args:
        white: one problem or more.
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
    """Return a function that tells the steps of problem `i` of `count` as steps of all of them."""
    return lambda done, total: progress(i * total + done, count * total)


def noise_level(problem: Problem) -> float:
    """Return the noise's standard deviation, for a gray measurement where it depends on what was measured.

    It serves to choose steps and levels: no image may depend on others of its batch, so that what was measured cannot
    enter. Noise that does not tell its variance counts as none.
    """
    noise = problem.noise
    if isinstance(noise, Gaussian):
        return noise.std
    if not isinstance(noise, Independent):
        return 0.0
    gray = torch.full((1, *problem.operator.out_shape), 0.5, dtype=torch.float64)
    return float(noise.variance(gray).mean().sqrt())
