"""Batches of a solver in a journal: a batch that an earlier run has finished is read, one at work goes on.

A state of the loop is its tensors, the state of each random generator, and what the run has recorded so far. Together
they determine all later steps, so a run that goes on has the same bits on the same processor.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

from torch import Tensor

from ...journal import current
from .run import Run, Unsolved

S = TypeVar("S")


def journaled(
    run: Run, keys: Sequence[tuple[int, ...]], draw: Callable[[Run], Tensor], *, name: str, ticks: int
) -> Tensor:
    """Return the images of a batch, `(N, C, H, W)`, from the journal if it has them.

    Args:
        run: the batch; its figures are those of the finished batch afterwards.
        keys: of the random streams.
        draw: from the batch to its images.
        name: the solver with its parameters.
        ticks: number of steps of the progress bar.
    """
    journal = current()
    if journal is None:
        return draw(run)
    levels = hashlib.sha256(repr((run.levels, keys)).encode()).hexdigest()[:16]
    named = re.sub(r" at 0x[0-9a-f]+", "", name)  # of functions, other in each process
    run.entry = journal.entry(f"{named} {tuple(run.problem.measurement.shape)} {levels}")
    found = run.entry.result(run.problem.measurement.device)
    if found is not None:
        _set_figures(run, found["figures"])
        for _ in range(ticks):
            run.advance()
        return cast("Tensor", found["images"])
    images = draw(run)
    run.entry.end({"images": images, "figures": _figures(run)})
    return images


def keep_state(run: Run, state: Any, step: int) -> None:
    """Write the state before a step into the journal, if there is one and it is time."""
    if run.entry is None or not run.entry.due:
        return
    try:
        tensors = [tensor.detach().clone() for tensor in _tensors(state)]
    except TypeError:  # a state of other things than tensors: the batch is the entry
        return
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


def _tensors(state: Any) -> Iterator[Tensor]:
    """Yield the tensors of a state: itself, or those of a named tuple."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, tuple):
        for entry in state:
            yield from _tensors(entry)
    else:
        raise TypeError(f"state: expected tensors, got {type(state).__name__}")


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
