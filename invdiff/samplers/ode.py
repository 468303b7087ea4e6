"""The probability-flow ODE: Euler, Heun (with EDM's churn), and adaptive solvers.

    dx / d sigma = (x - denoise(x, sigma)) / sigma,      or      dx / d log sigma = x - denoise(x, sigma).

It transports `p_sigma` from level to level without noise. Euler's global error is of order 1 in the spacing of the
levels, Heun's of order 2. Churn first raises the level to `sigma_hat = (1 + gamma) sigma` and steps down from there.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..specs import Choices
from ..transitions import ddim_step, heun_step, raise_noise
from .base import Sampler, Walk


@dataclass(frozen=True, kw_only=True)
class Euler(Sampler):
    """Euler's method along the probability flow.

    Attributes:
        steps: number of levels, and of evaluations.
        spacing: of the levels; by default that of Karras.
        sigma_min: lowest positive level; by default that of the prior.
        sigma_max: highest level; by default that of the prior.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        https://arxiv.org/abs/2206.00364, section 3. The step is DDIM's with `eta = 0`.

    Example:
        >>> Euler(steps=30).steps
        30
    """

    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Take one step."""
        sigma, sigma_next = walk.levels[i], walk.levels[i + 1]
        return ddim_step(x, walk.denoise(x, sigma), sigma, sigma_next, 0.0, None)


@dataclass(frozen=True, kw_only=True)
class Heun(Sampler):
    """EDM's sampler: Heun's method along the probability flow, with or without churn.

    Attributes:
        steps: number of levels; evaluations are `2 steps - 1`.
        churn: `S_churn`; 0 is deterministic. Each step raises the level by `1 + min(churn / steps, sqrt(2) - 1)`.
        churn_min: `S_tmin`, lowest level that is raised, for data on [-1, 1]; it is scaled to the prior's data.
        churn_max: `S_tmax`, highest such level.
        churn_noise: `S_noise`, standard deviation of the added noise.
        spacing: of the levels; by default that of Karras.
        sigma_min: lowest positive level; by default that of the prior.
        sigma_max: highest level; by default that of the prior.

    References:
        Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        https://arxiv.org/abs/2206.00364, algorithms 1 and 2.

    Example:
        >>> Heun(churn=40, churn_min=0.05, churn_max=50, churn_noise=1.003).steps
        18
    """

    steps: int = 18
    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float = math.inf
    churn_noise: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("churn", "churn_min", "churn_noise"):
            check_number(self, name, 0)
        if self.churn_max != math.inf:
            check_number(self, "churn_max", 0)

    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Raise the noise by churn, then take a Heun step down."""
        sigma, sigma_next = walk.levels[i], walk.levels[i + 1]
        if self.churn > 0 and self.churn_min <= sigma / walk.unit <= self.churn_max:
            high = sigma * (1 + min(self.churn / self.steps, math.sqrt(2) - 1))
            x, sigma = raise_noise(x, sigma, high, self.churn_noise * walk.randn()), high
        return heun_step(walk.denoise, x, sigma, sigma_next)


Flow: TypeAlias = Callable[[float, Tensor], Tensor]
Integrator: TypeAlias = Callable[[Flow, Tensor, float, float, float, float], Tensor]
"""`(flow, x, begin, end, rtol, atol)` to the state at `end`; the flow takes `(time, x)`."""


def integrate_scipy(
    flow: Flow, x: Tensor, begin: float, end: float, rtol: float, atol: float, *, method: str = "RK45"
) -> Tensor:
    """Integrate by `scipy.integrate.solve_ivp`, in float64 on the CPU.

    Raises:
        RuntimeError: the step size fell below the spacing of floating-point numbers.
    """

    def rates(t: float, flat: np.ndarray) -> np.ndarray:
        state = torch.from_numpy(flat).reshape(x.shape).to(x)
        return flow(t, state).double().cpu().numpy().ravel()

    first = x.double().cpu().numpy().ravel()
    solution = solve_ivp(rates, (begin, end), first, method=method, rtol=rtol, atol=atol)
    if not solution.success:
        raise RuntimeError(f"integrate_scipy: {solution.message} raise rtol or sigma_min")
    return torch.from_numpy(solution.y[:, -1].copy()).reshape(x.shape).to(x)


def integrate_torchdiffeq(flow: Flow, x: Tensor, begin: float, end: float, rtol: float, atol: float) -> Tensor:
    """Integrate by torchdiffeq's Dormand-Prince, on the device of `x`.

    Raises:
        ModuleNotFoundError: torchdiffeq is not installed.
    """
    try:
        torchdiffeq = importlib.import_module("torchdiffeq")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "integrate_torchdiffeq: torchdiffeq is not installed; pip install 'invdiff[ode]', or use integrate_scipy"
        ) from error
    times = torch.tensor([begin, end], dtype=torch.float64, device=x.device)
    path: Tensor = torchdiffeq.odeint(lambda t, y: flow(float(t), y), x, times, rtol=rtol, atol=atol, method="dopri5")
    return path[-1]


@dataclass(frozen=True, kw_only=True)
class AdaptiveODE(Sampler):
    """The probability flow by a solver with adaptive steps, in the time `log sigma`.

    Attributes:
        rtol: relative tolerance of a step.
        atol: absolute tolerance of a step, in units of `prior.std`.
        together: number of samples that share their steps. With 1, the default, a sample is the same in any batch; a
            larger number is faster and agrees within the tolerance.
        integrator: the solver.
        steps: not used.
        spacing: not used.
        sigma_min: lowest positive level; by default that of the prior.
        sigma_max: highest level; by default that of the prior.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
        https://arxiv.org/abs/2011.13456, section 4.3 and appendix D.4.

    Differs:
        The time is `log sigma`, in which the flow is not stiff; the authors use the SDE's time. They integrate a whole
        batch at once.

    Example:
        >>> AdaptiveODE(rtol=1e-5).rtol
        1e-05
    """

    choices: ClassVar[Choices] = {
        **Sampler.choices,
        "integrator": {"scipy": integrate_scipy, "torchdiffeq": integrate_torchdiffeq},
    }

    rtol: float = 1e-4
    atol: float = 1e-4
    together: int = 1
    integrator: Integrator = integrate_scipy

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "together")
        for name in ("rtol", "atol"):
            check_number(self, name, 0, positive=True)

    def levels(self, prior: Prior) -> Tensor:
        """Return the two ends of the flow, and 0."""
        low, high = self.ends(prior)
        return torch.tensor([high, low, 0.0], dtype=torch.float64)

    def step(self, walk: Walk, x: Tensor, i: int) -> Tensor:
        """Integrate from the highest level to the lowest, or denoise."""
        sigma, sigma_next = walk.levels[i], walk.levels[i + 1]
        if sigma_next == 0:
            return walk.denoise(x, sigma)

        def flow(log_sigma: float, state: Tensor) -> Tensor:
            return state - walk.denoise(state, math.exp(log_sigma))

        ends, atol = (math.log(sigma), math.log(sigma_next)), self.atol * walk.prior.std
        return torch.cat(
            [self.integrator(flow, part, *ends, self.rtol, atol) for part in torch.split(x, self.together)]
        )
