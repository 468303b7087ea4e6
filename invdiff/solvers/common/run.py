"""The batch that a step of a solver works on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import UserError
from ...journal import Entry
from ...noise import Gaussian
from ...operators.base import LinearOperator
from ...operators.numerics.linalg import Outcome
from ...priors.base import Prior
from ...problem import Problem
from ...streams import Streams
from .singular import DataLevels, NormalizedData, SingularData


class Unsolved(NamedTuple):
    """A linear solve that ended before its tolerance.

    Attributes:
        residual: the largest relative residual; infinite for one that diverged.
        text: the step, and how the solve ended.
    """

    residual: float
    text: str


_ENDS = {
    "limit": "stopped at its limit of {} iterations",
    "breakdown": "broke down, for its map is not positive",
    "diverged": "left the range of numbers",
}


@dataclass
class Run:
    """One batch of samples, with everything that a step may use.

    Each row is one (image, sample) pair, or one (image, set of particles) pair. Quantities of the problem alone, such
    as the data in the operator's singular vectors and their back-projection, are computed on first use.

    Attributes:
        problem: the problem, with its measurements repeated to one for each row, `(N, ...)`.
        prior: the prior.
        levels: decreasing noise levels, the last one usually 0; none for a method that has none.
        streams: random numbers, one stream for each row.
        trace: figures of each step, by name; `record` adds to it.
        evidence: logarithms of the factors of the estimate of `p(y)`, `(N,)` each; `add_evidence` adds to them.
        estimate: of the posterior mean, `(N, C, H, W)`, if a solver has one; `add_estimate` sets it.
        evaluated: number of images that the prior has denoised.
        products: number of images in products with the prior's transposed Jacobian.
        failure: message about the first divergence; "" if there is none.
        unsolved: the linear solve that ended with the largest residual; none if all reached their tolerance.
        advance: called after each step, for the progress bar.
        entry: of the journal, in which the states of a long loop are kept; none outside of one.
    """

    problem: Problem
    prior: Prior
    levels: tuple[float, ...]
    streams: Streams
    trace: dict[str, list[Tensor]] = field(default_factory=dict)
    evidence: list[Tensor] = field(default_factory=list)
    estimate: Tensor | None = None
    evaluated: int = 0
    products: int = 0
    failure: str = ""
    unsolved: Unsolved | None = None
    advance: Callable[[], None] = lambda: None
    entry: Entry | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.problem)

    @property
    def unit(self) -> float:
        """Unit of published constants for data on [-1, 1]: `prior.std / 0.5`."""
        return self.prior.std / 0.5

    @cached_property
    def singular(self) -> SingularData | None:
        """The data in the singular vectors of the operator; `None` without a spectrum."""
        return SingularData.of(self.problem)

    @property
    def short_cut(self) -> SingularData | None:
        """`singular`, if it is faster than the operator; for a mask it is not."""
        return self.singular if self.problem.operator.observed is None else None

    @cached_property
    def normalized(self) -> NormalizedData:
        """The data divided by their singular values, with 0 for the noise of unmeasured coefficients."""
        return self._singular.normalized(self._noise_std)

    @cached_property
    def data_levels(self) -> DataLevels:
        """The data as coefficients of a noisy image, with an infinite level for unmeasured coefficients."""
        return self._singular.levels(self._noise_std)

    @cached_property
    def back_projection(self) -> Tensor:
        """`A^T y` for a linear operator, `(N, C, H, W)`."""
        operator = self.problem.operator
        assert isinstance(operator, LinearOperator)
        return operator.adjoint(self.problem.measurement)

    @property
    def _singular(self) -> SingularData:
        assert self.singular is not None
        return self.singular

    @property
    def _noise_std(self) -> float:
        assert isinstance(self.problem.noise, Gaussian)
        return self.problem.noise.std

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Return `E[x_0 | x_sigma = x]`; count the evaluation, and each product with its transposed Jacobian.

        Raises:
            ValueError: the prior returns another shape, or no gradient where one is needed.
        """
        self.evaluated += x.shape[0]
        out = self.prior.denoise(x, sigma)
        if getattr(out, "shape", None) != x.shape:  # otherwise it would broadcast, or cause an error in the operator
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise UserError(
                f"prior: {type(self.prior).__name__}.denoise: expected images {tuple(x.shape)} like its input, got "
                f"{got}; correct it: invdiff check prior tells what a prior must keep"
            )
        if x.requires_grad and torch.is_grad_enabled():
            if not out.requires_grad:
                raise UserError(
                    f"prior: {type(self.prior).__name__}.denoise: expected an output with a gradient in its input, for "
                    "this solver differentiates the prior, got none; compute it by torch operations without no_grad "
                    "and detach, or take a solver that does not, such as ddrm or pnp"
                )
            out.register_hook(self._count_product)  # called once for each backward pass
        return out

    def _count_product(self, gradient: Tensor) -> None:
        self.products += gradient.shape[0]

    def randn(self, like: Tensor) -> Tensor:
        """Return standard normal noise like `like`, `(N, ...)`, each row from its own stream."""
        return self.streams.randn(like)

    def record(self, name: str, value: Tensor) -> None:
        """Record a figure of this step, one for each row, `(N,)`."""
        self.trace.setdefault(name, []).append(value.detach())

    def record_solves(self, solves: Sequence[Outcome], where: str) -> None:
        """Record the iterative solves of a step: the sum of iterations, and the largest relative residual.

        Args:
            solves: of the step; none for closed forms.
            where: description of the step.
        """
        if not solves or not self.rows:
            return
        residuals = [s.residual.double().nan_to_num(nan=math.inf) for s in solves]
        worst = [r if len(r) == self.rows else r.max().expand(self.rows) for r in residuals]
        self.record("solve_iterations", worst[0].new_full((self.rows,), sum(s.iterations for s in solves)))
        self.record("solve_residual", torch.stack(worst).amax(0))
        for s, r in zip(solves, residuals, strict=True):
            fine = s.status == "converged" or (s.truncates and s.status != "diverged")
            largest = 0.0 if fine else float(r.max())
            if largest > (self.unsolved.residual if self.unsolved else 0.0):
                self.unsolved = Unsolved(largest, f"{where} {_ENDS[s.status].format(s.max_iterations)}")

    def add_evidence(self, log_factor: Tensor) -> None:
        """Multiply the estimate of `p(y)` by a factor, given by its logarithm, `(N,)`."""
        self.evidence.append(log_factor.detach())

    def add_estimate(self, image: Tensor) -> None:
        """Set the estimate of the posterior mean, one for each row, `(N, C, H, W)`."""
        self.estimate = image.detach()

    @property
    def log_evidence(self) -> Tensor | None:
        """The estimate of `log p(y)`, `(N,)`; `None` for a solver that has none."""
        return sum(self.evidence[1:], self.evidence[0]) if self.evidence else None
