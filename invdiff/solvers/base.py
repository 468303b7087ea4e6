"""The loop that every posterior solver shares.

A solver walks down noise levels `sigma_T > ... > sigma_0 = 0` and turns a state at one level into a state at the
next. Its own file holds that step. Here stand the checks before any work, the random streams, the batches, the count
of network evaluations, the progress bar and the watch for divergence.
"""

from __future__ import annotations

import abc
import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ..noise import Gaussian
from ..operators.base import LinearOperator
from ..priors.base import Prior
from ..problem import Problem, Reconstruction
from ..streams import Streams, generator

NEEDS = {
    "linear": "a linear operator",
    "svd": "an operator with a closed-form singular value decomposition",
    "gaussian": "Gaussian noise",
    "vjp": "a prior and an operator that are differentiable",
}


@dataclass
class Run:
    """One batch of samples on their way: all that a step may look at.

    Each row is one (image, sample) pair.

    Attributes:
        problem: the problem, with its measurements repeated to one for each row, `(N, ...)`.
        prior: the prior.
        levels: decreasing noise levels, the last one usually 0.
        streams: random numbers, one stream for each row.
        trace: figures of each step, by name; `record` adds to it.
    """

    problem: Problem
    prior: Prior
    levels: tuple[float, ...]
    streams: Streams
    trace: dict[str, list[Tensor]] = field(default_factory=dict)
    evaluated: int = 0

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.problem)

    @property
    def unit(self) -> float:
        """Length that published constants for data on [-1, 1] are measured in: `prior.std / 0.5`."""
        return self.prior.std / 0.5

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """Return `E[x_0 | x_sigma = x]` and count the evaluation."""
        self.evaluated += x.shape[0]
        return self.prior.denoise(x, sigma)

    def randn(self, like: Tensor) -> Tensor:
        """Return standard normal noise like `like`, `(N, ...)`, each row from its own stream."""
        return self.streams.randn(like)

    def record(self, name: str, value: Tensor) -> None:
        """Keep a figure of this step, one for each row, `(N,)`."""
        self.trace.setdefault(name, []).append(value.detach())


Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Solver(abc.ABC):
    """A posterior sampler: hyper-parameters as a frozen dataclass, called on a problem and a prior.

    A subclass gives `needs`, `levels` and `step`; where it must, also `start` and `finish`.

    Attributes:
        needs: what a problem must offer, of {"linear", "svd", "gaussian", "vjp"}.
        lower: the parameter to lower when the solver diverges.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    lower: ClassVar[str] = ""

    @abc.abstractmethod
    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return the decreasing noise levels in float64, `(steps + 1,)`."""

    @abc.abstractmethod
    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take the state `x`, `(N, C, H, W)`, from level `run.levels[i]` to `run.levels[i + 1]`."""

    def start(self, run: Run) -> Tensor:
        """Return the state at the first level, `x_T = c + sigma_T n`, around the centre that `center` chooses."""
        from .start import center

        c = center(run.problem, run.prior)
        return c + run.levels[0] * run.randn(c)

    def finish(self, run: Run, x: Tensor) -> Tensor:
        """Return the images of the last state, `(N, C, H, W)`."""
        return x

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
        levels = tuple(self.levels(problem, prior).tolist())
        pairs = [(b, s) for b in range(len(problem)) for s in range(samples)]
        size = batch_size or max(1, 2**22 // max(1, _numel(problem.operator.in_shape)))
        chunks = [pairs[i : i + size] for i in range(0, len(pairs), size)]
        steps = len(levels) - 1
        begin = time.perf_counter()
        parts: list[Tensor] = []
        runs: list[Run] = []
        failures: list[str] = []
        with _progress_bar(progress, len(chunks) * steps, type(self).__name__) as advance:
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
        return Reconstruction(
            samples=stacked.reshape(len(problem), samples, *shape),
            nfe=round(sum(r.evaluated for r in runs) / max(1, len(pairs))),
            seconds=time.perf_counter() - begin,
            status="diverged" if failures else "ok",
            message=failures[0] if failures else "",
            trace=_gather_trace(runs),
        )

    def _loop(self, run: Run, advance: Callable[[], None]) -> tuple[Tensor, str]:
        """Walk down the levels; rows that diverge keep their last finite state."""
        with torch.no_grad():
            x = self.start(run)
            failure = ""
            bound = 1e3 * max(1.0, run.levels[0], run.prior.std)
            for i in range(len(run.levels) - 1):
                new = self.step(run, x, i)
                good = new.detach().abs().flatten(1).amax(1) < bound  # false for NaN as well
                if bool(good.all()):
                    x = new
                else:
                    failure = failure or self._describe(run, good, i)
                    x = torch.where(good.reshape(-1, *[1] * (x.ndim - 1)), new, x)
                    if not bool(good.any()):
                        break
                advance()
            return self.finish(run, x), failure

    def _describe(self, run: Run, good: Tensor, i: int) -> str:
        image = run.problem.image_index[int((~good).nonzero()[0])]
        advice = f"; lower {self.lower}={getattr(self, self.lower)}" if self.lower else ""
        return f"{type(self).__name__} diverged at step {i + 1} of {len(run.levels) - 1} (image {image}){advice}"

    def _check(self, problem: Problem, prior: Prior, samples: int, seed: int, batch_size: int | None) -> None:
        name = type(self).__name__
        for label, value, least in (("samples", samples, 1), ("seed", seed, 0), ("batch_size", batch_size or 1, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: {label}: expected an integer >= {least}, got {value!r}")
        op = problem.operator
        met = {
            "linear": isinstance(op, LinearOperator),
            "svd": isinstance(op, LinearOperator) and op.svd is not None,
            "gaussian": isinstance(problem.noise, Gaussian),
            "vjp": True,
        }
        missing = sorted(n for n in self.needs if not met[n])
        if missing:
            raise ValueError(
                f"{name} needs {' and '.join(NEEDS[m] for m in missing)}; got {op!r} with {problem.noise!r}; "
                f"{_alternatives(met)}"
            )
        fits = len(prior.shape) == len(op.in_shape) and all(
            p is None or p == s for p, s in zip(prior.shape, op.in_shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"{name}: prior: expected one of images {op.in_shape}, as the operator has, got {type(prior).__name__} "
                f"of shape {tuple(prior.shape)}; resize the image or choose another prior"
            )


def _numel(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def _alternatives(met: dict[str, bool]) -> str:
    from ..registry import solvers

    able = [n for n, e in solvers.entries().items() if all(met[k] for k in e.load().needs)]
    return f"solvers that would do: {', '.join(able)}" if able else "no solver can do this problem"


def _gather_trace(runs: list[Run]) -> dict[str, Tensor]:
    """Average each figure over all rows, up to the shortest run."""
    out: dict[str, Tensor] = {}
    for name in sorted({n for r in runs for n in r.trace}):
        have = [torch.stack(r.trace[name]) for r in runs if name in r.trace]
        length = min(h.shape[0] for h in have)
        out[name] = torch.cat([h[:length].double().cpu() for h in have], 1).mean(1)
    return out


@contextmanager
def _progress_bar(progress: bool | Progress, total: int, title: str) -> Iterator[Callable[[], None]]:
    done = 0
    if not progress:
        yield lambda: None
        return
    if callable(progress):

        def tell() -> None:
            nonlocal done
            done += 1
            progress(done, total)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)


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
    from ..registry import unknown

    known = parameters(cls)
    for name, value in options.items():
        if name not in known:
            raise ValueError(unknown(f"parameter of {cls.__name__}", name, known))
        default = known[name].default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            options = {**options, name: float(value)}
        elif isinstance(default, int | float | str) and type(value) is not type(default):
            raise ValueError(f"{cls.__name__}: {name}: expected {type(default).__name__}, got {value!r}")
    return cls(**options)
