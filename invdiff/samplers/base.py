"""The base class of the samplers of a prior: the loop over noise levels.

A sampler takes steps along noise levels `sigma_T > ... > sigma_1 > sigma_0 = 0`. It begins at

    x_T = c + sigma_T n,    c = denoise(1/2, sigma_T),

where `c` is the denoiser's estimate of the prior's mean, and takes one step for each pair of neighbouring levels. A
sampler's own file has that step. With a likelihood score added to the prior (`invdiff.priors.composition.Guided`),
every sampler draws from the posterior, by the same steps.
"""

from __future__ import annotations

import abc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..checks import check_count, integer, number
from ..errors import UserError
from ..loop import divergence_bound, iterate
from ..priors.base import Prior
from ..schedules import EDM, SPACINGS, VE, VP, Spacing, SubVP, karras_levels, scaled_levels
from ..specs import Choices, build
from ..streams import BlockStreams, generator
from ..transitions import tweedie_score

Watch = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True)
class Samples:
    """The result of a sampler.

    Attributes:
        samples: `(n, C, H, W)`.
        nfe: evaluations of the denoiser for one sample.
        seconds: wall time.
        status: "ok", or "diverged"; rows that diverge keep their last finite state.
        message: the divergence, and the parameter to lower.
    """

    samples: Tensor
    nfe: int
    seconds: float
    status: str = "ok"
    message: str = ""


@dataclass
class Walk:
    """One batch of samples, with everything that a step may use.

    Attributes:
        prior: the prior.
        levels: noise levels; step `i` is from `levels[i]` to `levels[i + 1]`.
        streams: random numbers, one stream for each row.
        template: an empty state with the shape, type and device of all states.
        evaluated: evaluations of the denoiser so far, counted by rows.
    """

    prior: Prior
    levels: tuple[float, ...]
    streams: BlockStreams
    template: Tensor
    evaluated: int = 0

    @property
    def unit(self) -> float:
        """Unit of published constants for data on [-1, 1]: `prior.std / 0.5`."""
        return self.prior.std / 0.5

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """Return `E[x_0 | x_sigma = x]` and count the evaluation."""
        self.evaluated += x.shape[0]
        return self.prior.denoise(x, sigma)

    def score(self, x: Tensor, sigma: float) -> Tensor:
        """Return `grad log p_sigma(x)` and count the evaluation."""
        return tweedie_score(x, self.denoise(x, sigma), sigma)

    def randn(self) -> Tensor:
        """Return standard normal noise in the shape of a state, each row from its own stream."""
        return self.streams.randn(self.template)

    def center(self) -> Tensor:
        """Return the denoiser's estimate of the prior's mean at the highest level, `(B, C, H, W)`."""
        return self.denoise(torch.full_like(self.template, 0.5), self.prior.sigma_max)


@dataclass(frozen=True, kw_only=True)
class Sampler(abc.ABC):
    """A sampler of a prior: hyper-parameters as a frozen dataclass, called on the prior.

    A subclass defines `step`, and if necessary `levels` and `start`.

    Attributes:
        steps: number of positive noise levels.
        spacing: of the levels, for data on [-1, 1]; it is scaled to the prior's data.
        sigma_min: lowest positive level, in units of the images; by default that of the prior.
        sigma_max: highest level, in units of the images; by default that of the prior.
        choices: functions and objects for a parameter, by their names on the command line.
    """

    choices: ClassVar[Choices] = {
        "spacing": SPACINGS,
        "diffusion": {"vp": VP(), "sub-vp": SubVP(), "ve": VE(), "edm": EDM()},
    }

    steps: int = 50
    spacing: Spacing = karras_levels
    sigma_min: float | None = None
    sigma_max: float | None = None

    def __post_init__(self) -> None:
        check_count(self, "steps")
        for name in ("sigma_min", "sigma_max"):
            value = getattr(self, name)
            if value is not None:
                number(f"{type(self).__name__}: {name}", value, positive=True, expected="a positive number")

    def ends(self, prior: Prior) -> tuple[float, float]:
        """Return the lowest positive and the highest level for this prior."""
        low = prior.sigma_min if self.sigma_min is None else self.sigma_min
        high = prior.sigma_max if self.sigma_max is None else self.sigma_max
        return low, high

    def levels(self, prior: Prior) -> Tensor:
        """Return the decreasing noise levels in float64, `(steps + 1,)`, the last one 0."""
        return scaled_levels(self.spacing, self.steps, *self.ends(prior), prior.std / 0.5)

    def start(self, walk: Walk) -> Tensor:
        """Return the state at the first level, `(B, C, H, W)`."""
        return walk.center() + walk.levels[0] * walk.randn()

    @abc.abstractmethod
    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Take the state `x` `(B, C, H, W)` from level `walk.levels[i]` to `walk.levels[i + 1]`."""

    def __call__(
        self,
        prior: Prior,
        n: int,
        *,
        shape: tuple[int, int, int] | None = None,
        seed: int = 0,
        start: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
        watch: Watch | None = None,
    ) -> Samples:
        """Draw samples.

        Args:
            prior: the prior, on `device`.
            n: number of samples.
            shape: `(C, H, W)`; by default that of the prior; needed for a prior of any size.
            seed: non-negative integer; sample `i` depends on `(seed, i)` alone.
            start: states at the first level, `(n, C, H, W)`, instead of the sampler's own.
            dtype: type of the states.
            device: of the states.
            batch_size: number of samples that are drawn at once; by default about 4 million pixel values.
            watch: called after each step.

        Returns:
            The samples and a record of the run.

        Raises:
            ValueError: no size, a size that is not the prior's, or a count that is not positive.
        """
        name = type(self).__name__
        size = image_shape(name, prior, shape)
        for label, value, least in (("n", n, 1), ("seed", seed, 0), ("batch_size", batch_size or 1, 1)):
            integer(f"{name}: {label}", value, least)
        if start is not None and tuple(start.shape) != (n, *size):
            raise UserError(f"{name}: start: expected shape {(n, *size)}, got {tuple(start.shape)}")
        levels = tuple(self.levels(prior).tolist())
        rows = batch_size or max(1, min(2**16, 2**22 // math.prod(size)))
        chunks = [range(k, min(k + rows, n)) for k in range(0, n, rows)]
        total = len(chunks) * (len(levels) - 1)
        begin, done = time.perf_counter(), 0
        parts, evaluated, failures = list[Tensor](), 0, list[str]()

        def advance() -> None:
            nonlocal done
            done += 1
            if watch is not None:
                watch(done, total)

        for chunk in chunks:
            streams = BlockStreams(generator(seed, k) for k in chunk)
            walk = Walk(prior, levels, streams, torch.empty((len(chunk), *size), dtype=dtype, device=device))
            with torch.no_grad():
                x = self.start(walk) if start is None else start[chunk.start : chunk.stop].to(walk.template)
                parts.append(self._walked(walk, x, failures, advance))
            evaluated += walk.evaluated
        return Samples(
            samples=torch.cat(parts),
            nfe=round(evaluated / n),
            seconds=time.perf_counter() - begin,
            status="diverged" if failures else "ok",
            message=failures[0] if failures else "",
        )

    def _walked(self, walk: Walk, x: Tensor, failures: list[str], advance: Callable[[], None]) -> Tensor:
        """Take all steps; rows that diverge keep their last state, and add a line to `failures`."""
        steps = len(walk.levels) - 1

        def diverged(good: Tensor, before: Tensor, i: int) -> None:
            where = f"step {i + 1} of {steps}, level {walk.levels[i]:.3g}"
            failures.append(f"{type(self).__name__} diverged at {where}")

        bound = divergence_bound(walk.prior.std, walk.levels[0])
        return iterate(
            lambda state, i: self.step(walk, state, i), x, steps, bound=bound, diverged=diverged, advance=advance
        )


def image_shape(name: str, prior: Prior, shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Return the size of the samples.

    Args:
        name: of the caller, for messages.
        prior: the prior.
        shape: the requested size, or `None` for that of the prior.

    Raises:
        ValueError: no size for a prior of any size, or a size that does not fit.
    """
    if shape is None:
        known = tuple(s for s in prior.shape if s is not None)
        if len(known) != len(prior.shape):
            raise UserError(
                f"{name}: shape: expected (C, H, W), as {type(prior).__name__} takes images of any size; give one"
            )
        return _triple(known)
    if len(shape) != len(prior.shape) or any(p not in (None, s) for p, s in zip(prior.shape, shape, strict=True)):
        raise UserError(f"{name}: shape: expected {tuple(prior.shape)}, as the prior has, got {tuple(shape)}")
    return _triple(shape)


def _triple(shape: tuple[int, ...]) -> tuple[int, int, int]:
    c, h, w = shape
    return c, h, w


def make_sampler(cls: type[Sampler], options: dict[str, Any]) -> Sampler:
    """Build a sampler from named options, as from the command line.

    Args:
        cls: the sampler's class.
        options: values by name; integers are accepted where floats are expected, and names where functions are.

    Raises:
        ValueError: an unknown option (the message names the nearest one) or a value of the wrong type.
    """
    return build(cls, options)
