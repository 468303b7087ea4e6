r"""The default: the solvers that a study found best for this kind of problem.

The kind follows from the operator and the noise (`choice.kinds`); a measured table names the solver of the samples, and
the estimates whose weighted mean is the result's `mean` (`choice.ensemble`). Samples come from a solver whose intervals
hold the truth as often as they say: 80 to 97 % of the pixels for 90 %; of these whose mean is within 0.1 dB of the
best, it is the one with the least continuous ranked probability score. Weights minimise the squared error of the mean
on other photographs.

Noise that is not Gaussian is replaced by its Gaussian approximation at the measured values, image by image: on pictures
with 30 and 200 photons for white this gave better means and more honest intervals than any solver with the likelihood.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from ..decompression import in_coefficients
from ..errors import NotApplicable, UserError
from ..priors.base import Prior
from ..problem import Problem
from ..reconstruction import Reconstruction
from .base import Solver, alternatives, solver_of
from .choice.ensemble import Ensemble
from .choice.kinds import Kind, kind_of
from .choice.table import ANALYTIC, EFFORTS, EXACT_LIKELIHOOD, SAMPLES, Choice, choices
from .common.inferring import InferringSolver
from .common.noise_models import solve_white, white_problems
from .common.progress import Progress
from .evidence import Evidence
from .fast_em import FastEM

GOALS = ("samples", "estimate")


@dataclass(frozen=True, kw_only=True)
class Auto(Solver):
    """The solvers that were measured to be best for the kind of problem at hand; the default.

    Attributes:
        goal: "samples" of the posterior, or "estimate", one image with the least squared error.
        effort: "fast" for about 15 evaluations of the network for each of four samples, "normal" for at most 60, "best"
            for at most 250.

    References:
        Developed for this package. The weighted mean of estimates is stacking (Wolpert, 1992),
        https://doi.org/10.1016/S0893-6080(05)80023-1.

    Example:
        >>> import torch
        >>> from invdiff import load_prior, simulate
        >>> from invdiff.operators import Identity
        >>> problem = simulate(Identity((3, 8, 8)), torch.zeros(1, 3, 8, 8), noise=0.1)
        >>> Auto().choose(problem, load_prior("photo"))[0]
        <Kind.DENOISING: 'denoising'>
    """

    goal: str = "samples"
    effort: str = "normal"

    name: ClassVar[str] = "auto"
    paper: ClassVar[str] = "after Wolpert 1992"
    summary: ClassVar[str] = "the solvers measured to be best for this kind of problem"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    takes_unknowns: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, known in (("goal", GOALS), ("effort", EFFORTS)):
            if getattr(self, name) not in known:
                raise UserError(f"Auto: {name}: expected {' or '.join(known)}, got {getattr(self, name)!r}")
        object.__setattr__(self, "point", self.goal == "estimate")  # of this object, not of the class

    def posed(self, problem: Problem) -> Problem:
        """Return the linear problem of the stored coefficients for pictures from JPEG, any other problem unchanged."""
        return in_coefficients(problem)

    def choose(self, problem: Problem, prior: Prior) -> tuple[Kind, Choice]:
        """Return the kind of a problem, and what is run for it; with unknowns, for the middle of their ranges.

        Raises:
            ValueError: no solver of the table can do the problem.
        """
        problem = self.posed(problem.typical)
        kind = kind_of(problem)
        if kind == Kind.LIKELIHOOD:
            near = approximation(problem)
            rows = (EXACT_LIKELIHOOD[self.effort],) if near is None else choices()[kind, self.effort]
            problem = problem if near is None else near
        elif prior.analytic and kind != Kind.NONLINEAR:
            rows = (ANALYTIC[self.effort],)
        else:
            rows = choices()[kind, self.effort]
        for choice in rows:
            if choice.maps in (None, prior.noise_maps) and choice.able(problem):
                return kind, choice
        raise NotApplicable(
            f"auto has no solver for {problem.operator!r} with {problem.noise!r}; {alternatives(problem, self.name)}"
        )

    def describe(self, problem: Problem, prior: Prior) -> str:
        """Return one line that says what is run, and why."""
        images = self._describe(*self.choose(problem, prior))
        if not problem.unknowns:
            return images
        return f"{self.inferring(problem, prior).name} for {', '.join(problem.unknowns)}, then {images}"

    def _describe(self, kind: Kind, choice: Choice) -> str:
        where = f"{kind} with an analytic prior" if choice is ANALYTIC[self.effort] else str(kind)
        return f"{choice.method(self.goal)} (best measured for {where}, effort {self.effort})"

    def inferring(self, problem: Problem, prior: Prior) -> InferringSolver:
        """Return the solver of a problem with unknown parameters, whose images this one solves.

        For a network the scores of samples improve on the evidence of pictures, but for the centre of a sinogram, which
        needs no image.
        """
        images = f"{self.name}:goal={self.goal},effort={self.effort}"
        quick = prior.analytic or self.effort == EFFORTS[0] or problem.operator.sinogram
        return Evidence(image_solver=images) if quick else FastEM(image_solver=images)

    def declared_evaluations(self, problem: Problem, prior: Prior, samples: int) -> float:
        """Return the evaluations of all solvers that are run, for one of `samples` samples."""
        problem = self.posed(problem.typical)
        _, choice = self.choose(problem, prior)
        names = set(choice.estimate) if self.point else {choice.sampler, *choice.mean} - {SAMPLES}
        total = 0.0
        for solver in map(solver_of, names):
            drawn = 1 if solver.point else samples
            total += drawn / samples * solver.declared_evaluations(problem, prior, drawn)
        return total

    def answer(
        self, problem: Problem, prior: Prior, samples: int, seed: int, batch_size: int | None, progress: bool | Progress
    ) -> Reconstruction:
        """Choose and run solvers; see `Solver.answer`."""
        if problem.unknowns:
            run = self.inferring(problem, prior)
            return run(problem, prior, samples=samples, seed=seed, batch_size=batch_size, progress=progress)
        problem = self.posed(problem)
        kind, choice = self.choose(problem, prior)

        def solve(part: Problem, bar: bool | Progress) -> Reconstruction:
            ensemble = Ensemble(
                problem=part, prior=prior, samples=samples, seed=seed, batch_size=batch_size, progress=bar
            )
            if self.goal == "estimate":
                return ensemble.estimated(choice.estimate)
            return ensemble.sampled(choice.sampler, choice.mean)

        white = white_problems(problem, approximates=choice is not EXACT_LIKELIHOOD[self.effort])
        result = solve(problem, progress) if white is None else solve_white(white, solve, progress)
        return dataclasses.replace(result, method=self._describe(kind, choice))


def approximation(problem: Problem) -> Problem | None:
    """Return the Gaussian approximation of the first image's noise; `None` if there is none."""
    try:
        return problem[:1].gaussian() if len(problem) else None
    except ValueError:
        return None
