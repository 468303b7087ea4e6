"""The likelihood times a Gaussian: the step of splitting methods.

A splitting method uses the prior only in its denoiser, and the measurement only in

    p(x | y, v) in proportion to p(y | x) N(x; v, tau^2 I).

For a linear operator and Gaussian noise of standard deviation `s`, with `rho = s^2 / tau^2`, its mode and mean is

    v + (A^T A + rho I)^{-1} A^T (y - A v),

the pseudo-inverse's correction at `rho = 0`. One more solve gives an exact draw (perturb, then optimise): with `v' = v
+ tau n_1` and `y' = y + s n_2`,

    v' + (A^T A + rho I)^{-1} A^T (y' - A v')   has the distribution  p(x | y, v).

For other operators the mode is found by Gauss-Newton steps, each of which is the linear case for the linearised
operator, and the draw is the end of Langevin steps with Metropolis' test from the mode. For other noise they start at a
draw of the Gaussian approximation, see `metropolis`.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from ...noise import Gaussian, Independent
from ...operators.base import LinearOperator
from ...operators.numerics.linalg import least_squares
from ...problem import Problem
from .data_step import data_step
from .guidance import back_projected_residual, image_scale
from .initial_state import center
from .metropolis import Chain, barker_chain, gaussian_start, langevin_chain, log_target
from .run import Run

NOISELESS = 1e-5  # least noise of a density, in units of data on [-1, 1]; with less, single precision limits the solves
NEWTON = 4  # Gauss-Newton steps


def noise_std(run: Run, *, floor: bool = False) -> float:
    """Return the standard deviation of Gaussian noise; `floor` raises it so that a density exists."""
    noise = run.problem.noise
    assert isinstance(noise, Gaussian)
    return max(noise.std, least_noise(run)) if floor else noise.std


def least_noise(run: Run) -> float:
    """Return the noise that replaces zero noise where a density is needed, in units of the measurement."""
    return NOISELESS * run.unit * (run.problem.gain or 1.0)


def is_conjugate(problem: Problem) -> bool:
    """Return whether the likelihood is Gaussian in `x`: a linear operator and Gaussian noise."""
    return isinstance(problem.operator, LinearOperator) and isinstance(problem.noise, Gaussian)


def data_mode(run: Run, v: Tensor, tau: float | Tensor, *, noise_scale: float = 1.0) -> Tensor:
    """Return the mode of `p(y | x) N(x; v, tau^2 I)` for Gaussian noise, the proximal step at `v`, like `v`.

    Args:
        run: the batch.
        v: centres, `(N, C, H, W)`.
        tau: standard deviation around them, positive, a number or one for each image, `(N,)`.
        noise_scale: factor of the noise's standard deviation.
    """
    problem = run.problem
    if isinstance(problem.operator, LinearOperator):
        s = noise_scale * noise_std(run)
        rho = (s / tau) ** 2 if s > 0 else 0.0
        return v + data_step(problem, run.short_cut, v, rho)
    rho = (noise_scale * noise_std(run, floor=True) / tau) ** 2
    x, value = v, _objective(problem, v, v, rho)
    for _ in range(NEWTON):
        x, value = _gauss_newton(problem, x, v, rho, value)
    return x


def _objective(problem: Problem, x: Tensor, v: Tensor, rho: float | Tensor) -> Tensor:
    misfit = problem.residual(x).double().flatten(1).square().sum(1)
    return misfit + rho * (x - v).double().flatten(1).square().sum(1)


def _gauss_newton(problem: Problem, x: Tensor, v: Tensor, rho: float | Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise the linearised objective, then shorten the step until the true objective decreases."""
    # Reverse mode only: J^T u is linear in u, and its derivative along d is J d. Not every operator has forward mode.
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        measured = problem.measurement - problem.residual(leaf)  # zero where nothing was observed
        u = torch.zeros_like(measured, requires_grad=True)
        (transposed,) = torch.autograd.grad(measured, leaf, u, create_graph=True)

    def forward(d: Tensor) -> Tensor:
        return torch.autograd.grad(transposed, u, d, retain_graph=True)[0]

    def adjoint(r: Tensor) -> Tensor:
        return torch.autograd.grad(measured, leaf, r, retain_graph=True)[0]

    target = problem.residual(x) + forward(x - v)
    ahead = v + least_squares(forward, adjoint, target, rho=rho, tolerance=1e-3, max_iterations=30, truncates=True).x
    best = x
    for k in range(4):
        trial = x + 0.5**k * (ahead - x)
        new = _objective(problem, trial, v, rho)
        better = new < value
        best = torch.where(better.reshape(-1, *[1] * (x.ndim - 1)), trial, best)
        value = torch.where(better, new, value)
    return best, value


def first_estimate(run: Run) -> Tensor:
    """Return the initial image of a descent: the prior's mean, estimated at the highest level, moved to the data.

    It takes one evaluation. For a linear operator and Gaussian noise it is the posterior mean under a white prior.
    """
    c = center(run.problem, run.prior)
    mean = run.denoise(c, run.prior.sigma_max)
    return data_mode(run, mean, run.prior.std) if isinstance(run.problem.noise, Gaussian) else mean


def data_draw(run: Run, v: Tensor, tau: float | Tensor, *, moves: int) -> Tensor:
    """Return a draw from `p(y | x) N(x; v, tau^2 I)`, normalised, like `v`.

    It is exact for a linear operator and Gaussian noise. Otherwise it is the end of a Markov chain with that stationary
    distribution.

    Args:
        run: the batch.
        v: centres, `(N, C, H, W)`.
        tau: standard deviation around them, positive, a number or one for each image, `(N,)`.
        moves: length of the chain.
    """
    problem = run.problem
    if is_conjugate(problem):
        s = noise_std(run)
        moved = v + run.randn(v).mul_(image_scale(torch.as_tensor(tau, dtype=torch.float64), v))
        noise = run.randn(problem.measurement).mul_(s)
        return moved + data_step(problem, run.short_cut, moved, (s / tau) ** 2 if s > 0 else 0.0, noise=noise)
    return _metropolis(run, v, tau, moves)


def absorbed(run: Run, tau: float) -> bool:
    """Return whether `absorbed_draw` accepts `tau`: `tau ||A|| <= s / sqrt(2)`, with a conjugate data side."""
    return is_conjugate(run.problem) and 0 < run.problem.gain * tau <= noise_std(run) / math.sqrt(2)


def absorbed_draw(run: Run, v: Tensor, tau: float) -> Tensor:
    """Return a draw of `z` given `v` and `y`, where the coupling `N(z; v, tau^2 I)` is a part of the data's noise.

    With `y = A z + w`, `w ~ N(0, s^2 I - tau^2 A A^T)`, the data given `v` have noise of variance `s^2`. The term
    `tau^2 A A^T` that splitting adds otherwise is absent. Then

        z ~ N(v + A^T (y - A v) tau^2 / s^2,  tau^2 (I - B)),      B = A^T A tau^2 / s^2,

    with the square root of `I - B` in closed form where a closed-form SVD is used, else by four terms of its series.

    Args:
        run: the batch, for which `absorbed` holds.
        v: centres, `(N, C, H, W)`.
        tau: the coupling.
    """
    operator, data = run.problem.operator, run.short_cut
    assert isinstance(operator, LinearOperator)
    share = (tau / noise_std(run)) ** 2
    n = run.randn(v)
    mean = torch.add(v, back_projected_residual(run, v), alpha=share)
    if data is not None:
        e = data.spectrum.Vt(n) * (1 - share * data.s**2).sqrt_().sub_(1)
        return torch.add(mean, n + data.spectrum.V(e), alpha=tau)
    power, root = n, n
    for coefficient in (-1 / 2, -1 / 8, -1 / 16):
        power = share * operator.normal(power)
        root = torch.add(root, power, alpha=coefficient)
    return torch.add(mean, root, alpha=tau)


def _metropolis(run: Run, v: Tensor, tau: float | Tensor, moves: int) -> Tensor:
    problem = likelihood_problem(run)
    if isinstance(problem.operator, LinearOperator) and isinstance(problem.noise, Independent):
        chain = gaussian_start(run, problem, v, tau)
        return barker_chain(run, chain, log_target(problem, v, tau, pixelwise=chain.pixelwise), moves)
    x = data_mode(run, v, tau) if isinstance(problem.noise, Gaussian) else v
    # With the first step size the gradient moves the image by its spread; the chain then adapts the size.
    gamma = (0.3 * torch.as_tensor(tau, dtype=torch.float64).to(v.device)).square().expand(len(v))
    gamma = gamma.reshape(-1, *[1] * (v.ndim - 1))
    return langevin_chain(
        run, Chain(x, torch.ones_like(x[:, :1, :1, :1]), gamma, rate=3.0), log_target(problem, v, tau), moves
    )


def likelihood_score(run: Run, x: Tensor, *, std: float | None = None) -> Tensor:
    """Return `grad log p(y | x)` of each image, like `x`; noiseless data count as almost noiseless.

    Args:
        run: the batch.
        x: images, `(N, C, H, W)`.
        std: standard deviation instead of that of the noise.
    """
    problem = likelihood_problem(run)
    if isinstance(problem.noise, Gaussian):
        return back_projected_residual(run, x) / (std or problem.noise.std) ** 2
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(problem.log_likelihood(leaf).sum(), leaf)
    return g


def likelihood_problem(run: Run) -> Problem:
    """Return the problem with noise that has a density: noiseless data count as almost noiseless."""
    problem = run.problem
    if isinstance(problem.noise, Gaussian) and problem.noise.std < least_noise(run):
        return dataclasses.replace(problem, noise=Gaussian(least_noise(run)))
    return problem
