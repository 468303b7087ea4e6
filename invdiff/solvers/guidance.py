"""The gradients that guidance rests on.

With `D(x) = E[x_0 | x_sigma = x]` and a loss `l(x_0)`, one vector-Jacobian product of the network gives

    x0_hat = D(x),        g = grad_x l(D(x)) = J_D(x)^T grad l(x0_hat).

For a linear operator and Gaussian noise, the gradient of `log N(y; A z, v A A^T + s^2 I)` in `z` is

    A^T (v A A^T + s^2 I)^{-1} (y - A z) = (v A^T A + s^2 I)^{-1} A^T (y - A z),

and the step that brings an image `z` to the data without touching what the operator does not see is `A^+ (y - A z)`.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..noise import Gaussian
from ..operators.base import LinearOperator, Operator
from ..operators.linalg import conjugate_gradients, least_squares
from ..problem import Problem
from .base import Run

ITERATIONS = 20  # of conjugate gradients, for operators without a spectrum: a step must stay cheap, so it stops early


def tweedie_gradient(
    run: Run, x: Tensor, sigma: float, loss: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return Tweedie's estimate, the loss there, and the gradient of the loss in the noisy image.

    Args:
        run: the batch.
        x: noisy images, `(N, C, H, W)`.
        sigma: their noise level.
        loss: from clean images `(N, C, H, W)` to one number for each, `(N,)`.

    Returns:
        `x0_hat`, `(N, C, H, W)`; the loss, `(N,)`; its gradient, `(N, C, H, W)`.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        x0 = run.denoise(leaf, sigma)
        value = loss(x0)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return x0.detach(), value.detach(), gradient


def tweedie_pullback(
    run: Run, x: Tensor, sigma: float, cotangent: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return Tweedie's estimate, `v(x0_hat)` and `J_D(x)^T v(x0_hat)`, with the cotangent `v` held fixed.

    Args:
        run: the batch.
        x: noisy images, `(N, C, H, W)`.
        sigma: their noise level.
        cotangent: from `x0_hat` to `v`, both `(N, C, H, W)`; called without gradients.

    Returns:
        `x0_hat`, the cotangent and the product, `(N, C, H, W)` each.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        x0 = run.denoise(leaf, sigma)
    with torch.no_grad():
        v = cotangent(x0.detach())
    (product,) = torch.autograd.grad(x0, leaf, v)
    return x0.detach(), v, product


def data_gradient(problem: Problem, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `||y - A(x)||^2` of each image, `(N,)`, and `J_A(x)^T (y - A(x))`, like `x`."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        squared = (problem.residual(leaf) ** 2).flatten(1).sum(1)
        (gradient,) = torch.autograd.grad(-0.5 * squared.sum(), leaf)
    return squared.detach(), gradient


def whitened_adjoint(problem: Problem, residual: Tensor, variance: float) -> Tensor:
    """Return `A^T (variance A A^T + s^2 I)^{-1} residual`, `(N, C, H, W)`; noiseless data give `A^+ / variance`.

    Args:
        problem: a linear operator and Gaussian noise of standard deviation `s`.
        residual: `y - A x`, `(N, *out_shape)`.
        variance: positive.
    """
    operator, noise = problem.operator, problem.noise
    assert isinstance(operator, LinearOperator) and isinstance(noise, Gaussian)
    return wiener(operator, residual, noise.std**2 / variance) / variance


def wiener(operator: LinearOperator, residual: Tensor, rho: float) -> Tensor:
    """Return `(A^T A + rho I)^{-1} A^T residual`, or `A^+ residual` for `rho = 0`; a few iterations without a spectrum.

    Args:
        operator: the operator `A`.
        residual: `(N, *out_shape)`, zero where nothing was observed.
        rho: non-negative weight.
    """
    if rho <= 1e-12 * gain(operator) ** 2:
        return range_part(operator, residual)
    if operator.svd is None:
        b = operator.adjoint(residual)
        return conjugate_gradients(lambda v: operator.normal(v) + rho * v, b, max_iterations=ITERATIONS).x
    return operator.tikhonov(residual, rho)


def range_part(operator: LinearOperator, y: Tensor) -> Tensor:
    """Return `A^+ y`, `(N, C, H, W)`, by a few iterations where the operator has no spectrum."""
    if operator.svd is None:
        return least_squares(operator.forward, operator.adjoint, y, max_iterations=ITERATIONS).x
    return operator.pinv(y)


def toward_data(
    run: Run, x: Tensor, sigma: float, noise: Tensor | None, weight: float = 1.0, *, spread: float | None = None
) -> Tensor:
    """Return `x + weight A^+ (y + sigma A n - A x)`: the part that `A` sees comes from the data, noised to `sigma`.

    The inverse is that of Wiener, `A^T (A A^T + s^2 / v I)^{-1}`, since `A^+` would blow noise up; for noiseless data
    it is `A^+`. What it may change is the error of a state at level `sigma`, `v = min(sigma, prior.std)^2`: whatever
    the operator, its noise stays below half of the level's, and noisy data have no say in the clean image at the end.

    Args:
        run: the batch, with a linear operator.
        x: images at level `sigma`, `(N, C, H, W)`.
        sigma: noise level.
        noise: standard normal `n`, like `x`; not used for `sigma = 0`.
        weight: 1 replaces that part, 0 leaves it alone.
        spread: the root of `v`, where it is another one.
    """
    problem = run.problem
    assert isinstance(problem.operator, LinearOperator)
    moved = x if sigma == 0 or noise is None else torch.sub(x, noise, alpha=sigma)
    std = problem.noise.std if isinstance(problem.noise, Gaussian) else 0.0
    root = min(sigma, run.prior.std) if spread is None else spread
    if root == 0 and std > 0:
        return x
    rho = (std / root) ** 2 if std > 0 else 0.0
    residual = problem.residual(moved)  # y - A (x - sigma n), zero where unobserved
    return torch.add(x, wiener(problem.operator, residual, rho), alpha=weight)


def bounded(assumed: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """Return the factor that keeps guidance from overshooting, `min(1, assumed / (noise + signal))`, `(N,)`.

    Guidance solves `M w = y - A x0_hat` for an assumed covariance `M` of the measurement given the noisy image, where
    the Jacobian of the denoiser says `s^2 I + A sigma^2 J^T A^T`. One step of conjugate gradients along `w` has the
    length `w^T M w / w^T (s^2 I + A sigma^2 J^T A^T) w`, known without further work.

    Args:
        assumed: `w^T M w`, `(N,)`.
        noise: `s^2 w^T w`, `(N,)`.
        signal: `sigma^2 u^T J^T u` with `u = A^T w`, `(N,)`.
    """
    true = noise + signal
    return torch.where(true > 0, assumed / torch.where(true > 0, true, 1), 1).clamp(0, 1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each image, `(N,)`, in float64."""
    return (a * b).flatten(1).sum(1, dtype=torch.float64)


def image_scale(factor: Tensor, like: Tensor) -> Tensor:
    """Return one factor for each image, `(N,)`, in the shape `(N, 1, ..., 1)` and the type of `like`."""
    return factor.to(like).reshape(-1, *[1] * (like.ndim - 1))


_GAINS: WeakKeyDictionary[Operator, float] = WeakKeyDictionary()


def gain(operator: Operator) -> float:
    """Return the largest singular value of a linear operator, computed once; 1 for a nonlinear one."""
    if not isinstance(operator, LinearOperator):
        return 1.0
    if operator not in _GAINS:
        _GAINS[operator] = operator.norm()
    return _GAINS[operator]
