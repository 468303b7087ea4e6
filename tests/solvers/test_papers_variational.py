"""MGPS, MGDM and DCPS against their papers' steps, written in the papers' own coordinates, with torch's Adam."""

import math
from collections.abc import Callable

import torch
from papers import World, check, world
from torch import Tensor

from invdiff.schedules import VP
from invdiff.solvers import DCPS, MGDM, MGPS

Draw = Callable[[], Tensor]


def bridge(low: Tensor, high: Tensor, s: float, m: float, t: float) -> tuple[Tensor, float]:
    """Return the moments of `z_m` given `z_s` and `z_t`; `s`, `m` and `t` are their abar, which fall."""
    of_low = math.sqrt(m / s) * (1 - t / m) / (1 - t / s)
    of_high = math.sqrt(t / m) * (1 - m / s) / (1 - t / s)
    return of_low * low + of_high * high, math.sqrt((1 - m / s) * (1 - t / m) / (1 - t / s))


def fitted(
    mean: Tensor, std: float, potential: Callable[[Tensor], Tensor], moves: int, rate: float, draw: Draw
) -> Tensor:
    """Minimise the divergence from `N(mean, std^2)` less the potential, and draw."""
    centre = mean.detach().clone().requires_grad_()
    log_std = torch.full_like(mean, math.log(std)).requires_grad_()
    adam = torch.optim.Adam([{"params": [centre], "lr": rate * std}, {"params": [log_std], "lr": rate}])
    for _ in range(moves):
        adam.zero_grad()
        kl = ((centre - mean).square() + (2 * log_std).exp()).sum() / (2 * std**2) - log_std.sum()
        (kl - potential(centre + log_std.exp() * draw())).backward()
        adam.step()
    return (centre + log_std.exp() * draw()).detach()


def log_likelihood(w: World, clean: Tensor) -> Tensor:
    return -(w.y - w.a @ clean).square().sum() / (2 * w.noise**2)


def transition(w: World, z: Tensor, now: float, after: float) -> tuple[Tensor, float]:
    """Return DDPM's mean and deviation."""
    return bridge(w.clean(z, now), z, 1.0, after, now)


def test_mgps() -> None:
    """Noise levels and midpoint in abar; the midpoint halves the time."""
    w, vp = world(0.05), VP()
    solver = MGPS(steps=12, alpha=0.5, moves=3, rate=0.2)

    def step(z: Tensor, now: float, after: float, draw: Draw) -> Tensor:
        x0 = w.clean(z, now)
        if after == 1:
            return x0
        level = float(vp.sigma(0.5 * vp.time(math.sqrt((1 - after) / after))))
        middle = 1 / (1 + max(level, 0.01) ** 2)  # not below the chain
        mean, std = bridge(x0, z, 1.0, middle, now)
        sample = fitted(mean, std, lambda v: log_likelihood(w, w.clean(v, middle)), 3, 0.2, draw)
        mean, std = bridge(sample, z, middle, after, now)
        return mean + std * draw()

    check(w, solver, step, tolerance=1e-6)


def test_mgdm() -> None:
    """Gibbs sweeps of the authors' code, two at each level; times are those of the VP diffusion."""
    w, vp = world(0.05), VP()
    solver = MGDM(steps=6, repeats=2, moves=2, denoising=3, share=0.7, rate=0.3)
    abars = [1 / (1 + (s / 0.5) ** 2) for s in solver.levels(w.problem, w.prior).tolist()]
    times = [float(vp.time(math.sqrt((1 - a) / a))) for a in abars]
    gap = times[0] - times[1]
    clean: list[Tensor] = []  # x_0 of the walk, beside its state

    def abar(time: float) -> float:
        return 1 / (1 + max(float(vp.sigma(time)), 0.01) ** 2)

    def step(z: Tensor, now: float, after: float, draw: Draw) -> Tensor:
        i = len(clean)
        x0 = clean[-1] if clean else w.clean(z, now)
        mean, std = bridge(x0, z, 1.0, after, now)
        new = mean + std * draw()
        for k in range(2):
            below = times[i + 1] - gap  # the levels are uniform in time
            fraction = (2 * i + k + 1) * 2 / (1 + math.sqrt(5)) % 1 if i < 0.7 * 6 else 1.0
            tau = 0.01 + fraction * (below - 0.01) if below > 0.01 else below
            mean, std = bridge(x0, new, 1.0, abar(tau), after)
            at_tau = fitted(mean, std, lambda v, t=tau: log_likelihood(w, w.clean(v, abar(t))), 2, 0.3, draw)  # type: ignore[misc]
            x0 = at_tau
            for high, low in ((3, 2), (2, 1)):
                mean, std = transition(w, x0, abar(tau * high / 3), abar(tau * low / 3))
                x0 = mean + std * draw()
            x0 = w.clean(x0, abar(tau / 3))
            mean, std = bridge(at_tau, z, abar(tau), after, now)
            new = mean + std * draw()
        clean.append(x0)
        return x0 if i == 5 else new

    check(w, solver, step, tolerance=1e-6)


def test_dcps() -> None:
    """Blocks, tamed Langevin steps and fits of algorithm 1; data of a block's end are `sqrt(abar_e) y`."""
    w = world(0.05)
    solver = DCPS(steps=9, blocks=3, moves=2, rate=0.1, langevin=2, gamma=0.01)
    abars = [1 / (1 + (s / 0.5) ** 2) for s in solver.levels(w.problem, w.prior).tolist()]

    def log_g(z: Tensor, end: float) -> Tensor:
        return -(math.sqrt(end) * w.y - w.a @ z).square().sum() / (2 * w.noise**2)

    def step(z: Tensor, now: float, after: float, draw: Draw) -> Tensor:
        i = min(range(len(abars)), key=lambda k: abs(abars[k] - now))
        end = abars[3 * (i // 3 + 1)]
        for _ in range(2 if i % 3 == 0 else 0):
            leaf = z.detach().requires_grad_()
            (g,) = torch.autograd.grad(log_g(transition(w, leaf, now, end)[0], end), leaf)
            g = g - w.eps(z, now) / math.sqrt(1 - now)
            z = z + 0.01 * g / (1 + 0.01 * g.norm()) + math.sqrt(2 * 0.01) * draw()
        if after == 1:
            return w.clean(z, now)
        mean, std = transition(w, z, now, after)

        def potential(sample: Tensor) -> Tensor:
            if after != end:
                ahead, spread = transition(w, sample, after, end)
                sample = ahead + spread * draw()
            return log_g(sample, end)

        return fitted(mean, std, potential, 2, 0.1, draw)

    check(w, solver, step, tolerance=1e-6)
