"""Total variation: the image of least variation that agrees with the measurement.

    minimise  TV(x) = sum over pixels of |grad x|_2     subject to  ||y - A x|| <= e,      e = s sqrt(m)

with the standard deviation `s` of the noise and the number `m` of observed entries, so there is no weight to choose.
With `a = 1 / ||A||` and `b = 1 / sqrt(8)`, so that `K = (a A, b grad)` has `||K||^2 <= 2`, each iteration of the
primal-dual algorithm is, for a step `h` in units of the image,

    u  = p + a (A x_bar - y) / (2 h),         p' = u - u min(1, a e / (2 h |u|))
    q' = (q + b grad x_bar / (2 h)) projected on |q| <= 1 / b
    x' = x - h (a A^T p' + b grad^T q'),      x_bar = 2 x' - x
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..operators.base import LinearOperator
from .base import Solver
from .common.run import Run
from .common.search import Range, Ranges
from .common.splitting import noise_std
from .iterative import repeat

B = 1 / math.sqrt(8)  # one over a bound of the gradient's norm


class PrimalDual(NamedTuple):
    """The image, its extrapolation, the dual variables of data and gradient, and `a`, `(N,)`."""

    x: Tensor
    bar: Tensor
    p: Tensor
    q: Tensor
    gain: Tensor


@dataclass(frozen=True, kw_only=True)
class TotalVariation(Solver):
    """Constrained total variation for any linear operator and Gaussian noise; all samples are equal.

    Attributes:
        steps: number of iterations.
        slack: factor of the distance `e` to the measurement.
        step_size: `h`, in units of data on [-1, 1]; it changes the speed of the iteration, not its limit.

    References:
        Nonlinear Total Variation Based Noise Removal Algorithms (Rudin, Osher, Fatemi, 1992),
        https://doi.org/10.1016/0167-2789(92)90242-F, equation 2.5. A First-Order Primal-Dual Algorithm for Convex
        Problems with Applications to Imaging (Chambolle, Pock, 2011), https://doi.org/10.1007/s10851-010-0251-1,
        algorithm 1.

    Differs:
        The variation of a colour image is that of its channels together, `|grad x|_2` over channels and directions.

    Example:
        >>> TotalVariation(slack=0.9).slack
        0.9
    """

    steps: int = 300
    slack: float = 1.0
    step_size: float = 0.05

    name: ClassVar[str] = "tv"
    summary: ClassVar[str] = "total variation within the noise, primal-dual; no prior needed"
    paper: ClassVar[str] = "Rudin et al. 1992"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "gaussian"})
    point: ClassVar[bool] = True
    search: ClassVar[Ranges] = {"slack": Range(0.3, 2.0, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "slack", 0)
        check_number(self, "step_size", 0, positive=True)

    @property
    def evaluations(self) -> int:
        """None: the prior is not used."""
        return 0

    def ticks(self, levels: tuple[float, ...]) -> int:
        """Return the number of iterations."""
        return self.steps

    def draw(self, run: Run) -> Tensor:
        """Iterate from the scaled back-projection."""
        return repeat(self, run, self.start(run), self.step, self.steps).x

    def start(self, run: Run) -> PrimalDual:
        """Return `A^T y / ||A||^2`, with zero dual variables."""
        operator, y = run.problem.operator, run.problem.measurement
        assert isinstance(operator, LinearOperator)
        size = run.problem.gain
        a = 1 / (1.01 * size) if size > 0 else 1.0  # the norm is a lower bound
        x = a**2 * operator.adjoint(y)
        return PrimalDual(x, x, torch.zeros_like(y), torch.zeros_like(gradient(x)), y.new_full((run.rows,), a))

    def step(self, run: Run, x: PrimalDual, i: int) -> PrimalDual:
        """Take one iteration."""
        problem = run.problem
        operator, y = problem.operator, problem.measurement
        assert isinstance(operator, LinearOperator)
        a, h = x.gain.reshape(-1, *[1] * (y.ndim - 1)), self.step_size * run.unit
        wide = x.gain.reshape(-1, 1, 1, 1)
        seen = operator.out_shape if operator.observed is None else operator.observed.expand(operator.out_shape)
        count = math.prod(seen) if isinstance(seen, tuple) else int(seen.sum())
        e = self.slack * noise_std(run) * math.sqrt(count)
        u = x.p - a * problem.residual(x.bar) / (2 * h)
        p = u - u * (a * e / (2 * h * norm(u, 1, y.ndim))).clamp(max=1)
        q = x.q + B * gradient(x.bar) / (2 * h)
        q = q / (B * norm(q, 1, 3)).clamp(min=1)
        new = x.x - h * (wide * operator.adjoint(p) + B * gradient_adjoint(q))
        return PrimalDual(new, 2 * new - x.x, p, q, x.gain)


def norm(u: Tensor, first: int, last: int) -> Tensor:
    """Return the Euclidean norm over the axes from `first` up to `last`, kept with length 1, and positive."""
    squared = (u**2).sum(tuple(range(first, last)), keepdim=True)
    return squared.sqrt().clamp(min=torch.finfo(u.dtype).tiny ** 0.5)


def gradient(x: Tensor) -> Tensor:
    """Return the forward differences, `(N, 2, C, H, W)`: down and to the right, zero at the far border."""
    out = torch.zeros((len(x), 2, *x.shape[1:]), dtype=x.dtype, device=x.device)
    out[:, 0, :, :-1] = x[:, :, 1:] - x[:, :, :-1]
    out[:, 1, :, :, :-1] = x[..., 1:] - x[..., :-1]
    return out


def gradient_adjoint(q: Tensor) -> Tensor:
    """Return the transpose of `gradient` applied to `q`, `(N, C, H, W)`: minus the divergence."""
    out = torch.zeros_like(q[:, 0])
    out[:, :, 1:] += q[:, 0, :, :-1]
    out[:, :, :-1] -= q[:, 0, :, :-1]
    out[..., 1:] += q[:, 1, :, :, :-1]
    out[..., :-1] -= q[:, 1, :, :, :-1]
    return out
