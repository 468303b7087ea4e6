"""The base class of all posterior solvers: the call.

It has the checks before any work, the random streams, the batches, the count of network evaluations, the progress bar
and the check for values that are not finite. A solver's own file has its mathematics: `draw`, which returns one image
for each row of a batch, or, for an `IterativeSolver`, its noise levels and one step between two of them.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..checks import integer
from ..errors import NotApplicable, UserError, UserTypeError
from ..fit import checked
from ..loop import choose, inside, zeros_of
from ..memory import check_fits
from ..noise import Gaussian
from ..operators.base import LinearOperator
from ..priors.base import Prior, attribute_fault
from ..problem import Problem
from ..reconstruction import Reconstruction
from ..registry import solvers
from ..specs import build, parse_spec
from ..streams import Streams, generator
from ..whitening import whitened
from .common.divergence import describe_divergence
from .common.drawing import Batch, draw_batches
from .common.noise_models import solve_white, white_problems
from .common.pixel_levels import pixel_levels
from .common.progress import Progress, progress_bar
from .common.run import Run, Unsolved
from .common.search import Ranges

UNSOLVED = 0.1  # relative residual of a linear solve above which a warning is given
BATCH_VALUES = 2**22  # pixel values that are processed at once, if the caller gives no number of samples

NEEDS = {
    "linear": "a linear operator",
    "svd": "an operator with a closed-form singular value decomposition",
    "gaussian": "Gaussian noise",
    "vjp": "an operator whose output has a gradient in its input",
    "pixelwise": "an operator that acts on each pixel by itself, alike in all channels",
    "known": "an operator and noise without unknown parameters",
}

APPROXIMATE = (
    "take the Gaussian noise nearest to it, problem.gaussian() or on the command line approximate=true behind its "
    "name, or one of the "
)


class SolverType(abc.ABCMeta):
    """The metaclass of solvers: a class with `levels` and `step` and the base `Solver` becomes iterative.

    `Solver` had the loop before `IterativeSolver` became a separate class, so older subclasses continue to work.

    Attributes:
        loop: `IterativeSolver`, once it is defined.
    """

    loop: ClassVar[type | None] = None

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, owns_loop: bool = False
    ) -> SolverType:
        """Make the class, with `IterativeSolver` as a base if it needs the loop.

        Args:
            mcls: this type.
            name: of the class.
            bases: the given bases.
            namespace: of the class.
            owns_loop: whether this is `IterativeSolver` itself.
        """
        steps = "levels" in namespace or ("step" in namespace and "draw" not in namespace)
        loop = SolverType.loop
        if steps and loop is not None and not any(issubclass(b, loop) for b in bases):
            bases = tuple(loop if b is Solver else b for b in bases)
            bases = bases if loop in bases else (*bases, loop)
        made = super().__new__(mcls, name, bases, namespace)
        if owns_loop:
            SolverType.loop = made
        return made


@dataclass(frozen=True, kw_only=True)
class Solver(metaclass=SolverType):
    """A posterior sampler: hyper-parameters as a frozen dataclass, called on a problem and a prior.

    A subclass defines `needs` and `draw`. A solver that repeats a step derives from `IterativeSolver`.

    Attributes:
        name: in the registry; "" for a class that is not listed.
        summary: one line for listings.
        paper: authors and year; "" if there is no paper.
        needs: properties that a problem must have, of {"linear", "svd", "gaussian", "vjp"}. A solver that
            differentiates the prior refuses one without a gradient at its first evaluation.
        lower: the step size, to be lowered if the solver diverges; "" if it has none.
        limit: the parameter in whose limit the samples are exact; "" for an approximate solver.
        point: whether the solver gives one estimate, so all samples are equal.
        approximates: whether noise that is not Gaussian is replaced by its Gaussian approximation, for a solver that
            uses the data only in a sum of squares; see `noise_models`.
        takes_unknowns: whether the solver infers unknown parameters of the operator and of the noise.
        search: ranges of the parameters that `invdiff tune` searches.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    lower: ClassVar[str] = ""
    limit: ClassVar[str] = ""
    point: ClassVar[bool] = False
    approximates: ClassVar[bool] = False
    takes_unknowns: ClassVar[bool] = False
    search: ClassVar[Ranges] = {}

    @property
    def evaluations(self) -> int:
        """Number of network evaluations of one row; it is compared with the count."""
        return int(getattr(self, "steps", 0))

    def posed(self, problem: Problem) -> Problem:
        """Return the problem that is solved: the given one, unless the solver has a better form of it."""
        return problem

    def declared_evaluations(self, problem: Problem, prior: Prior, samples: int) -> float:
        """Return the number of network evaluations for one of `samples` samples of a problem."""
        return self.evaluations / self.samples_per_row

    @property
    def samples_per_row(self) -> int:
        """Number of samples of one row: 1, or the number of particles."""
        return 1

    def draw(self, run: Run) -> Tensor:
        """Return the images of a batch, `(N, C, H, W)`, or `(N, P, C, H, W)` for P particles.

        Args:
            run: the batch; a method with several steps calls `run.advance` after each of its `ticks`.
        """
        name = type(self).__name__
        raise UserTypeError(f"{name}: expected a method draw, or levels and step as an IterativeSolver has; define it")

    def ticks(self, levels: tuple[float, ...]) -> int:
        """Return the number of calls of `run.advance` in `draw`; 0 for a method without steps.

        Args:
            levels: noise levels of the run; none for a solver that is no `IterativeSolver`.
        """
        return 0

    def __call__(
        self,
        problem: Problem,
        prior: Prior,
        *,
        samples: int = 1,
        seed: int = 0,
        batch_size: int | None = None,
        progress: bool | Progress = False,
    ) -> Reconstruction:
        """Draw samples of the posterior of each image.

        Args:
            problem: operator, noise and measurements, `(B, ...)`.
            prior: the prior over images.
            samples: S, number of samples of each image.
            seed: non-negative integer; sample `s` of image `b` depends on `(seed, b, s)` alone.
            batch_size: number of samples that are drawn at once; by default about 4 million pixel values.
            progress: whether to show a progress bar, or a function called with (steps done, steps in all).

        Returns:
            The samples `(B, S, C, H, W)` and a record of the run; its status is "misfit" if their residual is larger
            than the noise explains, see `invdiff.fit`.

        Raises:
            ValueError: the problem does not meet the solver's needs, or does not fit the prior.
        """
        self._check(problem, prior, samples, seed, batch_size)
        return self.answer(problem, prior, samples, seed, batch_size, progress)

    def answer(
        self, problem: Problem, prior: Prior, samples: int, seed: int, batch_size: int | None, progress: bool | Progress
    ) -> Reconstruction:
        """Return the result for a problem that has passed the checks; see `__call__` for the arguments.

        A solver that leaves the problem to others defines this one.
        """
        white = white_problems(problem, self.approximates)
        if white:
            found = solve_white(white, lambda p, bar: self.solve(p, prior, samples, seed, batch_size, bar), progress)
        else:
            found = self.solve(problem, prior, samples, seed, batch_size, progress)
        return checked(problem, found, type(self).__name__)

    def solve(
        self, problem: Problem, prior: Prior, samples: int, seed: int, batch_size: int | None, progress: bool | Progress
    ) -> Reconstruction:
        """Draw the samples of a problem that has passed the checks, batch by batch; see `__call__` for the arguments.

        Gaussian noise is white here.
        """
        levels = self._noise_levels(problem, prior)
        rows_per_image = -(-samples // self.samples_per_row)
        pairs = [(b, s) for b in range(len(problem)) for s in range(rows_per_image)]
        size = batch_size or max(1, BATCH_VALUES // max(1, self.samples_per_row * math.prod(problem.operator.in_shape)))
        chunks = [pairs[i : i + size] for i in range(0, len(pairs), size)]
        begin = time.perf_counter()
        batches: list[Batch] = []
        with progress_bar(progress, len(chunks) * self.ticks(levels), type(self).__name__) as advance:
            for chunk in chunks:
                rows = problem[[b for b, _ in chunk]]
                keys = tuple((seed, problem.image_index[b], s) for b, s in chunk)
                run = Run(rows, prior, levels, Streams(generator(*k) for k in keys), advance=advance)
                batches.append(Batch(run, keys))
            parts = draw_batches(self, batches, self.drawn, self.ticks(levels))
        runs = [batch.run for batch in batches]
        shape = problem.operator.in_shape
        y = problem.measurement
        stacked = parts[0] if len(parts) == 1 else torch.cat(parts) if parts else y.new_zeros((0, *shape))
        drawn = stacked.reshape(len(problem), rows_per_image * self.samples_per_row, *shape)
        failure = next((r.failure for r in runs if r.failure), "")
        unsolved = max((r.unsolved for r in runs if r.unsolved), default=None)
        return Reconstruction(
            samples=drawn[:, :samples],
            nfe=round(sum(r.evaluated for r in runs) / max(1, len(problem) * samples)),
            vjps=round(sum(r.products for r in runs) / max(1, len(problem) * samples)),
            seconds=time.perf_counter() - begin,
            status="diverged" if failure or (unsolved and not math.isfinite(unsolved.residual)) else "ok",
            message=failure or self._describe_unsolved(unsolved),
            trace=_gather_trace(runs),
            log_evidence=_gather_evidence(runs, len(problem)),
            estimate=_gather_estimate(runs, len(problem)),
        )

    def _noise_levels(self, problem: Problem, prior: Prior) -> tuple[float, ...]:
        """Return the noise levels of a run."""
        return ()

    def drawn(self, run: Run) -> Tensor:
        """Return the images of a batch; zeros for rows that are not finite."""
        with torch.no_grad():
            out = self.draw(run)
            good = inside(out, math.inf)
            if bool(good.all()):
                return out
            self.note_divergence(run, good, "at the end", zeros_of(out), 0)
            return choose(good, out, zeros_of(out))

    def note_divergence(self, run: Run, good: Tensor, where: str, state: Any, i: int) -> None:
        """Record the first divergence, and its remedy.

        Args:
            run: the batch.
            good: whether each row is finite, `(N,)`.
            where: description of the step.
            state: the finite state before.
            i: index of its noise level.
        """
        lower = f"{self.lower}={getattr(self, self.lower)}" if self.lower else ""
        if not run.failure:
            run.failure = describe_divergence(run, type(self).__name__, lower, good, where, state, i)

    def _describe_unsolved(self, unsolved: Unsolved | None) -> str:
        """Return a line about a linear solve with a large residual, else ""."""
        if unsolved is None or unsolved.residual <= UNSOLVED:
            return ""
        name = type(self).__name__
        if not math.isfinite(unsolved.residual):
            return f"{name}: a linear solve {unsolved.text}; check the values of the measurement and of the operator"
        return (
            f"{name}: a linear solve {unsolved.text} with a relative residual of {unsolved.residual:.2g}; check how "
            "well the samples fit the measurement"
        )

    @classmethod
    def unmet(cls, problem: Problem) -> list[str]:
        """Return the solver's needs that a problem does not meet, sorted; with unknowns, those in the middle."""
        if problem.unknowns:
            if not cls.takes_unknowns:
                return ["known"]
            problem = problem.typical
        if problem.noise.is_gaussian:
            problem = whitened(problem).problem
        op = problem.operator
        met = {
            "linear": isinstance(op, LinearOperator),
            "svd": isinstance(op, LinearOperator) and op.svd is not None,
            "gaussian": isinstance(problem.noise, Gaussian),
            "vjp": "vjp" not in cls.needs or op.differentiable(problem.measurement),
            "pixelwise": pixel_levels(problem) is not None,
        }
        return sorted(n for n in cls.needs if not met[n])

    def _check(self, problem: Problem, prior: Prior, samples: int, seed: int, batch_size: int | None) -> None:
        name = type(self).__name__
        for label, value, least in (("samples", samples, 1), ("seed", seed, 0), ("batch_size", batch_size or 1, 1)):
            integer(f"{name}: {label}", value, least)
        check_fits(f"{name}: samples", (len(problem), samples, *problem.operator.in_shape), "ask for fewer")
        if fault := attribute_fault(prior):
            raise UserError(f"{name}: prior: {fault}; correct {type(prior).__name__}")
        op = problem.operator
        missing = self.unmet(problem)
        if missing:
            raise NotApplicable(
                f"{name} needs {' and '.join(NEEDS[m] for m in missing)}; got {op!r} with {problem.noise!r}; "
                f"{APPROXIMATE if 'gaussian' in missing else ''}{alternatives(problem)}"
            )
        fits = len(prior.shape) == len(op.in_shape) and all(
            p is None or p == s for p, s in zip(prior.shape, op.in_shape, strict=True)
        )
        if not fits:
            raise UserError(
                f"{name}: prior: expected one of images {op.in_shape}, as the operator has, got {type(prior).__name__} "
                f"of shape {tuple(prior.shape)}; resize the image or choose another prior"
            )


def alternatives(problem: Problem, but: str = "") -> str:
    """Return a clause that names the solvers which can do a problem, except one."""
    able = [n for n, e in solvers.entries().items() if n != but and not e.load().unmet(problem)]
    return f"solvers that would do: {', '.join(able)}" if able else "no solver can do this problem"


def _gather_evidence(runs: list[Run], images: int) -> Tensor | None:
    """Average the evidence of each image over its rows; the estimates are unbiased before the logarithm."""
    if not runs or any(r.log_evidence is None for r in runs):
        return None
    rows = torch.cat([r.log_evidence.double().cpu() for r in runs if r.log_evidence is not None]).reshape(images, -1)
    return rows.nan_to_num(nan=-math.inf).logsumexp(1) - math.log(rows.shape[1])  # NaN: a diverged run


def _gather_estimate(runs: list[Run], images: int) -> Tensor | None:
    """Return the mean of each image's estimates over its samples, if the solver has any."""
    if not runs or any(r.estimate is None for r in runs):
        return None
    rows = torch.cat([r.estimate for r in runs if r.estimate is not None])
    return rows.reshape(images, -1, *rows.shape[1:]).mean(1)


def _gather_trace(runs: list[Run]) -> dict[str, Tensor]:
    """Average each figure over all rows, up to the shortest run."""
    out: dict[str, Tensor] = {}
    for name in sorted({n for r in runs for n in r.trace}):
        have = [torch.stack(r.trace[name]) for r in runs if name in r.trace]
        length = min(h.shape[0] for h in have)
        out[name] = torch.cat([h[:length].double().cpu() for h in have], 1).mean(1)
    return out


def parameters(solver: type[Solver]) -> dict[str, dataclasses.Field[object]]:
    """Return the hyper-parameters of a solver class, by name."""
    return {f.name: f for f in dataclasses.fields(solver)}


def make_solver(cls: type[Solver], options: dict[str, object]) -> Solver:
    """Build a solver from named options, as from the command line and suites.

    Args:
        cls: the solver class.
        options: values by name; integers are accepted where floats are expected.

    Raises:
        ValueError: an unknown option (the message names the nearest known one) or a value of the wrong type.
    """
    return build(cls, options)


def solver_of(text: str) -> Solver:
    """Return the solver of `NAME:key=value,...`."""
    spec = parse_spec(text)
    return make_solver(solvers[spec.name], spec.options)
