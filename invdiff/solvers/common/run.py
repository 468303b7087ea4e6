"""What a step of a solver may look at and use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from ...priors.base import Prior
from ...problem import Problem
from ...streams import Streams

T = TypeVar("T")


@dataclass
class Run:
    """One batch of samples on their way: all that a step may look at.

    Each row is one (image, sample) pair, or one (image, cloud of particles) pair.

    Attributes:
        problem: the problem, with its measurements repeated to one for each row, `(N, ...)`.
        prior: the prior.
        levels: decreasing noise levels, the last one usually 0.
        streams: random numbers, one stream for each row.
        trace: figures of each step, by name; `record` adds to it.
        log_evidence: estimate of `log p(y)`, `(N,)`, where a solver keeps one.
        evaluated: how many images the prior has denoised.
        failure: what diverged first, and what to change; "" if nothing has.
        advance: called after each step, for the progress bar.
    """

    problem: Problem
    prior: Prior
    levels: tuple[float, ...]
    streams: Streams
    trace: dict[str, list[Tensor]] = field(default_factory=dict)
    log_evidence: Tensor | None = None
    evaluated: int = 0
    failure: str = ""
    advance: Callable[[], None] = lambda: None
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.problem)

    @property
    def unit(self) -> float:
        """Length that published constants for data on [-1, 1] are measured in: `prior.std / 0.5`."""
        return self.prior.std / 0.5

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """Return `E[x_0 | x_sigma = x]` and count the evaluation.

        Raises:
            ValueError: the prior returns something of another shape.
        """
        self.evaluated += x.shape[0]
        out = self.prior.denoise(x, sigma)
        if getattr(out, "shape", None) != x.shape:  # else it would broadcast, or the operator be blamed for it
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f"prior: {type(self.prior).__name__}.denoise: expected images {tuple(x.shape)} like its input, got "
                f"{got}; correct it: invdiff check prior tells what a prior must keep"
            )
        return out

    def randn(self, like: Tensor) -> Tensor:
        """Return standard normal noise like `like`, `(N, ...)`, each row from its own stream."""
        return self.streams.randn(like)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` gave when this name was asked for first: what depends on the problem and levels alone."""
        if name not in self._kept:
            self._kept[name] = make()
        kept: T = self._kept[name]
        return kept

    def record(self, name: str, value: Tensor) -> None:
        """Keep a figure of this step, one for each row, `(N,)`."""
        self.trace.setdefault(name, []).append(value.detach())
