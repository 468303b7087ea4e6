"""The largest singular value of a linear map, with a bound on its error, and of the derivative of another map.

Lanczos' process on `M = A^T A` from a random unit vector `v_1` makes a tridiagonal matrix `T_k` and the polynomials
`p_k` with `v_{k+1} = p_k(M) v_1`, by

    beta_k v_{k+1} = M v_k - alpha_k v_k - beta_{k-1} v_{k-1}

The largest eigenvalue `theta` of `T_k` is at most the largest eigenvalue `lambda` of `M`, and `p_k` grows beyond
`theta`. As `v_{k+1}` has length 1, the component `g` of `v_1` along the eigenvector of `lambda` obeys
`|g p_k(lambda)| <= 1`. A random unit vector in `n` dimensions has `|g| < d` with probability at most
`d sqrt(2 n / pi)`. So with `d = RISK sqrt(pi / (2 n))`,

    p_k(t) >= 1 / d   at some   t >= theta     gives     theta <= lambda <= t

except with a probability of `RISK` over the start, for every spectrum of `A`. The iteration ends at the first `k` where
`t = theta (1 + tolerance)^2` passes that test; for a tolerance of 1e-3 that takes at most about 300 steps, mostly 10 to
60.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .constants import followed

RISK = 1e-6
"""Probability, over the random start, that the error is larger than stated."""

GRAY, CONTRAST = 0.5, 0.05
"""Mean and standard deviation of the image at which a derivative is taken: many maps have none at a constant image."""
STEP, ROUNDS = 1e-3, 20
"""Length of the step of a difference, in units of the images, and number of iterations: only the scale matters."""


@dataclass(frozen=True)
class Norm:
    """A norm found by iteration.

    Attributes:
        value: the largest singular value; the iteration approaches it from below.
        iterations: their number.
        status: "converged" if the relative error is within the tolerance, "limit" if the iterations ran out, or
            "diverged".
    """

    value: float
    iterations: int
    status: str


def largest_singular_value(
    normal: Callable[[Tensor], Tensor],
    shape: tuple[int, ...],
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 500,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Norm:
    """Return the largest singular value of `A`, from below, by Lanczos' process on `A^T A`.

    Args:
        normal: the map `A^T A` on batches.
        shape: shape of one image.
        tolerance: largest relative error of the value; see the module for the probability of a larger one.
        max_iterations: largest number of iterations.
        seed: seed of the start.
        dtype: precision of the iterates.
        device: of the iterates.

    Returns:
        The value and how the iteration ended.

    References:
        Computing Probabilistic Bounds for Extreme Eigenvalues of Symmetric Matrices with the Lanczos Method (van
        Dorsselaer, Hochstenbach, van der Vorst, 2001), https://doi.org/10.1137/S0895479800366859, the bounds by Lanczos
        polynomials.
    """
    from scipy.linalg import eigvalsh_tridiagonal

    generator = torch.Generator().manual_seed(seed)
    v = torch.randn((1, *shape), generator=generator, dtype=torch.float64).to(dtype=dtype, device=device)
    size = v.numel()
    v, before = v / v.norm(), torch.zeros_like(v)
    needed = math.sqrt(2 * size / math.pi) / RISK
    alphas: list[float] = []
    betas: list[float] = []
    beta, value = 0.0, 0.0
    for k in range(1, max_iterations + 1):
        w = normal(v)
        alpha = float((w * v).sum(dtype=torch.float64))
        w = w - alpha * v - beta * before
        beta = float(w.norm())
        if not math.isfinite(alpha + beta):
            return Norm(alpha, k, "diverged")
        alphas.append(alpha)
        theta = max(0.0, float(eigvalsh_tridiagonal(alphas, betas, select="i", select_range=(k - 1, k - 1))[0]))
        value = math.sqrt(theta)
        betas.append(beta)
        if beta == 0 or _grown(alphas, betas, theta * (1 + tolerance) ** 2, needed):
            return Norm(value, k, "converged")
        before, v = v, w / beta
    return Norm(value, max_iterations, "limit")


def derivative_norm(f: Callable[[Tensor], Tensor], shape: tuple[int, ...], like: Tensor) -> float:
    """Return the largest singular value of the derivative `J` of a map at a gray image with slight noise.

    It is the scale of a nonlinear operator: that of `c f` is `c` times that of `f`. By 20 iterations of `v <- J^T J v`,
    which is accurate to a tenth, with `J v` from a difference, so one derivative of `f` suffices.

    Args:
        f: map of batches of images.
        shape: of one image.
        like: a tensor in the type and on the device of the images.

    Returns:
        The value; the root mean square singular value of the derivative that autograd knows of a piecewise constant
        map; 1 where autograd cannot follow `f`, and where the derivative is zero or not finite.
    """
    g = torch.Generator().manual_seed(0)
    x, v = (torch.randn((1, *shape), generator=g, dtype=torch.float64).to(like) for _ in range(2))
    size, x = 0.0, GRAY + CONTRAST * x
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        if (y := followed(f, x)) is None:
            return 1.0
        for _ in range(ROUNDS):
            v = (v / v.norm()).clone()
            with torch.no_grad():
                along = (f(x + STEP * v) - y) / STEP
            if flat := not bool(along.any()):
                along = torch.randn(y.shape, generator=g, dtype=torch.float64).to(y)
            (v,) = torch.autograd.grad(y, x, along, retain_graph=True)
            size = float(v.norm() / along.norm()) if flat else math.sqrt(float(v.norm()))
            if size == 0 or not math.isfinite(size):
                return 1.0
    return size


def _grown(alphas: list[float], betas: list[float], t: float, needed: float) -> bool:
    """Return whether `p_k(t)` reaches a value, for `t` beyond the largest eigenvalue of `T_k`."""
    p, p_before, beta_before = 1.0, 0.0, 0.0
    for alpha, beta in zip(alphas, betas, strict=True):
        p, p_before = ((t - alpha) * p - beta_before * p_before) / beta, p
        beta_before = beta
    return p >= needed
