"""MGPS and DCPS against their papers' steps, written in the papers' own coordinates, with torch's Adam."""

import math
from collections.abc import Callable

import torch
from papers import check, world
from torch import Tensor

from invdiff.schedules import VP
from invdiff.solvers import DCPS, MGPS


def test_mgps() -> None:
    """Torch's Adam on the divergence, in units of the bridge's deviation; noise levels and midpoint in abar."""
    w = world(0.05)
    alpha, moves, rate = 0.5, 3, 0.2
    vp = VP()

    def bridge(low: Tensor, high: Tensor, s: float, m: float, t: float) -> tuple[Tensor, float]:
        """Return the moments of `z_m` given `z_s` and `z_t`, abar falling from s to t."""
        of_low = math.sqrt(m / s) * (1 - t / m) / (1 - t / s)
        of_high = math.sqrt(t / m) * (1 - m / s) / (1 - t / s)
        return of_low * low + of_high * high, math.sqrt((1 - m / s) * (1 - t / m) / (1 - t / s))

    def step(z: Tensor, now: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        x0 = w.clean(z, now)
        if after == 1:
            return x0
        level = float(vp.sigma(alpha * vp.time(math.sqrt((1 - after) / after))))
        middle = 1 / (1 + max(level, 0.01) ** 2)  # not below the chain
        mean, std = bridge(x0, z, 1.0, middle, now)
        centre = mean.clone().requires_grad_()
        log_std = torch.full_like(mean, math.log(std)).requires_grad_()
        adam = torch.optim.Adam([{"params": [centre], "lr": rate * std}, {"params": [log_std], "lr": rate}])
        for _ in range(moves):
            adam.zero_grad()
            sample = centre + log_std.exp() * draw()
            misfit = (w.y - w.a @ w.clean(sample, middle)).square().sum() / (2 * w.noise**2)
            kl = ((centre - mean).square() + (2 * log_std).exp()).sum() / (2 * std**2) - log_std.sum()
            (kl + misfit).backward()
            adam.step()
        sample = (centre + log_std.exp() * draw()).detach()
        mean, std = bridge(sample, z, middle, after, now)
        return mean + std * draw()

    check(w, MGPS(steps=12, alpha=alpha, moves=moves, rate=rate), step, tolerance=1e-6)


def test_dcps() -> None:
    """Blocks, tamed Langevin steps and fits of algorithm 1; data of a block's end are `sqrt(abar_e) y`."""
    w = world(0.05)
    solver = DCPS(steps=9, blocks=3, moves=2, rate=0.1, langevin=2, gamma=0.01)
    abars = [1 / (1 + (s / 0.5) ** 2) for s in solver.levels(w.problem, w.prior).tolist()]

    def log_g(z: Tensor, end: float) -> Tensor:
        return -(math.sqrt(end) * w.y - w.a @ z).square().sum() / (2 * w.noise**2)

    def transition(z: Tensor, now: float, after: float) -> tuple[Tensor, float]:
        """Return DDPM's mean and deviation."""
        of_x0 = math.sqrt(after) * (1 - now / after) / (1 - now)
        of_z = math.sqrt(now / after) * (1 - after) / (1 - now)
        return of_x0 * w.clean(z, now) + of_z * z, math.sqrt((1 - now / after) * (1 - after) / (1 - now))

    def step(z: Tensor, now: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        i = min(range(len(abars)), key=lambda k: abs(abars[k] - now))
        end = abars[3 * (i // 3 + 1)]
        for _ in range(2 if i % 3 == 0 else 0):
            leaf = z.detach().requires_grad_()
            (g,) = torch.autograd.grad(log_g(transition(leaf, now, end)[0], end), leaf)
            g = g - w.eps(z, now) / math.sqrt(1 - now)
            z = z + 0.01 * g / (1 + 0.01 * g.norm()) + math.sqrt(2 * 0.01) * draw()
        if after == 1:
            return w.clean(z, now)
        mean, std = transition(z, now, after)
        centre = mean.clone().requires_grad_()
        log_std = torch.full_like(mean, math.log(std)).requires_grad_()
        adam = torch.optim.Adam([{"params": [centre], "lr": 0.1 * std}, {"params": [log_std], "lr": 0.1}])
        for _ in range(2):
            adam.zero_grad()
            sample = centre + log_std.exp() * draw()
            if after != end:
                ahead, spread = transition(sample, after, end)
                sample = ahead + spread * draw()
            kl = ((centre - mean).square() + (2 * log_std).exp()).sum() / (2 * std**2) - log_std.sum()
            (kl - log_g(sample, end)).backward()
            adam.step()
        return (centre + log_std.exp() * draw()).detach()

    check(w, solver, step, tolerance=1e-6)
