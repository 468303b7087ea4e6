"""Iterative linear algebra on batches: each image stops separately, and the result reports how the iteration ended.

Conjugate gradients solve `M x = b` for a symmetric, positive semi-definite map `M`, from `x = 0`: the iterates stay in
the span of `b, M b, M^2 b, ...`, so on normal equations the limit is the solution of least norm. Least squares `min ||A
x - y||^2 + rho ||x||^2` take the same steps without forming `A^T A`, which keeps twice the digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """The result of an iterative solve.

    Attributes:
        x: the solutions, `(B, ...)`.
        iterations: number that the slowest image took.
        residual: relative residual `||M x - b|| / ||b||` of each image, `(B,)`.
        status: "converged" if every image reached the tolerance, "limit" if the iterations ran out, "breakdown" if the
            map was found not to be positive.
    """

    x: Tensor
    iterations: int
    residual: Tensor
    status: str


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1, dtype=torch.float64)


def conjugate_gradients(
    matvec: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    preconditioner: Callable[[Tensor], Tensor] | None = None,
) -> Solution:
    """Solve `M x = b` for each image of a batch.

    Args:
        matvec: the map `M`, `(B, ...) -> (B, ...)`, symmetric and positive semi-definite, images independent.
        b: right-hand sides, `(B, ...)`.
        tolerance: relative residual at which an image stops.
        max_iterations: largest number of iterations.
        preconditioner: an approximation of `M^{-1}`, symmetric and positive definite; default: the identity.

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
    while bool(active.any()):
        if k == max_iterations:
            status = "limit"
            break
        q = matvec(p)
        curvature = _dot(p, q)
        if bool((active & (curvature <= 0)).any()):
            active = active & (curvature > 0)
            status = "breakdown"
        alpha = torch.where(active, rz / torch.where(active, curvature, 1), 0).to(b.dtype).reshape(shape)
        x = x + alpha * p
        r = r - alpha * q
        rr = _dot(r, r)
        z = preconditioner(r) if preconditioner else r
        new = _dot(r, z) if preconditioner else rr
        beta = torch.where(active, new / torch.where(active, rz, 1), 0).to(b.dtype).reshape(shape)
        p = z + beta * p
        rz = new
        active = active & (rr > target)
        k += 1
    return _ended(x, k, rr, _dot(b, b), status)


def least_squares(
    forward: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    y: Tensor,
    *,
    rho: Tensor | float = 0.0,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
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
    while bool(active.any()):
        if k == max_iterations:
            status = "limit"
            break
        q = forward(p)
        curvature = _dot(q, q) + damping * _dot(p, p)
        if bool((active & (curvature <= 0)).any()):
            active = active & (curvature > 0)
            status = "breakdown"
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
    return _ended(x, k, gamma, first, status)


def _ended(x: Tensor, k: int, squared: Tensor, start: Tensor, status: str) -> Solution:
    if not bool(torch.isfinite(squared).all()):
        status = "diverged"
    norm = start.sqrt()
    return Solution(x, k, (squared.sqrt() / torch.where(norm > 0, norm, 1)).to(x.dtype), status)
