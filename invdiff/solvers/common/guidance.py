"""The gradients of guidance.

With `D(x) = E[x_0 | x_sigma = x]` and a loss `l(x_0)`, one vector-Jacobian product of the network gives

    x0_hat = D(x),        g = grad_x l(D(x)) = J_D(x)^T grad l(x0_hat).

For a linear operator and Gaussian noise, the gradient of `log N(y; A z, v A A^T + s^2 I)` in `z` is

    A^T (v A A^T + s^2 I)^{-1} (y - A z) = (v A^T A + s^2 I)^{-1} A^T (y - A z),

and the step of an image `z` to the data that does not change its part in the null space is `A^+ (y - A z)`.

References:
    Diffusion Posterior Sampling for General Noisy Inverse Problems (Chung et al., 2023),
    https://arxiv.org/abs/2209.14687; Pseudoinverse-Guided Diffusion Models for Inverse Problems (Song et al., 2023),
    https://openreview.net/forum?id=9_gsMA8MRKQ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ...noise import Gaussian
from ...operators.base import LinearOperator
from ...problem import Problem
from .data_step import FEW, data_step, distinct
from .run import Run
from .singular import SingularData, squared


def tweedie_vjp(run: Run, x: Tensor, sigma: float, *, again: bool = False) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return Tweedie's estimate and the product with its transposed Jacobian, `v -> J_D(x)^T v`.

    Args:
        run: the batch.
        x: noisy images, `(N, C, H, W)`.
        sigma: their noise level.
        again: whether the product may be computed more than once, which takes more memory.

    Returns:
        `x0_hat`, `(N, C, H, W)`; a function between tensors like it.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        x0 = run.denoise(leaf, sigma)
    return x0.detach(), lambda v: torch.autograd.grad(x0, leaf, v, retain_graph=again)[0]


def data_gradient(problem: Problem, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `||y - A(x)||^2` of each image, `(N,)` in float64, and `J_A(x)^T (y - A(x))`, like `x`."""
    if isinstance(problem.operator, LinearOperator):
        residual = problem.residual(x)
        return squared(residual), problem.operator.adjoint(residual)
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        value = squared(problem.residual(leaf))
        (gradient,) = torch.autograd.grad(-0.5 * value.sum(), leaf)
    return value.detach(), gradient


def back_projected_residual(run: Run, x: Tensor) -> Tensor:
    """Return `J_A(x)^T (y - A(x))`, like `x`; for a filter as `A^T y - A^T A x`, with one filter."""
    problem, operator = run.problem, run.problem.operator
    if not isinstance(operator, LinearOperator) or run.short_cut is None:
        return data_gradient(problem, x)[1]
    return run.back_projection - operator.normal(x)


def sharpened_residual(run: Run, x: Tensor, sigma: float) -> Tensor:
    """Return `A^T (s^2 I - sigma^2 A A^T)^{-1} (y - A x)`, like `x`.

    It is the gradient of the likelihood if the noise of `x` is a part of the noise of the measurement.

    It is exact where a closed-form SVD is used, else it has two terms of Neumann's series.

    Args:
        run: the batch, with a linear operator and Gaussian noise of standard deviation `s`.
        x: noisy images, `(N, C, H, W)`.
        sigma: their noise level, at most `s / (sqrt(2) ||A||)`.
    """
    operator, noise, data = run.problem.operator, run.problem.noise, run.short_cut
    assert isinstance(operator, LinearOperator) and isinstance(noise, Gaussian)
    s2 = noise.std**2
    if data is not None:
        return data.spectrum.V(data.misfit(x).mul_(data.s / (s2 - (sigma * data.s) ** 2)))
    first = back_projected_residual(run, x) / s2
    once = operator.normal(first) * (sigma**2 / s2)
    return first + once + operator.normal(once) * (sigma**2 / s2)


class WhitenedResidual(NamedTuple):
    """A residual `y - A x` under an assumed covariance `M = v A A^T + s^2 I`, with `w = M^{-1} (y - A x)`.

    Attributes:
        back_projected: `A^T w`, `(N, C, H, W)`.
        assumed: `w^T M w`, `(N,)`, float64.
        noise: `s^2 w^T w`, `(N,)`, float64.
    """

    back_projected: Tensor
    assumed: Tensor
    noise: Tensor


def whitened_residual(problem: Problem, data: SingularData | None, x: Tensor, variance: float) -> WhitenedResidual:
    """Return the whitened residual under an assumed covariance.

    Args:
        problem: a linear operator and Gaussian noise of standard deviation `s`.
        data: the problem's data in singular vectors, if these are faster.
        x: images, `(N, C, H, W)`.
        variance: `v`, positive.
    """
    operator, noise = problem.operator, problem.noise
    assert isinstance(operator, LinearOperator) and isinstance(noise, Gaussian)
    rho = distinct(operator, noise.std**2 / variance)
    if data is None:
        back_projected = data_step(problem, None, x, rho, iterations=FEW) / variance
        power = squared(back_projected)
        rest = torch.zeros_like(power)
        if noise.std > 0:
            rest = (
                squared(problem.residual(x + variance * back_projected)) / noise.std**2
            )  # s^2 w = y - A x - v A A^T w
    else:
        e = data.misfit(x)
        c = e * data.inverse(rho)  # v s w
        back_projected = data.spectrum.V(c) / variance
        power = squared(c) / variance**2
        rest = torch.zeros_like(power)
        if noise.std > 0:
            left = e.mul_(rho / (data.s.square() + rho)) if rho > 0 else e.addcmul_(data.s, c, value=-1)
            rest = (squared(left) + data.outside) / noise.std**2
    return WhitenedResidual(back_projected, variance * power + rest, rest)


def toward_data(
    run: Run, x: Tensor, sigma: float, noise: Tensor | None, share: float = 1.0, *, spread: float | None = None
) -> Tensor:
    """Return `x + share A^+ (y + sigma A n - A x)`: the measured part comes from the data, noised to `sigma`.

    The inverse is that of Wiener, `A^T (A A^T + s^2 / v I)^{-1}`, because `A^+` would amplify the noise; for noiseless
    data it is `A^+`. The assumed variance of the state's error at level `sigma` is `v = min(sigma, prior.std)^2`. So
    for every operator the added noise stays below half of the level, and noisy data do not change the clean image at
    the end.

    Args:
        run: the batch, with a linear operator.
        x: images at level `sigma`, `(N, C, H, W)`.
        sigma: noise level.
        noise: standard normal `n`, like `x`; not used for `sigma = 0`.
        share: 1 replaces that part, 0 keeps it.
        spread: the root of `v`, instead of the above.
    """
    problem = run.problem
    assert isinstance(problem.operator, LinearOperator)
    moved = x if sigma == 0 or noise is None else torch.sub(x, noise, alpha=sigma)
    std = problem.noise.std if isinstance(problem.noise, Gaussian) else 0.0
    root = min(sigma, run.prior.std) if spread is None else spread
    if root == 0 and std > 0:
        return x
    rho = distinct(problem.operator, (std / root) ** 2) if std > 0 else 0.0
    change = data_step(problem, run.short_cut, moved, rho, iterations=FEW)
    return torch.add(x, change, alpha=share)  # y - A (x - sigma n) is y + sigma A n - A x


def bounded(assumed: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """Return the factor that prevents overshooting of guidance, `min(1, assumed / (noise + signal))`, `(N,)`.

    Guidance solves `M w = y - A x0_hat` for an assumed covariance `M` of the measurement given the noisy image, but the
    Jacobian of the denoiser gives `s^2 I + A sigma^2 J^T A^T`. One step of conjugate gradients along `w` has the length
    `w^T M w / w^T (s^2 I + A sigma^2 J^T A^T) w`, at no extra cost.

    Args:
        assumed: `w^T M w`, `(N,)`.
        noise: `s^2 w^T w`, `(N,)`.
        signal: `sigma^2 u^T J^T u` with `u = A^T w`, `(N,)`.
    """
    true = noise + signal
    return torch.where(true > 0, assumed / torch.where(true > 0, true, 1), 1).clamp(0, 1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each image, `(N,)`, accumulated in float64."""
    return (a * b).flatten(1).sum(1, dtype=torch.float64)


def image_scale(factor: Tensor, like: Tensor) -> Tensor:
    """Return one factor for each image, `(N,)`, in the shape `(N, 1, ..., 1)` and the type of `like`."""
    return factor.to(like).reshape(-1, *[1] * (like.ndim - 1))
