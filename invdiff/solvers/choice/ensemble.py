r"""Samples of one solver with the weighted mean of several estimates.

The mean over S samples of the posterior has a squared error of `(1 + 1/S)` times that of the posterior mean, and other
solvers estimate that mean better, but give intervals that are too narrow, or none. A weighted mean of different
estimates `m_k` has the error

    || sum_k w_k m_k - x ||^2 = w^T G w,      G_kl = <m_k - x, m_l - x>,      sum_k w_k = 1,

which is least for weights from the errors on other images.

References:
    Stacked generalization (Wolpert, 1992), https://doi.org/10.1016/S0893-6080(05)80023-1.
    Stacked regressions (Breiman, 1996), https://doi.org/10.1007/BF00117832: non-negative weights of sum one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ...fit import checked
from ...priors.base import Prior
from ...problem import Problem
from ...reconstruction import Reconstruction
from ..base import solver_of
from ..common.progress import Progress
from .table import SAMPLES

SHARE = 1000  # units of progress of each solver


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Arguments of the solvers that are run together.

    Attributes:
        problem: the problem.
        prior: the prior.
        samples: S, number of samples of each image.
        seed: non-negative integer.
        batch_size: number of samples that are drawn at once; by default that of the solvers.
        progress: as for `Solver.__call__`.
    """

    problem: Problem
    prior: Prior
    samples: int
    seed: int
    batch_size: int | None
    progress: bool | Progress

    def run(self, solver: str, part: int, parts: int) -> Reconstruction:
        """Run a solver; one that gives one estimate runs once for each image.

        Args:
            solver: as `NAME:key=value,...`.
            part: its number among the solvers, for the progress.
            parts: number of solvers.
        """
        made = solver_of(solver)
        progress = self.progress
        return made(
            self.problem,
            self.prior,
            samples=1 if made.point else self.samples,
            seed=self.seed,
            batch_size=self.batch_size,
            progress=_share(progress, part, parts) if callable(progress) else progress,
        )

    def sampled(self, sampler: str, weights: Mapping[str, float]) -> Reconstruction:
        """Return the samples of one solver with the weighted estimate; an estimate that diverged is left out."""
        others = [name for name in weights if name != SAMPLES]
        drawn = self.run(sampler, 0, 1 + len(others))
        found = {name: self.run(name, k, 1 + len(others)) for k, name in enumerate(others, 1)}
        if not others or any(r.status == "diverged" for r in (drawn, *found.values())):
            return _costing(drawn, found.values(), self.samples)
        images = {SAMPLES: drawn.mean} | {name: r.mean for name, r in found.items()}
        return _costing(dataclasses.replace(drawn, estimate=blend(images, weights)), found.values(), self.samples)

    def estimated(self, weights: Mapping[str, float]) -> Reconstruction:
        """Return the weighted estimate, repeated as all samples."""
        found = {name: self.run(name, k, len(weights)) for k, name in enumerate(weights)}
        failed = [r for r in found.values() if r.status == "diverged"]
        image = blend({name: r.mean for name, r in found.items()}, weights)
        samples = image[:, None].expand(-1, self.samples, *image.shape[1:]).clone()
        result = Reconstruction(samples)
        if failed:
            result = dataclasses.replace(result, status=failed[0].status, message=failed[0].message)
        return _costing(checked(self.problem, result, "the estimate"), found.values(), self.samples)


def blend(images: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return `sum_k w_k m_k`, `(B, C, H, W)`; images without a weight do not count.

    Args:
        images: by name, `(B, C, H, W)` each.
        weights: by name, of sum 1.
    """
    return torch.stack([w * images[name] for name, w in weights.items()]).sum(0)


def _costing(result: Reconstruction, others: Iterable[Reconstruction], samples: int) -> Reconstruction:
    """Return a result with the evaluations and the time of the others, for each of its samples."""
    found = list(others)

    def cost(r: Reconstruction, each: int) -> int:
        return each * r.samples.shape[1]

    return dataclasses.replace(
        result,
        nfe=result.nfe + round(sum(cost(r, r.nfe) for r in found) / samples),
        vjps=result.vjps + round(sum(cost(r, r.vjps) for r in found) / samples),
        seconds=result.seconds + sum(r.seconds for r in found),
    )


def _share(progress: Progress, part: int, parts: int) -> Progress:
    """Return a function that reports the steps of one of several solvers as its share of all."""
    return lambda done, total: progress(part * SHARE + SHARE * done // max(1, total), parts * SHARE)
