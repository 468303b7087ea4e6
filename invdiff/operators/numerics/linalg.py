"""Iterative linear algebra on batches: each image stops separately, and the result reports how the iteration ended.

Conjugate gradients solve `M x = b` for a symmetric, positive semi-definite map `M`, from `x = 0`: the iterates stay in
the span of `b, M b, M^2 b, ...`, so on normal equations the limit is the solution of least norm. Least squares `min ||A
x - y||^2 + rho ||x||^2` take the same steps without forming `A^T A`, which keeps twice the digits.

A function that returns only the solutions, such as `operator.pinv`, reports how its iterations ended to `watch_solves`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """The outcome of an iterative solve.

    Attributes:
        iterations: number that the slowest image took.
        residual: relative residual `||M x - b|| / ||b||` of each image, `(B,)`, as the iteration carries it along; of
            the normal equations for least squares.
        status: "converged" if every image reached the tolerance, "limit" if the iterations ran out, "breakdown" if the
            map is not positive or not symmetric, "diverged" if a residual is not finite.
        tolerance: requested relative residual.
        max_iterations: largest allowed number of iterations.
        truncates: whether stopping early, at that limit or at a breakdown, is part of the calling method.
    """

    iterations: int
    residual: Tensor
    status: str
    tolerance: float
    max_iterations: int
    truncates: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution(Outcome):
    """The result of an iterative solve.

    Attributes:
        x: the solutions, `(B, ...)`.
    """

    x: Tensor

    @property
    def outcome(self) -> Outcome:
        """The outcome without the solutions."""
        facts = {f.name: getattr(self, f.name) for f in fields(Outcome)}
        return Outcome(**{**facts, "residual": self.residual.detach()})


_watching: ContextVar[tuple[list[Outcome], ...]] = ContextVar("watching", default=())


@contextmanager
def watch_solves() -> Iterator[list[Outcome]]:
    """Collect the outcome of each iterative solve in the `with` block, in their order.

    Solves in closed form have no outcome.

    Example:
        >>> from invdiff.operators import LinearOperator
        >>> operator = LinearOperator.from_function(lambda x: x.cumsum(-1), (1, 4, 40))
        >>> with watch_solves() as solves:
        ...     x = operator.solve(torch.ones(1, 1, 4, 40), 1e-3)
        >>> [(s.status, s.iterations < 50, bool(s.residual.max() <= s.tolerance)) for s in solves]
        [('converged', True, True)]
    """
    outcomes: list[Outcome] = []
    token = _watching.set((*_watching.get(), outcomes))
    try:
        yield outcomes
    finally:
        _watching.reset(token)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1, dtype=torch.float64)


def conjugate_gradients(
    matvec: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    preconditioner: Callable[[Tensor], Tensor] | None = None,
    truncates: bool = False,
    least: float = 0.0,
    asymmetry: float = math.inf,
) -> Solution:
    """Solve `M x = b` for each image of a batch.

    Args:
        matvec: the map `M`, `(B, ...) -> (B, ...)`, symmetric and positive semi-definite, images independent.
        b: right-hand sides, `(B, ...)`.
        tolerance: relative residual at which an image stops.
        max_iterations: largest number of iterations.
        preconditioner: an approximation of `M^{-1}`, symmetric and positive definite; default: the identity.
        truncates: whether stopping early is part of the method.
        least: a lower bound of the eigenvalues of `M`; at a smaller Rayleigh quotient the iteration stops for an image.
        asymmetry: largest cosine between consecutive residuals, without a preconditioner. It is 0 for a symmetric map;
            above this limit the iteration stops for an image, as further steps would diverge.

    Returns:
        The solutions and how the iteration ended.

    References:
        Methods of Conjugate Gradients for Solving Linear Systems (Hestenes, Stiefel, 1952),
        https://doi.org/10.6028/jres.049.044, section 3.
    """
    shape = (-1, *[1] * (b.ndim - 1))
    x, r = torch.zeros_like(b), b.clone()
    p = z = preconditioner(r) if preconditioner else r
    rr = _dot(r, r)
    rz = _dot(r, z) if preconditioner else rr
    target = tolerance**2 * rr
    status, k = "converged", 0
    active = rr > target
    broken = torch.zeros_like(active)  # looked at once, at the end: the host waits for one number an iteration
    while bool(active.any()):
        if k == max_iterations:
            status = "limit"
            break
        q = matvec(p)
        curvature = _dot(p, q)
        positive = curvature > 0.99 * least * _dot(p, p) if least > 0 else curvature > 0
        broken = broken | (active & ~positive)
        active = active & positive
        alpha = torch.where(active, rz / torch.where(active, curvature, 1), 0).to(b.dtype).reshape(shape)
        x = x + alpha * p
        last, last_rr = r, rr
        r = r - alpha * q
        rr = _dot(r, r)
        if asymmetry < math.inf:
            symmetric = _dot(r, last).abs() <= asymmetry * (rr * last_rr).sqrt()
            broken = broken | (active & ~symmetric)
            active = active & symmetric
        z = preconditioner(r) if preconditioner else r
        new = _dot(r, z) if preconditioner else rr
        beta = torch.where(active, new / torch.where(active, rz, 1), 0).to(b.dtype).reshape(shape)
        p = z + beta * p
        rz = new
        active = active & (rr > target)
        k += 1
    return _ended(x, k, rr, _dot(b, b), status, broken, tolerance, max_iterations, truncates)


def least_squares(
    forward: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    y: Tensor,
    *,
    rho: Tensor | float = 0.0,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    truncates: bool = False,
) -> Solution:
    """Minimise `||A x - y||^2 + rho ||x||^2` for each image of a batch, from zero (CGLS).

    In exact arithmetic these are the steps of LSQR, and of conjugate gradients on the normal equations.

    Args:
        forward: the map `A`, images independent.
        adjoint: its transpose.
        y: measurements, `(B, ...)`.
        rho: weights of the norm, non-negative, a scalar or `(B,)`.
        tolerance: relative residual of the normal equations, `||A^T (y - A x) - rho x|| / ||A^T y||`, at which an image
            stops.
        max_iterations: largest number of iterations.
        truncates: whether stopping early is part of the method.

    Returns:
        The solutions, of least norm if there are many, and how the iteration ended.

    References:
        LSQR: An Algorithm for Sparse Linear Equations and Sparse Least Squares (Paige, Saunders, 1982),
        https://doi.org/10.1145/355984.355989, section 7.1 (CGLS).
    """
    s = adjoint(y)
    image, measured = (-1, *[1] * (s.ndim - 1)), (-1, *[1] * (y.ndim - 1))
    damping = torch.as_tensor(rho, dtype=torch.float64, device=y.device).expand(len(y))
    x, r, p = torch.zeros_like(s), y, s
    first = gamma = _dot(s, s)
    target = tolerance**2 * gamma
    status, k = "converged", 0
    active = gamma > target
    broken = torch.zeros_like(active)
    while bool(active.any()):
        if k == max_iterations:
            status = "limit"
            break
        q = forward(p)
        curvature = _dot(q, q) + damping * _dot(p, p)
        broken = broken | (active & (curvature <= 0))
        active = active & ~(curvature <= 0)
        alpha = torch.where(active, gamma / torch.where(active, curvature, 1), 0).to(s.dtype)
        x = x + alpha.reshape(image) * p
        r = r - alpha.to(y.dtype).reshape(measured) * q
        s = adjoint(r) - damping.to(s.dtype).reshape(image) * x
        new = _dot(s, s)
        beta = torch.where(active, new / torch.where(active, gamma, 1), 0).to(s.dtype)
        p = s + beta.reshape(image) * p
        gamma = new
        active = active & (gamma > target)
        k += 1
    return _ended(x, k, gamma, first, status, broken, tolerance, max_iterations, truncates)


def _ended(
    x: Tensor, k: int, power: Tensor, start: Tensor, status: str, broken: Tensor, tolerance: float, limit: int,
    truncates: bool,
) -> Solution:  # fmt: skip
    """Return the solution, and report its outcome to `watch_solves`; `broken` says where the map is not positive."""
    if status == "converged" and bool(broken.any()):
        status = "breakdown"
    if not bool(torch.isfinite(power).all()):
        status = "diverged"
    norm = start.sqrt()
    solution = Solution(
        x=x,
        iterations=k,
        residual=(power.sqrt() / torch.where(norm > 0, norm, 1)).to(x.dtype),
        status=status,
        tolerance=tolerance,
        max_iterations=limit,
        truncates=truncates,
    )
    if watching := _watching.get():
        outcome = solution.outcome
        for outcomes in watching:
            outcomes.append(outcome)
    return solution
