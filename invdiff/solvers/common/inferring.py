"""The base of solvers that infer unknown parameters, and then solve the image with samples of these.

    theta_s ~ p(theta | y),      x_s ~ p(x | y, theta_s)

so the spread of the images includes that of the parameters. The images come from another solver, for one sample of the
parameters after the other.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...priors.base import Prior
from ...problem import Problem
from ...reconstruction import Inferred, Reconstruction
from ...streams import generator
from ..base import Solver, solver_of
from .parameters import Found, values_at
from .progress import Progress

APART = 1_000_003
"""Distance of the random streams of the samples of one image."""


@dataclass(frozen=True, kw_only=True)
class InferringSolver(Solver):
    """A solver of problems with unknown parameters; a subclass defines `infer`.

    Attributes:
        image_solver: the solver of the image for given parameters, as NAME:key=value,...; it alone runs for a problem
            without unknowns.
    """

    image_solver: str = "auto"

    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    takes_unknowns: ClassVar[bool] = True

    @abc.abstractmethod
    def infer(self, problem: Problem, prior: Prior, draws: int, rng: np.random.Generator) -> Found:
        """Return the posterior of the parameters.

        Args:
            problem: of one image.
            prior: the prior.
            draws: number of draws of the parameters.
            rng: random numbers.
        """

    @property
    def for_images(self) -> Solver:
        """The solver of the image for given parameters."""
        return solver_of(self.image_solver)

    def posed(self, problem: Problem) -> Problem:
        """Return the problem in the form of the image's solver."""
        return problem if problem.unknowns else self.for_images.posed(problem)

    def declared_evaluations(self, problem: Problem, prior: Prior, samples: int) -> float:
        """Return the evaluations of the image's solver."""
        alone = 1 if problem.unknowns else samples
        return self.for_images.declared_evaluations(problem.typical, prior, alone)

    def answer(
        self, problem: Problem, prior: Prior, samples: int, seed: int, batch_size: int | None, progress: bool | Progress
    ) -> Reconstruction:
        """Infer the parameters of each image, then solve it; see `Solver.answer`."""
        inner = self.for_images
        if not problem.unknowns:
            return inner(problem, prior, samples=samples, seed=seed, batch_size=batch_size, progress=progress)
        begin = time.perf_counter()
        parts, posteriors = [], []
        total = len(problem) * samples
        for b, index in enumerate(problem.image_index):
            draw = int(torch.randint(2**31, (), generator=generator(seed, index)))
            posterior = self.infer(problem[b], prior, samples, np.random.default_rng(draw))
            solved = []
            for s, point in enumerate(posterior.points):
                fixed = problem[b].at(values_at(problem.unknowns, point))
                fixed = dataclasses.replace(fixed, image_index=(index + APART * s,))
                bar = _share(progress, b * samples + s, total)
                solved.append(inner(fixed, prior, samples=1, seed=seed, batch_size=batch_size, progress=bar))
            parts.append(_joined(solved))
            posteriors.append(posterior)
        empty = Reconstruction(problem.measurement.new_zeros((0, samples, *problem.operator.in_shape)))
        result = _stacked(parts) if parts else empty
        extra = sum(p.evaluated for p in posteriors) / max(1, total)
        return dataclasses.replace(
            result,
            nfe=round(result.nfe + extra),
            seconds=time.perf_counter() - begin,
            parameters=_inferred(problem, posteriors),
            method=f"{self.name}, then {result.method or self.image_solver}",
        )


def _share(progress: bool | Progress, i: int, count: int) -> bool | Progress:
    """Return a function that reports the steps of run `i` of `count` as steps of all runs."""
    if not callable(progress):
        return False
    return lambda done, total: progress(i * total + done, count * total)


def _combined(runs: list[Reconstruction], samples: Tensor, estimate: Tensor | None) -> Reconstruction:
    """Return several runs as one, with its samples and its estimate."""
    bad = next((r for r in runs if r.status != "ok"), runs[0])
    names = sorted(set.intersection(*(set(r.trace) for r in runs)))
    steps = {n: min(len(r.trace[n]) for r in runs) for n in names}
    return Reconstruction(
        samples=samples,
        nfe=round(math.fsum(r.nfe for r in runs) / len(runs)),
        vjps=round(math.fsum(r.vjps for r in runs) / len(runs)),
        status=bad.status,
        message=bad.message or next((r.message for r in runs if r.message), ""),
        trace={n: torch.stack([r.trace[n][: steps[n]] for r in runs]).mean(0) for n in names},
        estimate=estimate,
        method=runs[0].method,
    )


def _joined(runs: list[Reconstruction]) -> Reconstruction:
    """Return the samples of one image from runs with one sample each."""
    estimates = [r.estimate for r in runs if r.estimate is not None]
    estimate = torch.stack(estimates).mean(0) if len(estimates) == len(runs) else None
    return _combined(runs, torch.cat([r.samples for r in runs], 1), estimate)


def _stacked(images: list[Reconstruction]) -> Reconstruction:
    """Return the results of several images as one."""
    estimates = [r.estimate for r in images if r.estimate is not None]
    estimate = torch.cat(estimates) if len(estimates) == len(images) else None
    return _combined(images, torch.cat([r.samples for r in images]), estimate)


def _inferred(problem: Problem, posteriors: list[Found]) -> dict[str, Inferred]:
    """Return the posteriors of the parameters of all images, in their units."""
    out: dict[str, Inferred] = {}
    for i, (name, unknown) in enumerate(problem.unknowns.items()):
        samples = [[unknown.value(float(u)) for u in p.points[:, i]] for p in posteriors]
        values = torch.tensor(samples, dtype=torch.float64).reshape(len(posteriors), -1)
        mean = torch.tensor([float(p.mean[i]) for p in posteriors], dtype=torch.float64)
        std = torch.tensor([float(p.std[i]) for p in posteriors], dtype=torch.float64)
        out[name] = Inferred(values, mean, std, next((p.notes[name] for p in posteriors if name in p.notes), ""))
    return out
