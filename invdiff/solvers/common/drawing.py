"""Where the batches of a solver are drawn: here, elsewhere, or by an earlier run whose journal has them.

A batch that an earlier run has finished is read, one at work goes on.
A state of the loop is its tensors, the state of each random generator, and what the run has recorded so far. Together
they determine all later steps, so a run that goes on has the same bits on the same processor.
"""

from __future__ import annotations

import abc
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from torch import Tensor

from ...journal import current
from .run import Run, Unsolved

S = TypeVar("S")
Result = dict[str, Any]
"""What is found for a batch: `images`, and the `figures` of the run."""


@dataclass(frozen=True)
class Batch:
    """A batch of a solver.

    Attributes:
        run: the batch; its figures are those of the finished batch in the end.
        keys: of its random streams.
    """

    run: Run
    keys: tuple[tuple[int, ...], ...]


class Elsewhere(abc.ABC):
    """Other processes that draw batches."""

    @abc.abstractmethod
    def takes(self, batch: Batch) -> bool:
        """Return whether they can draw it."""

    @abc.abstractmethod
    def draw(self, solver: object, batches: Sequence[Batch]) -> Iterator[tuple[Batch, Result]]:
        """Yield the results of batches, in any order."""


_elsewhere: ContextVar[Elsewhere | None] = ContextVar("elsewhere", default=None)


@contextmanager
def drawing(elsewhere: Elsewhere) -> Iterator[None]:
    """Let solvers in the `with` block draw their batches elsewhere."""
    token = _elsewhere.set(elsewhere)
    try:
        yield
    finally:
        _elsewhere.reset(token)


def draw_batches(solver: object, batches: Sequence[Batch], draw: Callable[[Run], Tensor], ticks: int) -> list[Tensor]:
    """Return the images of all batches, `(N, C, H, W)` each, from the journal where it has them.

    Args:
        solver: the solver.
        batches: its batches.
        draw: from a batch to its images.
        ticks: number of steps of the progress bar for each batch.
    """
    elsewhere, images = _elsewhere.get(), dict[int, Tensor]()
    journal = current()
    here = elsewhere is None or not all(map(elsewhere.takes, batches))
    rest: list[Batch] = []
    for number, batch in enumerate(batches):
        run = batch.run
        if journal is not None:
            run.entry = journal.entry(_name(solver, batch))
        found = None if run.entry is None else run.entry.result(run.problem.measurement.device)
        if found is not None:
            images[number] = _accepted(run, found, ticks)
        elif here:
            images[number] = draw(run)
            _end(run, images[number])
        else:
            rest.append(batch)
    if rest and elsewhere is not None:
        numbers = {id(batch): number for number, batch in enumerate(batches)}
        for batch, result in elsewhere.draw(solver, rest):
            number = numbers[id(batch)]
            images[number] = _accepted(batch.run, result, ticks)
            _end(batch.run, images[number])
    return [images[number] for number in range(len(batches))]


def result_of(run: Run, images: Tensor) -> Result:
    """Return what a finished batch has found."""
    return {"images": images, "figures": _figures(run)}


def _name(solver: object, batch: Batch) -> str:
    """Return what a batch is, the same in each process."""
    levels = hashlib.sha256(repr((batch.run.levels, batch.keys)).encode()).hexdigest()[:16]
    named = re.sub(r" at 0x[0-9a-f]+", "", repr(solver))  # addresses of functions
    return f"{named} {tuple(batch.run.problem.measurement.shape)} {levels}"


def _accepted(run: Run, result: Result, ticks: int) -> Tensor:
    """Return the images of a batch that was drawn before or elsewhere, and set its figures."""
    _set_figures(run, result["figures"])
    for _ in range(ticks):
        run.advance()
    return cast("Tensor", result["images"].to(run.problem.measurement.device))


def _end(run: Run, images: Tensor) -> None:
    if run.entry is not None:
        run.entry.end(result_of(run, images))


def keep_state(run: Run, state: Any, step: int) -> None:
    """Write the state before a step into the journal, if there is one and it is time."""
    if run.entry is None or not run.entry.due or not _is_of_tensors(state):
        return
    tensors = [_alone(tensor.detach()) for tensor in _tensors(state)]
    generators = [g.get_state() for g in run.streams.generators]
    run.entry.keep({"step": step, "state": tensors, "generators": generators, "figures": _figures(run)})


def restored(run: Run, state: S) -> tuple[S, int]:
    """Return the state that an earlier run has kept, and the number of its next step; else the given one, and 0.

    Args:
        run: the batch; its figures and streams become those of the state.
        state: the first state of the loop.
    """
    found = None if run.entry is None else run.entry.state(run.problem.measurement.device)
    if found is None:
        return state, 0
    _set_figures(run, found["figures"])
    for generator, of in zip(run.streams.generators, found["generators"], strict=True):
        generator.set_state(of.cpu())
    for _ in range(found["step"]):
        run.advance()
    return cast("S", _like(state, iter(found["state"]))), found["step"]


def _is_of_tensors(state: Any) -> bool:
    """Return whether a state is a tensor or tuples of tensors; of any other one only finished batches are kept."""
    return isinstance(state, Tensor) or (isinstance(state, tuple) and all(map(_is_of_tensors, state)))


def _tensors(state: Any) -> Iterator[Tensor]:
    """Yield the tensors of a state: itself, or those of a named tuple."""
    if isinstance(state, Tensor):
        yield state
        return
    for entry in state:
        yield from _tensors(entry)


def _alone(tensor: Tensor) -> Tensor:
    """Return a tensor that is all of its storage, for files have whole storages."""
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole else tensor.clone()


def _like(state: Any, tensors: Iterator[Tensor]) -> Any:
    """Return a state of the form of another one, with other tensors."""
    if isinstance(state, Tensor):
        return next(tensors)
    return type(state)(*(_like(entry, tensors) for entry in state))


def _figures(run: Run) -> dict[str, Any]:
    return {
        "trace": run.trace,
        "evidence": run.evidence,
        "estimate": run.estimate,
        "evaluated": run.evaluated,
        "products": run.products,
        "failure": run.failure,
        "unsolved": None if run.unsolved is None else tuple(run.unsolved),
    }


def _set_figures(run: Run, figures: dict[str, Any]) -> None:
    run.trace, run.evidence, run.estimate = figures["trace"], figures["evidence"], figures["estimate"]
    run.evaluated, run.products, run.failure = figures["evaluated"], figures["products"], figures["failure"]
    run.unsolved = None if figures["unsolved"] is None else Unsolved(*figures["unsolved"])
