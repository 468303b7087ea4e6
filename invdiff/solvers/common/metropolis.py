"""Markov chains for `p(x | y, v) in proportion to p(y | x) N(x; v, tau^2 I)` where no exact draw exists.

Both steps here have a metric `P` (diagonal, fixed during a chain), and with Metropolis' test they leave the
distribution `pi` unchanged for any `P` and any step size. With `s = grad log pi`,

    Langevin    x' = x + gamma P s(x) + sqrt(2 gamma P) n
                accept with probability min(1, pi(x') q(x | x') / (pi(x) q(x' | x)))
    Barker      x' = x + d,   d_i = z_i with probability 1 / (1 + exp(-z_i s_i(x))), else -z_i,   z ~ N(0, gamma P)
                accept with probability min(1, pi(x') / pi(x) prod_i (1 + exp(-d_i s_i(x))) / (1 + exp(d_i s_i(x'))))

Barker's is robust to the steep densities of few photons.

For a linear operator and noise of variance `V(z)` the chain starts at a draw of the Gaussian approximation of `pi`,

    N(m, H^-1),      H = A^T W A + I / tau^2,      H m = A^T W y + v / tau^2,      W = 1 / V(y)

so it has to correct only the difference. `1 / P` is a diagonal that bounds `H` where `A` is not negative,
`A^T W A 1 + 1 / tau^2`: the curvature of photon noise differs between pixels by orders of magnitude. If each entry of
the measurement belongs to one pixel, the pixels of `pi` are independent. Then each has a chain of its own, with its own
test and step size; one test for thousands of pixels would force tiny steps.

Step sizes adapt to the acceptance rate, those of pixels in the first half of the chain only.

References:
    Exponential Convergence of Langevin Distributions and Their Discrete Approximations (Roberts, Tweedie, 1996),
    https://doi.org/10.2307/3318418; Langevin Diffusions and Metropolis-Hastings Algorithms (Roberts, Stramer, 2002),
    https://doi.org/10.1023/A:1023562417138: the metric. The Barker Proposal: Combining Robustness and Efficiency in
    Gradient-Based MCMC (Livingstone, Zanella, 2022), https://doi.org/10.1111/rssb.12482, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ...noise import Independent
from ...operators import Gain, Identity, Inpainting
from ...operators.base import LinearOperator
from ...operators.numerics.linalg import least_squares
from ...problem import Problem
from ...transitions import langevin_log_acceptance
from .guidance import image_scale
from .run import Run

ACCEPTED = 0.574
"""Acceptance rate of Langevin steps that is best for many dimensions."""

PIXELWISE = (Identity, Inpainting, Gain)
"""Operators whose measurement has one entry for each pixel."""

PIXEL_MOVES = 30
"""Longest chain of one pixel: its steps are so long that each forgets most of the last."""

Target = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From images to `log pi`, in float64, of each image, `(N, 1, 1, 1)`, or each pixel, and to the scores."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Where a chain starts, and how it moves.

    Attributes:
        start: `(N, C, H, W)`.
        metric: `P`, broadcastable to `start`.
        gamma: first step size, `(N, 1, 1, 1)` or like `start`.
        rate: how fast the step sizes adapt.
        pixelwise: whether each pixel has its own test.
    """

    start: Tensor
    metric: Tensor
    gamma: Tensor
    rate: float
    pixelwise: bool = False


def is_pixelwise(problem: Problem) -> bool:
    """Return whether the pixels are independent given the measurement and a white Gaussian prior."""
    return isinstance(problem.operator, PIXELWISE) and isinstance(problem.noise, Independent)


def weights(problem: Problem) -> Tensor:
    """Return `W`, like the measurement, 0 where nothing was observed."""
    noise, y = problem.noise, problem.measurement
    assert isinstance(noise, Independent)
    variance = noise.variance(y)
    w = 1 / variance.clamp(min=torch.finfo(variance.dtype).tiny ** 0.5)
    observed = problem.operator.observed
    return w if observed is None else w * observed.to(w)


def gaussian_start(run: Run, problem: Problem, v: Tensor, tau: float | Tensor) -> Chain:
    """Return the chain that starts at a draw of the Gaussian approximation, for a linear operator."""
    operator, y = problem.operator, problem.measurement
    assert isinstance(operator, LinearOperator)
    w, scale = weights(problem), image_scale(torch.as_tensor(tau, dtype=torch.float64), v)
    white = 1 / scale**2
    pixelwise = is_pixelwise(problem)
    root = w.sqrt()
    moved = v + scale * run.randn(v)
    target = root * (y - operator(moved)) + (w > 0) * run.randn(y)
    curvature = operator.adjoint(w * operator(torch.ones_like(v)))
    if pixelwise:
        x = moved + operator.adjoint(root * target) / (curvature + white)
    else:
        solution = least_squares(
            lambda d: root * operator(d),
            lambda r: operator.adjoint(root * r),
            target,
            rho=(1 / torch.as_tensor(tau, dtype=torch.float64) ** 2).to(v.device),
            tolerance=1e-3,
            max_iterations=50,
            truncates=True,
        )
        x = moved + solution.x
        if not bool((curvature >= 0).all()):
            curvature = (w.flatten(1).mean(1) * problem.gain**2).reshape(-1, *[1] * (v.ndim - 1))
    metric = 1 / (curvature + white)
    shape = x.shape if pixelwise else (len(x), *[1] * (x.ndim - 1))
    first = 3.0 if pixelwise else 2.0 * x[0].numel() ** (-1 / 3)
    gamma = torch.full(shape, first, dtype=x.dtype if pixelwise else torch.float64, device=x.device)
    return Chain(x, metric, gamma, rate=1.5 if pixelwise else 1.0, pixelwise=pixelwise)


def log_target(problem: Problem, v: Tensor, tau: float | Tensor, *, pixelwise: bool = False) -> Target:
    """Return `log p(y | x) N(x; v, tau^2 I)` up to a constant, and its score."""
    ones = [1] * (v.ndim - 1)
    spread = tau if isinstance(tau, float | int) else image_scale(tau, v)

    def of_pixels(x: Tensor) -> Tensor:
        assert isinstance(problem.noise, Independent)
        logs = problem.noise.log_density(problem.measurement, problem.operator(x))
        if (observed := problem.operator.observed) is not None:
            logs = torch.where(observed.to(x.device).expand(logs.shape[1:]), logs, 0)
        return logs - (x - v) ** 2 / (2 * spread**2)

    def of_images(x: Tensor) -> Tensor:
        return problem.log_likelihood(x) - ((x - v) ** 2).flatten(1).sum(1) / (2 * tau**2)

    def value_and_score(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            value = of_pixels(leaf) if pixelwise else of_images(leaf)
            (score,) = torch.autograd.grad(value.sum(), leaf)
        value = value.detach()
        return (value if pixelwise else value.double().reshape(-1, *ones)), score

    return value_and_score


def langevin_chain(run: Run, chain: Chain, target: Target, moves: int) -> Tensor:
    """Return the end of a chain of Langevin steps with a test for each image, `(N, C, H, W)`."""
    x, metric = chain.start, chain.metric
    value, score = target(x)
    log_gamma = chain.gamma.log()
    for k in range(moves):
        gamma = log_gamma.exp()
        wide = (gamma * metric).to(x)
        trial = x + wide * score + (2 * wide).sqrt() * run.randn(x)
        new, new_score = target(trial)
        change = (new - value).flatten()
        ratio = langevin_log_acceptance(x, score, trial, new_score, change, gamma.flatten(), metric)
        ratio = torch.nan_to_num(ratio, nan=-torch.inf).reshape(value.shape)
        u = run.streams.rand(torch.empty((len(x), 1), dtype=torch.float64)).reshape(ratio.shape).to(x.device)
        accept = u.log() < ratio
        x, score, value = (torch.where(accept, a, b) for a, b in ((trial, x), (new_score, score), (new, value)))
        log_gamma = log_gamma + chain.rate / (1 + k) ** 0.6 * (ratio.clamp(max=0).exp() - ACCEPTED)
    return x


def barker_chain(run: Run, chain: Chain, target: Target, moves: int) -> Tensor:
    """Return the end of a chain of Barker's steps with a test for each image, or each pixel, `(N, C, H, W)`."""
    x, log_gamma = chain.start, chain.gamma.log()
    moves = min(moves, PIXEL_MOVES) if chain.pixelwise else moves
    value, score = target(x)
    for k in range(moves):
        z = (log_gamma.exp() * chain.metric).sqrt().to(x) * run.randn(x)
        d = torch.where(run.streams.rand(x) < torch.sigmoid(z * score), z, -z)
        new, new_score = target(x + d)
        ratio = logsigmoid(-d * new_score) - logsigmoid(d * score)
        if not chain.pixelwise:
            ratio = ratio.double().flatten(1).sum(1).reshape(value.shape)
        ratio = torch.nan_to_num(new - value + ratio, nan=-torch.inf)
        u = run.streams.rand(torch.empty(value.shape, dtype=value.dtype)).to(x.device)
        accept = u.log() < ratio
        x, score, value = (torch.where(accept, a, b) for a, b in ((x + d, x), (new_score, score), (new, value)))
        if not chain.pixelwise or 2 * k < moves:
            log_gamma = log_gamma + chain.rate / (1 + k) ** 0.6 * (ratio.clamp(max=0).exp() - ACCEPTED)
    return x
