"""Divide-and-conquer posterior sampling (DCPS): a sequence of intermediate posteriors, each close to the last one.

The levels are divided into blocks. The target of a block that ends at level `e` is the posterior with the potential

    g_e(x_e) = N(y; A(x_e), s^2 (1 + sigma_e^2) I)

(in variance-preserving coordinates, for data on [-1, 1]: `N(sqrt(abar_e) y; A(x), s^2 I)`). A block begins with
Langevin steps on `p_t(x_t) g_e(m_e(x_t))`, where `m_e` is the mean of DDIM's transition from `t` to `e`. Then each step
draws from a Gaussian fitted to

    q(x_{t-1} | x_t, E[x_0 | x_t]) E[g_e(x_e)],      x_e by DDIM's transition from t - 1 to e.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from ..transitions import ddim_coefficients, langevin_step, tweedie_score
from .common.levels import ddpm_levels
from .common.run import Run
from .common.search import Range, Ranges
from .common.splitting import noise_std
from .common.variational import fit
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class DCPS(IterativeSolver):
    """Divide-and-conquer posterior sampling, for any differentiable operator and Gaussian noise.

    Attributes:
        steps: number of noise levels; the authors take 300.
        blocks: number of blocks; the authors take 3.
        moves: gradient steps of each fit, with one network evaluation each; the authors take 2.
        rate: Adam's step size, in standard deviations of the transition.
        langevin: Langevin steps at the beginning of each block; the authors take 10.
        gamma: Langevin's step size, in variance-preserving coordinates; the authors take 0.001.

    References:
        Divide-and-Conquer Posterior Sampling for Denoising Diffusion Priors (Janati et al., 2024),
        https://arxiv.org/abs/2403.11407, algorithm 1.

    Differs:
        The authors' code normalises gradients over each image, or uses Adam with one absolute step size; here Adam's
        steps are in units of the transition's standard deviation. The last step, to level 0, denoises without data;
        theirs stops one level before it.

    Example:
        >>> DCPS(steps=30, blocks=3, moves=2, langevin=4).evaluations
        96
    """

    steps: int = 100
    blocks: int = 3
    moves: int = 2
    rate: float = 0.2
    langevin: int = 5
    gamma: float = 0.01

    name: ClassVar[str] = "dcps"
    summary: ClassVar[str] = "divide and conquer: variational steps through intermediate posteriors"
    paper: ClassVar[str] = "Janati et al. 2024"
    needs: ClassVar[frozenset[str]] = frozenset({"gaussian", "vjp"})
    lower: ClassVar[str] = "rate"
    search: ClassVar[Ranges] = {"rate": Range(0.02, 1.0, log=True), "gamma": Range(1e-3, 0.1, log=True)}

    def __post_init__(self) -> None:
        for name in ("steps", "blocks", "moves"):
            check_count(self, name)
        check_count(self, "langevin", 0)
        check_number(self, "rate", 0, positive=True)
        check_number(self, "gamma", 0, positive=True)

    @property
    def evaluations(self) -> int:
        """One for each step, `moves` for each fit that does not end a block, and the Langevin steps."""
        blocks = min(self.blocks, self.steps)
        return self.steps + (self.steps - blocks) * self.moves + blocks * self.langevin

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels uniform in the time of the variance-preserving SDE."""
        return ddpm_levels(self.steps, prior)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Draw the next state, after Langevin steps at the beginning of a block."""
        blocks = min(self.blocks, self.steps)
        ends = [self.steps * b // blocks for b in range(blocks + 1)]
        end = next(e for e in ends if e > i)
        sigma, sigma_next, sigma_end = run.levels[i], run.levels[i + 1], run.levels[end]
        if i in ends:
            x = self._langevin(run, x, sigma, sigma_end)
        x0 = run.denoise(x, sigma)
        if sigma_next == 0:
            return x0
        c, s = ddim_coefficients(sigma, sigma_next, 1.0)

        def log_potential(z: Tensor) -> Tensor:
            if end == i + 1:
                return self._log_g(run, z, sigma_end)
            ahead = run.denoise(z, sigma_next)
            c, s = ddim_coefficients(sigma_next, sigma_end, 1.0)
            return self._log_g(run, ahead + c * (z - ahead) + s * run.randn(z), sigma_end)

        return fit(run, x0 + c * (x - x0), s, log_potential, moves=self.moves, rate=self.rate)

    def _log_g(self, run: Run, x: Tensor, sigma: float) -> Tensor:
        variance = noise_std(run, floor=True) ** 2 * (1 + (sigma / run.unit) ** 2)
        return -run.problem.residual(x).square().flatten(1).sum(1) / (2 * variance)

    def _langevin(self, run: Run, x: Tensor, sigma: float, sigma_end: float) -> Tensor:
        c, _ = ddim_coefficients(sigma, sigma_end, 1.0)
        size = math.hypot(run.unit, sigma)  # one unit of variance-preserving coordinates
        gamma = self.gamma * size**2
        for _ in range(self.langevin):
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                x0 = run.denoise(leaf, sigma)
                (g,) = torch.autograd.grad(self._log_g(run, x0 + c * (leaf - x0), sigma_end).sum(), leaf)
            g = g + tweedie_score(x, x0.detach(), sigma)
            length = g.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
            x = langevin_step(x, g / (1 + gamma * length / size), gamma, run.randn(x))  # tamed, so the drift is bounded
        return x
