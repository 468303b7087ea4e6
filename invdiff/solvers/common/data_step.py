"""The step of an image towards the data, for a linear operator.

    (A^T A + rho I)^{-1} A^T (y - A x),        A^+ (y - A x)  at rho = 0

is the step from `x` to the mode of `exp(-(||y - A x'||^2 + rho ||x' - x||^2) / 2)`. It is the proximal step of
splitting methods, Wiener's inverse of guidance, and at `rho = 0` the projection on the data. With a spectrum it is
exact; else conjugate gradients run to an accuracy of the caller's choice.

References:
    Denoising Diffusion Models for Plug-and-Play Image Restoration (Zhu et al., 2023),
    https://arxiv.org/abs/2305.08995.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...operators.base import LinearOperator
from ...operators.numerics.linalg import conjugate_gradients, least_squares
from ...problem import Problem
from .singular import SingularData

FEW = 20  # iterations of a step that must be cheap, so it stops early


def data_step(
    problem: Problem,
    data: SingularData | None,
    x: Tensor,
    rho: float | Tensor,
    *,
    noise: Tensor | None = None,
    iterations: int | None = None,
) -> Tensor:
    """Return `(A^T A + rho I)^{-1} A^T (y + n - A x)`, like `x`, or `A^+ (y + n - A x)` where `rho` is 0.

    Args:
        problem: with a linear operator.
        data: the problem's data in singular vectors, if these are faster.
        x: images, `(N, C, H, W)`.
        rho: non-negative weight, or positive ones, `(N,)`.
        noise: `n`, like the measurement; by default none.
        iterations: largest number of conjugate gradient steps for an operator without a spectrum; by default that of
            `operator.pinv` and `operator.solve`.
    """
    operator = problem.operator
    assert isinstance(operator, LinearOperator)
    if data is not None:
        e = data.misfit(x)
        if noise is not None:
            e += data.spectrum.Ut(noise)
        return data.spectrum.V(e.mul_(data.inverse(rho)))
    residual = problem.residual(x)
    if noise is not None:
        residual = residual + (noise if operator.observed is None else noise * operator.observed.to(noise))
    closed = operator.svd is not None
    if not isinstance(rho, Tensor) and rho == 0:
        if closed or iterations is None:
            return operator.pinv(residual)
        return least_squares(operator.forward, operator.adjoint, residual, max_iterations=iterations).x
    if closed:
        return operator.tikhonov(residual, rho)
    b = operator.adjoint(residual)
    if iterations is None:
        return operator.solve(b, _solvable(b, residual, rho))
    r = rho.to(b).reshape(-1, *[1] * (b.ndim - 1)) if isinstance(rho, Tensor) else rho
    return conjugate_gradients(lambda v: operator.normal(v) + r * v, b, max_iterations=iterations).x


def distinct(operator: LinearOperator, rho: float) -> float:
    """Return a weight `rho`, or 0 if it is too small compared with `A^T A` to have an effect."""
    return rho if rho > 1e-12 * operator.spectral_norm**2 else 0.0


def _solvable(b: Tensor, residual: Tensor, rho: float | Tensor) -> Tensor:
    """Return the weights, `(N,)`, raised if necessary so that the system can be solved in this precision.

    `|A^T r|^2 / |r|^2` estimates the scale of `A^T A` without its norm.
    """
    power = (residual.flatten(1) ** 2).sum(1)
    scale = (b.flatten(1) ** 2).sum(1) / torch.where(power > 0, power, 1)
    least = torch.where(scale > 0, scale, 1) * torch.finfo(b.dtype).eps * 10
    return torch.maximum(least, torch.as_tensor(rho).to(least))
