"""Moment matching posterior sampling (MMPS), also Tweedie moment projection (TMPD).

The distribution of the clean image given the noisy one is approximated by a Gaussian with the covariance of Tweedie's
formula, with the Jacobian `J` of the denoiser `x0_hat(x_t)`:

    E[x_0 | x_t] = x0_hat,        Cov[x_0 | x_t] = C_t = sigma_t^2 J,
    p(y | x_t) ~ N(y; A x0_hat, A C_t A^T + s^2 I),
    g = J^T A^T (A C_t A^T + s^2 I)^{-1} (y - A x0_hat),
    E[x_0 | x_t, y] ~ x0_hat + sigma_t^2 g,

The inverse is computed by conjugate gradients; each iteration takes one vector-Jacobian product of the network. The
estimate is exact for a Gaussian prior and a linear operator; a nonlinear `A` is replaced by its derivative at `x0_hat`.
The remaining error is that of the sampler with this estimate: by default Heun steps on the probability flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..errors import UserError
from ..operators.base import LinearOperator, Operator
from ..operators.numerics.linalg import conjugate_gradients
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import karras_levels
from ..transitions import ddim_step, heun_step
from .common.levels import level_range
from .common.run import Run
from .common.search import SHARE, Ranges
from .common.splitting import noise_std
from .iterative import IterativeSolver

LAST = 0.2
"""The last level is at most this fraction of the data's noise: the last step returns a mean, without the variance that
is left there, a fraction `LAST^2 / (1 + LAST^2)` of the posterior's, 4 %."""


ASYMMETRY = 0.05
"""Cosine of consecutive residuals above which conjugate gradients stop, for the Jacobian is not symmetric.

That of an exact denoiser is. With a network, and without this limit, five iterations gave residuals of 12 times the
noise in inpainting."""


@dataclass(frozen=True, kw_only=True)
class MMPS(IterativeSolver):
    """Guidance with the covariance from the network's Jacobian, for any differentiable operator.

    Attributes:
        steps: number of noise levels; each takes `order` network evaluations, the last one a single one.
        iterations: largest number of conjugate gradient steps at a level, each a vector-Jacobian product; the authors
            use 1 to 3 for images.
        tolerance: relative residual at which these stop.
        order: 2 for Heun's steps along the probability flow, 1 for DDIM's.
        eta: fraction of the ancestral step's noise, for `order = 1`.

    References:
        Learning Diffusion Priors from Observations by Expectation Maximization (Rozet et al., 2024),
        https://arxiv.org/abs/2405.13712, algorithm 2 and equation 20. Tweedie Moment Projected Diffusions For Inverse
        Problems (Boys et al., 2023), https://arxiv.org/abs/2310.06721, equation 9.

    Differs:
        Rozet et al. use DDPM's steps, or a predictor and a corrector. On the exact problems 50 Heun steps have an error
        of 1 % in the variance, 100 ancestral steps one of 28 %. The authors' code (azula) has one iteration of GMRES by
        default, because `J` of a network is not exactly symmetric; here the iteration stops for an image in which `J`
        is not positive or not symmetric. Boys et al. replace the covariance by row sums or its diagonal for images. A
        nonlinear operator has its derivative in both places, where azula's code applies the operator itself in one of
        them; its noiseless data count as almost noiseless, for they need not be in the range of the derivative.

    Example:
        >>> MMPS(iterations=20).iterations
        20
    """

    steps: int = 50
    iterations: int = 5
    tolerance: float = 1e-3
    order: int = 2
    eta: float = 0.0

    name: ClassVar[str] = "mmps"
    summary: ClassVar[str] = "diffusion guided with Tweedie's covariance, MMPS/TMPD"
    paper: ClassVar[str] = "Rozet et al. 2024, Boys et al. 2023"
    needs: ClassVar[frozenset[str]] = frozenset({"gaussian", "vjp"})
    search: ClassVar[Ranges] = {"eta": SHARE}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_count(self, "iterations")
        check_number(self, "tolerance", 0, 1)
        check_count(self, "order")
        check_number(self, "order", 1, 2)
        check_number(self, "eta", 0, 1)
        if self.order == 2 and self.eta != 0:
            raise UserError(f"MMPS: eta: expected 0 for Heun's deterministic steps, got {self.eta}; set order=1")

    @property
    def evaluations(self) -> int:
        """One evaluation for each level for `order = 1`; two for `order = 2`, except at the last level."""
        return self.order * (self.steps - 1) + 1

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return the levels of Karras et al. (2022) within the prior's range."""
        return karras_levels(self.steps, *level_range(prior, problem, LAST))

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one step towards the guided estimate."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        if self.order == 2:
            return heun_step(lambda z, level: self.guided(run, z, level), x, sigma, sigma_next)
        noise = run.randn(x) if self.eta > 0 else None
        return ddim_step(x, self.guided(run, x, sigma), sigma, sigma_next, self.eta, noise)

    def guided(self, run: Run, x: Tensor, sigma: float) -> Tensor:
        """Return `x0_hat + sigma^2 g`, an estimate of `E[x_0 | x_t, y]`."""
        s2 = noise_std(run, floor=not isinstance(run.problem.operator, LinearOperator)) ** 2
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            x0 = run.denoise(leaf, sigma)
        point = x0.detach()
        forward, adjoint = linearised(run.problem.operator, point)

        def lifted(w: Tensor) -> Tensor:
            """Return `C_t A^T w = sigma^2 J^T A^T w`."""
            (product,) = torch.autograd.grad(x0, leaf, adjoint(w), retain_graph=True)
            return sigma**2 * product

        solution = conjugate_gradients(
            lambda w: forward(lifted(w)) + s2 * w,
            run.problem.residual(point),
            tolerance=self.tolerance,
            max_iterations=self.iterations,
            truncates=True,
            least=s2,
            asymmetry=ASYMMETRY,
        )
        return point + lifted(solution.x)


def linearised(operator: Operator, x: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return the derivative of an operator at `x` and its transpose, zero where nothing is observed."""
    seen = operator.observed

    def observed(y: Tensor) -> Tensor:
        return y if seen is None else y * seen.to(y)

    if isinstance(operator, LinearOperator):
        return lambda v: observed(operator.forward(v)), lambda w: operator.adjoint(observed(w))

    def adjoint(w: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (product,) = torch.autograd.grad(operator(leaf), leaf, observed(w))
        return product

    def forward(v: Tensor) -> Tensor:
        # The product with J is the derivative, in w, of the product with J^T, which is linear in w.
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            y = operator(leaf)
            w = torch.zeros_like(y).requires_grad_()
            (transposed,) = torch.autograd.grad(y, leaf, w, create_graph=True)
            (product,) = torch.autograd.grad(transposed, w, v)
        return observed(product)

    return forward, adjoint
