"""The baselines of a suite, as solvers.

- `measurement`: the measurement itself, seen as an image. Every solver should be better.
- `pinv`: the pseudo-inverse, which is one of the solvers.
- `prior`: draws of the prior, without the measurement.
- `exact`: draws of the posterior itself, if it has a closed form. No solver is better on average.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import NotApplicable, UserError
from ..posterior import ExactPosterior
from ..priors import GaussianPrior, MixturePrior, Prior, StationaryGaussianPrior
from ..problem import Problem
from ..reconstruction import Reconstruction
from ..registry import peers, solvers, unknown
from ..samplers import Heun
from ..solvers.base import Solver
from ..solvers.common.progress import Progress
from ..solvers.common.run import Run
from ..streams import generator

LARGEST = 4096
"""Largest number of entries of a measurement for the exact posterior, whose matrices are dense."""


@dataclass(frozen=True, kw_only=True)
class Measurement(Solver):
    """The measurement itself, enlarged to the image's size if it is a smaller image.

    Raises:
        ValueError: a measurement that is not an image with the same channels.
    """

    point: ClassVar[bool] = True

    def draw(self, run: Run) -> Tensor:
        """Return the measurement as an image, `(N, C, H, W)`."""
        y, shape = run.problem.measurement, run.problem.operator.in_shape
        factors = [a / b for a, b in zip(shape[1:], y.shape[2:], strict=False)]
        if y.ndim != 4 or y.shape[1] != shape[0] or min(factors) < 1 or max(factors) > 1.25 * min(factors):
            raise NotApplicable(
                f"Measurement: expected one that is a picture of the image, got {run.problem.operator!r}"
            )
        return y if y.shape[1:] == shape else interpolate(y, size=shape[1:], mode="bicubic", align_corners=False)


@dataclass(frozen=True, kw_only=True)
class PriorDraws(Solver):
    """Draws of the prior, for every measurement.

    Attributes:
        steps: of Heun's method, for a prior without exact samples.
    """

    steps: int = 18

    def solve(
        self, problem: Problem, prior: Prior, samples: int, seed: int, batch_size: int | None, progress: bool | Progress
    ) -> Reconstruction:
        """Draw `samples` images for each measurement."""
        begin, shape, y = time.perf_counter(), _shape(problem), problem.measurement
        drawn, nfe = [], 0
        for b in problem.image_index:
            g = generator(seed, b, 0)
            if isinstance(prior, StationaryGaussianPrior):
                x = prior.sample(samples, shape, g)
            elif isinstance(prior, GaussianPrior | MixturePrior):
                x = prior.sample(samples, g)
            else:
                number = int(torch.randint(2**31, (), generator=g))
                made = Heun(steps=self.steps)(
                    prior, samples, shape=shape, seed=number, device=y.device, batch_size=batch_size
                )
                x, nfe = made.samples, made.nfe
            drawn.append(x.to(y))
        stacked = torch.stack(drawn) if drawn else y.new_zeros((0, samples, *shape))
        return Reconstruction(stacked, nfe, time.perf_counter() - begin)


@dataclass(frozen=True, kw_only=True)
class ExactDraws(Solver):
    """Draws of the posterior of a Gaussian or mixture prior under a linear operator; see `invdiff.posterior`.

    Raises:
        ValueError: another prior, an operator that is not linear, or more than `LARGEST` measured entries.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"linear", "gaussian"})

    def solve(
        self, problem: Problem, prior: Prior, samples: int, seed: int, batch_size: int | None, progress: bool | Progress
    ) -> Reconstruction:
        """Draw `samples` images of each posterior."""
        observed = problem.operator.observed
        every = problem.measurement[:1].numel()
        count = every if observed is None else int(observed.expand(problem.operator.out_shape).sum())
        if count > LARGEST:
            raise NotApplicable(
                f"ExactDraws: expected at most {LARGEST} measured entries, got {count}; use smaller images"
            )
        begin, y = time.perf_counter(), problem.measurement
        drawn = []
        for b, number in enumerate(problem.image_index):
            own = int(torch.randint(2**31, (), generator=generator(seed, number, 0)))
            drawn.append(ExactPosterior(problem[b].to("cpu"), prior).sample(samples, seed=own)[0])
        stacked = torch.stack(drawn).to(y) if drawn else y.new_zeros((0, samples, *_shape(problem)))
        return Reconstruction(stacked, 0, time.perf_counter() - begin)


BASELINES: dict[str, type[Solver]] = {"measurement": Measurement, "prior": PriorDraws, "exact": ExactDraws}
"""Baselines by name. They are not in the registry, because programs over all solvers exclude them."""


def solver_class(name: str) -> type[Solver]:
    """Return the solver of that name: a baseline, a solver of the registry, or a peer.

    Raises:
        ValueError: an unknown name, with the nearest known one, or an object that is no solver.
    """
    if name in BASELINES:
        return BASELINES[name]
    if ".py:" not in name and name not in solvers:
        raise UserError(unknown("solver", name, [*BASELINES, *solvers, *peers]))
    found = solvers[name]
    if not (isinstance(found, type) and issubclass(found, Solver)):
        raise UserError(f"{name!r}: expected a subclass of invdiff.solvers.Solver, got {found!r}")
    return found


def _shape(problem: Problem) -> tuple[int, int, int]:
    c, h, w = problem.operator.in_shape
    return c, h, w
