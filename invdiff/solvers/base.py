"""The loop that every posterior solver shares.

A solver walks down noise levels `sigma_T > ... > sigma_0 = 0` and turns a state at one level into a state at the
next. Its own file holds that step. Here stand the checks before any work, the random streams, the batches, the count
of network evaluations, the progress bar and the watch for divergence.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..memory import check_fits
from ..noise import Gaussian
from ..operators.base import LinearOperator
from ..priors.base import Prior, attribute_fault
from ..problem import Problem
from ..reconstruction import Reconstruction
from ..specs import with_options
from ..streams import Streams, generator
from ..whitening import whitened
from .common.noise_models import solve_white, white_problems
from .common.progress import Progress, progress_bar
from .common.run import Run
from .common.search import Ranges

BATCH_VALUES = 2**22  # pixel values that are worked on at once, unless the caller says how many samples

NEEDS = {
    "linear": "a linear operator",
    "svd": "an operator with a closed-form singular value decomposition",
    "gaussian": "Gaussian noise",
    "vjp": "a prior and an operator that are differentiable",
}

APPROXIMATE = (
    "take the Gaussian noise nearest to it, problem.gaussian() or on the command line approximate=true behind its "
    "name, or one of the "
)


@dataclass(frozen=True, kw_only=True)
class Solver(abc.ABC):
    """A posterior sampler: hyper-parameters as a frozen dataclass, called on a problem and a prior.

    A subclass gives `needs`, `levels` and `step`; where it must, also `start` and `finish`. The state is a tensor
    with a row for each sample, or a named tuple of such tensors whose first entry is the image.

    Attributes:
        name: under which the registry lists it; "" for a class that is not listed.
        summary: one line for listings.
        paper: authors and year; "" for what is no paper's.
        needs: what a problem must offer, of {"linear", "svd", "gaussian", "vjp"}.
        lower: the step size, to be lowered when the solver diverges; "" if it has none.
        limit: the parameter in whose limit the samples are exact; "" for an approximate solver.
        point: whether the solver draws nothing, so that all its samples are one estimate.
        approximates: whether noise that is not Gaussian is replaced by the Gaussian noise nearest to it, for a solver
            that knows the data only through a sum of squares; see `replaced`.
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
    search: ClassVar[Ranges] = {}

    @property
    def evaluations(self) -> int:
        """Network evaluations that one row takes; the count is compared with it."""
        return int(getattr(self, "steps", 0))

    @property
    def cloud(self) -> int:
        """How many samples one row gives: 1, or the number of particles."""
        return 1

    @abc.abstractmethod
    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return the decreasing noise levels in float64, `(steps + 1,)`."""

    @abc.abstractmethod
    def step(self, run: Run, x: Any, i: int) -> Any:
        """Take the state `x`, `(N, C, H, W)`, from level `run.levels[i]` to `run.levels[i + 1]`."""

    def start(self, run: Run) -> Any:
        """Return the state at the first level, `x_T = c + sigma_T n`, around the centre that `center` chooses."""
        from .common.initial_state import center

        c = center(run.problem, run.prior)
        return c + run.levels[0] * run.randn(c)

    def finish(self, run: Run, x: Any) -> Tensor:
        """Return the images of the last state, `(N, C, H, W)`, or `(N, cloud, C, H, W)` for a cloud of particles."""
        out: Tensor = _image(x)
        return out

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
            samples: S, how many samples of each image.
            seed: non-negative integer; sample `s` of image `b` depends on `(seed, b, s)` alone.
            batch_size: how many samples are drawn at once; as many as fit about 4 million pixel values unless given.
            progress: whether to show a progress bar, or a function called with (steps done, steps in all).

        Returns:
            The samples `(B, S, C, H, W)` and how they were made.

        Raises:
            ValueError: the problem lacks what the solver needs, or does not fit the prior.
        """
        self._check(problem, prior, samples, seed, batch_size)
        white = white_problems(problem, self.approximates)
        if not white:
            return self._solve(problem, prior, samples, seed, batch_size, progress)
        return solve_white(white, lambda p, bar: self._solve(p, prior, samples, seed, batch_size, bar), progress)

    def _solve(
        self, problem: Problem, prior: Prior, samples: int, seed: int, batch_size: int | None, progress: bool | Progress
    ) -> Reconstruction:
        """Draw the samples of a problem that the solver can take as it is."""
        levels = tuple(self.levels(problem, prior).tolist())
        clouds = -(-samples // self.cloud)
        pairs = [(b, s) for b in range(len(problem)) for s in range(clouds)]
        size = batch_size or max(1, BATCH_VALUES // max(1, self.cloud * math.prod(problem.operator.in_shape)))
        chunks = [pairs[i : i + size] for i in range(0, len(pairs), size)]
        steps = len(levels) - 1
        begin = time.perf_counter()
        parts: list[Tensor] = []
        runs: list[Run] = []
        failures: list[str] = []
        with progress_bar(progress, len(chunks) * steps, type(self).__name__) as advance:
            for chunk in chunks:
                rows = problem[[b for b, _ in chunk]]
                keys = [(seed, problem.image_index[b], s) for b, s in chunk]
                run = Run(rows, prior, levels, Streams(generator(*k) for k in keys))
                x, failure = self._loop(run, advance)
                parts.append(x)
                runs.append(run)
                if failure:
                    failures.append(failure)
        shape = problem.operator.in_shape
        y = problem.measurement
        stacked = torch.cat(parts) if parts else y.new_zeros((0, *shape))
        drawn = stacked.reshape(len(problem), clouds * self.cloud, *shape)
        return Reconstruction(
            samples=drawn[:, :samples],
            nfe=round(sum(r.evaluated for r in runs) / max(1, len(problem) * samples)),
            seconds=time.perf_counter() - begin,
            status="diverged" if failures else "ok",
            message=failures[0] if failures else "",
            trace=_gather_trace(runs),
            log_evidence=_gather_evidence(runs, len(problem)),
        )

    @classmethod
    def unmet(cls, problem: Problem) -> list[str]:
        """Return which of the solver's needs a problem does not meet, sorted."""
        if problem.noise.is_gaussian:
            problem = whitened(problem).problem
        op = problem.operator
        met = {
            "linear": isinstance(op, LinearOperator),
            "svd": isinstance(op, LinearOperator) and op.svd is not None,
            "gaussian": isinstance(problem.noise, Gaussian),
            "vjp": True,
        }
        return sorted(n for n in cls.needs if not met[n])

    def _loop(self, run: Run, advance: Callable[[], None]) -> tuple[Tensor, str]:
        """Walk down the levels; rows that diverge keep their last finite state."""
        with torch.no_grad():
            steps = len(run.levels) - 1
            # What takes no steps cannot diverge: the inverse of a blur may be that large.
            bound = 1e3 * max(1.0, run.levels[0], run.prior.std) if steps else math.inf
            x, failure = self.start(run), ""
            good = _inside(_image(x), bound)
            if not bool(good.all()):
                failure = self._describe(run, good, "at the start", _zeros(x), 0)
                x = _choose(good, x, _zeros(x))
            for i in range(steps if bool(good.any()) or not run.rows else 0):
                new = self.step(run, x, i)
                good = _inside(_image(new), bound)
                if bool(good.all()):
                    x = new
                else:
                    failure = failure or self._describe(run, good, f"at step {i + 1} of {steps}", x, i)
                    x = _choose(good, new, x)
                    if not bool(good.any()):
                        break
                advance()
            out = self.finish(run, x)
            good = _inside(out, math.inf)
            if not bool(good.all()):
                failure = failure or self._describe(run, good, "after the last step", x, steps)
                out = _choose(good, out, _image(x))
            return out, failure

    def _describe(self, run: Run, good: Tensor, where: str, state: Any, i: int) -> str:
        """Say what diverged, where, and what to change.

        Args:
            run: the run.
            good: which rows are as they should be, `(N,)`.
            where: at which step, in words.
            state: the state before, which is finite.
            i: its level.
        """
        row = int((~good).nonzero()[0])
        image = run.problem.image_index[row]
        advice = _fault(run, _image(state)[row : row + 1], i) or (
            f"lower {self.lower}={getattr(self, self.lower)}"
            if self.lower
            else "it has no step size to lower: check the values of the measurement and of prior.denoise"
        )
        return f"{type(self).__name__} diverged {where} (image {image}); {advice}"

    def _check(self, problem: Problem, prior: Prior, samples: int, seed: int, batch_size: int | None) -> None:
        name = type(self).__name__
        for label, value, least in (("samples", samples, 1), ("seed", seed, 0), ("batch_size", batch_size or 1, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: {label}: expected an integer >= {least}, got {value!r}")
        check_fits(f"{name}: samples", (len(problem), samples, *problem.operator.in_shape), "ask for fewer")
        if fault := attribute_fault(prior):
            raise ValueError(f"{name}: prior: {fault}; correct {type(prior).__name__}")
        op = problem.operator
        missing = self.unmet(problem)
        if missing:
            raise ValueError(
                f"{name} needs {' and '.join(NEEDS[m] for m in missing)}; got {op!r} with {problem.noise!r}; "
                f"{APPROXIMATE if 'gaussian' in missing else ''}{_alternatives(problem)}"
            )
        fits = len(prior.shape) == len(op.in_shape) and all(
            p is None or p == s for p, s in zip(prior.shape, op.in_shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"{name}: prior: expected one of images {op.in_shape}, as the operator has, got {type(prior).__name__} "
                f"of shape {tuple(prior.shape)}; resize the image or choose another prior"
            )


def _fault(run: Run, x: Tensor, i: int) -> str:
    """Say so if prior or operator make numbers that are not finite of finite images, near the `i`-th level; else ""."""
    x = x.reshape(-1, *x.shape[-3:])  # of a cloud of particles
    operator = run.problem.operator
    if tuple(x.shape[1:]) != tuple(operator.in_shape):
        return ""
    if not bool(operator(x.clamp(0, 1)).isfinite().all()):
        name = type(operator).__name__
        return f"{name} gives NaN or infinity for images in [0, 1]: invdiff check operator"
    for sigma in (s for s in run.levels[max(0, i - 1) : i + 2] if s > 0):
        if not bool(run.prior.denoise(x, sigma).isfinite().all()):
            name = type(run.prior).__name__
            return f"{name}.denoise gives NaN or infinity for finite images at sigma {sigma:.3g}: invdiff check prior"
    return ""


def _image(state: Any) -> Tensor:
    """Return the images of a state, its first entry unless it is a tensor itself."""
    image: Tensor = state if isinstance(state, Tensor) else state[0]
    return image


def _inside(image: Tensor, bound: float) -> Tensor:
    """Return which rows hold numbers below a bound only, `(N,)`; none that holds NaN."""
    return image.abs().flatten(1).amax(1) < bound


def _zeros(state: Any) -> Any:
    """Return a state of zeros."""
    return torch.zeros_like(state) if isinstance(state, Tensor) else type(state)(*(torch.zeros_like(v) for v in state))


def _choose(good: Tensor, new: Any, old: Any) -> Any:
    """Return the state that has the rows of `new` where `good`, of `old` elsewhere."""
    if isinstance(new, Tensor):
        return torch.where(good.reshape(-1, *[1] * (new.ndim - 1)), new, old)
    return type(new)(*(_choose(good, n, o) for n, o in zip(new, old, strict=True)))


def _alternatives(problem: Problem) -> str:
    from ..registry import solvers

    able = [n for n, e in solvers.entries().items() if not e.load().unmet(problem)]
    return f"solvers that would do: {', '.join(able)}" if able else "no solver can do this problem"


def _gather_evidence(runs: list[Run], images: int) -> Tensor | None:
    """Average the evidence of each image over its clouds: the estimates are unbiased before the logarithm."""
    if not runs or any(r.log_evidence is None for r in runs):
        return None
    rows = torch.cat([r.log_evidence.double().cpu() for r in runs if r.log_evidence is not None]).reshape(images, -1)
    return rows.nan_to_num(nan=-math.inf).logsumexp(1) - math.log(rows.shape[1])  # NaN: of a run that diverged


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
    """Build a solver from named options, as the command line and suites give them.

    Args:
        cls: the solver class.
        options: values by name; integers are taken where floats are expected.

    Raises:
        ValueError: an unknown option (the message names the nearest known one) or a value of the wrong type.
    """
    return with_options(cls, options)
