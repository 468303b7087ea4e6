"""Iterative linear algebra on batches, each image stopping on its own.

Conjugate gradients solve `M x = b` for a symmetric, positive semi-definite map `M`, from `x = 0`: the iterates stay in
the span of `b, M b, M^2 b, ...`, so that on normal equations the limit is the solution of least norm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """How an iterative solve ended.

    Attributes:
        x: the solutions, `(B, ...)`.
        iterations: how many the slowest image took.
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
        max_iterations: limit of iterations.
        preconditioner: a map near `M^{-1}`, symmetric and positive definite; default: the identity.

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
    norm = _dot(b, b).sqrt()
    residual = (rr.sqrt() / torch.where(norm > 0, norm, 1)).to(b.dtype)
    return Solution(x, k, residual, status)
