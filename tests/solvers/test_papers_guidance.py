"""Guidance, replacement and spectral solvers against their papers' steps, written in the papers' own coordinates."""

import math
from collections.abc import Callable

import pytest
import torch
from papers import D, M, World, check, ddim, exploding, ve_score, world
from torch import Tensor

from invdiff.solvers import (
    DDNM,
    DDRM,
    ILVR,
    MCG,
    MMPS,
    SDA,
    SNIPS,
    ConvolvedLikelihood,
    PiGDM,
    RePaint,
    ScoreALD,
    ScoreSDE,
)  # fmt: skip


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("std", [0.05, 0.0])
def test_pigdm(std: float, adaptive: bool) -> None:
    w = world(std)

    def step(z: Tensor, now: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        z = z.requires_grad_()
        sigma2 = (1 - now) / now
        r2 = 0.25 * sigma2 / (0.25 + sigma2)  # the data's variance on [-1, 1] is 1/4
        x0 = w.clean(z, now)
        m = r2 * w.a @ w.a.T + w.noise**2 * torch.eye(M, dtype=torch.float64)
        v = w.a.T @ torch.linalg.solve(m, w.y - w.a @ x0)
        (g,) = torch.autograd.grad(v.detach() @ x0, z)
        eps = w.eps(z, now)
        if adaptive:
            return ddim(x0, eps, now, after, 1.0, draw()) + math.sqrt(now) * r2 * g
        eps = eps - math.sqrt(1 - now) * g
        x0 = (z - math.sqrt(1 - now) * eps) / math.sqrt(now)
        return ddim(x0, eps, now, after, 1.0, draw())

    check(w, PiGDM(steps=30, adaptive=adaptive, damped=False), step)


def test_ddrm() -> None:
    w = world(0.05)
    data, tau = (w.u.T @ w.y) / w.s, w.noise / w.s
    eta, eta_b = 0.7, 0.9

    def start(z: Tensor, n: Tensor, sigma: float) -> Tensor:
        c = w.v.T @ z
        c[:M] = data + (sigma**2 - tau**2).sqrt() * (w.v.T @ n)[:M]
        return w.v @ c

    def step(z: Tensor, now: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        n, c0 = w.v.T @ draw(), w.v.T @ w.clean(z, now)
        e = w.v.T @ w.eps(z, now)
        sigma = math.sqrt((1 - after) / after)
        out = c0 + math.sqrt(1 - eta**2) * sigma * e + eta * sigma * n
        for i in range(M):
            if sigma < tau[i]:
                out[i] = c0[i] + math.sqrt(1 - eta**2) * sigma * (data[i] - c0[i]) / tau[i] + eta * sigma * n[i]
            else:
                spread = math.sqrt(sigma**2 - tau[i] ** 2 * eta_b**2)
                out[i] = (1 - eta_b) * c0[i] + eta_b * data[i] + spread * n[i]
        return math.sqrt(after) * w.v @ out

    check(w, DDRM(steps=20, eta=eta, eta_b=eta_b), step, start)


def test_ddnm_with_time_travel() -> None:
    w = world(0.05)
    tau, eta = w.noise / w.s, 0.85

    def step(z: Tensor, now: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        if after < now:  # q(x_{t+1} | x_t)
            beta = 1 - after / now
            return math.sqrt(1 - beta) * z + math.sqrt(beta) * draw()
        x0, e, n = w.clean(z, now), w.v.T @ w.eps(z, now), w.v.T @ draw()
        a, sigma = math.sqrt(after), math.sqrt(1 - after)
        wrong = w.v.T @ torch.linalg.pinv(w.a) @ (w.a @ x0 - w.y)
        lam, d1, d2 = torch.ones(D, dtype=torch.float64), torch.zeros_like(wrong), torch.zeros_like(wrong)
        d1[M:], d2[M:] = eta * sigma, math.sqrt(1 - eta**2) * sigma
        for i in range(M):
            if sigma < a * tau[i]:
                lam[i], d1[i] = sigma * math.sqrt(1 - eta**2) / (a * tau[i]), eta * sigma
            else:
                d1[i] = math.sqrt(sigma**2 - a**2 * tau[i] ** 2)
        out: Tensor = a * (x0 - w.v @ (lam * wrong)) + w.v @ (d1 * n + d2 * e)
        return out

    solver = DDNM(steps=15, length=4, repeats=2)
    assert solver.evaluations > 15
    check(w, solver, step)


def test_sda_with_corrections() -> None:
    w = world(0.05)

    def posterior_eps(z: Tensor, abar: float) -> Tensor:
        z = z.detach().requires_grad_()
        variance = w.noise**2 + 0.5 * (1 - abar) / abar
        log_p = -((w.y - w.a @ w.clean(z, abar)) ** 2 / variance).sum() / 2
        (s,) = torch.autograd.grad(log_p, z)
        return w.eps(z, abar).detach() - math.sqrt(1 - abar) * s

    def step(z: Tensor, now: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        r = math.sqrt(after / now)
        z = r * z + (math.sqrt(1 - after) - r * math.sqrt(1 - now)) * posterior_eps(z, now)
        for _ in range(2 if after < 1 else 0):
            s = -posterior_eps(z, after) / math.sqrt(1 - after)
            delta = 0.1 / s.square().mean()
            z = z + delta * s + (2 * delta).sqrt() * draw()
        return z

    check(w, SDA(steps=30, gamma=0.5, corrections=2, tau=0.1, damped=False), step)


def replaced(w: World, z: Tensor, after: float, n: Tensor, weight: float = 1.0) -> Tensor:
    known = math.sqrt(after) * w.y + math.sqrt(1 - after) * w.a @ n
    out: Tensor = z + weight * torch.linalg.pinv(w.a) @ (known - w.a @ z)
    return out


def test_ilvr() -> None:
    w = world(0.0)

    def step(z: Tensor, now: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        z = ddim(w.clean(z, now), w.eps(z, now), now, after, 1.0, draw())
        return replaced(w, z, after, draw())

    check(w, ILVR(steps=20), step)


def test_repaint() -> None:
    w = world(0.0)

    def step(z: Tensor, now: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        if after < now:
            return math.sqrt(after / now) * z + math.sqrt(1 - after / now) * draw()
        z = ddim(w.clean(z, now), w.eps(z, now), now, after, 1.0, draw())
        return replaced(w, z, after, draw())

    check(w, RePaint(steps=12, length=3, repeats=2), step)


def test_mcg() -> None:
    w = world(0.0)

    def step(z: Tensor, now: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        z = z.requires_grad_()
        x0 = w.clean(z, now)
        (g,) = torch.autograd.grad((torch.linalg.pinv(w.a) @ (w.y - w.a @ x0)).norm(), z)
        z = ddim(x0, w.eps(z, now), now, after, 1.0, draw()) - 0.4 * g
        return replaced(w, z.detach(), after, draw())

    check(w, MCG(steps=25, scale=0.4), step)


def test_score_sde() -> None:
    w = world(0.0)
    inverse = torch.linalg.pinv(w.a)

    def merged(z: Tensor, sigma: float, n: Tensor) -> Tensor:
        out: Tensor = z + 0.8 * inverse @ (w.y + sigma * w.a @ n - w.a @ z)
        return out

    def step(z: Tensor, sigma: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        z = merged(z, sigma, draw())
        if after == 0:
            return merged(z + sigma**2 * ve_score(w, z, sigma), 0.0, z)
        s, n = ve_score(w, z, sigma), draw()
        eps = (0.2 * n.norm() / s.norm()) ** 2 * 2
        z = merged(z + eps * s + (2 * eps).sqrt() * n, sigma, draw())
        beta = sigma**2 - after**2
        return z + beta * ve_score(w, z, sigma) + math.sqrt(beta) * draw()

    exploding(w, ScoreSDE(steps=20, weight=0.8, snr=0.2), step)


def test_snips() -> None:
    w = world(0.05)
    diagonal = torch.zeros(M, D, dtype=torch.float64)
    diagonal[:, :M] = torch.diag(w.s)

    def step(z: Tensor, sigma: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        before = w.s * sigma > w.noise
        length = torch.full((D,), sigma**2, dtype=torch.float64)
        length[:M] = torch.where(before, sigma**2 - (w.noise / w.s) ** 2, sigma**2 * (1 - (w.s * sigma / w.noise) ** 2))
        for _ in range(2):
            c, score = w.v.T @ z, w.v.T @ ve_score(w, z, sigma)
            weight = 1 / (w.s**2 * sigma**2 - w.noise**2).abs()
            grad = diagonal.T @ (weight * (w.u.T @ w.y - diagonal @ c))
            grad[:M] += torch.where(before, 0, score[:M])
            grad[M:] = score[M:]
            c = c + 0.1 * length * grad + (2 * 0.1 * length).sqrt() * (w.v.T @ draw())
            z = w.v @ c
        return z

    # The last level keeps its noise, where abar = 1 would hide none: the reference's scale is 1 there, too.
    exploding(w, SNIPS(steps=15, inner=2, rate=0.1), step)


def test_mmps() -> None:
    """Algorithm 2's estimate with the whole Jacobian and a dense solve, along the flow of equation 2."""
    w = world(0.05)

    def guided(z: Tensor, sigma: float) -> Tensor:
        x0 = z + sigma**2 * ve_score(w, z, sigma)
        jacobian = torch.func.jacrev(lambda z: z + sigma**2 * ve_score(w, z, sigma))(z)
        c = sigma**2 * jacobian  # Cov[x_0 | x_t]
        m = w.a @ c @ w.a.T + w.noise**2 * torch.eye(M, dtype=torch.float64)
        out: Tensor = x0 + c @ w.a.T @ torch.linalg.solve(m, w.y - w.a @ x0)
        return out

    def heun(z: Tensor, sigma: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        slope = (z - guided(z, sigma)) / sigma
        new = z + (after - sigma) * slope
        if after == 0:
            return new
        return z + (after - sigma) * (slope + (new - guided(new, after)) / after) / 2

    def ddpm(z: Tensor, sigma: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        keep = (after / sigma) ** 2
        return (1 - keep) * guided(z, sigma) + keep * z + after * math.sqrt(1 - keep) * draw()

    exploding(w, MMPS(steps=15, iterations=M, tolerance=0.0), heun)
    exploding(w, MMPS(steps=15, iterations=M, tolerance=0.0, order=1, eta=1.0), ddpm)


def test_score_ald() -> None:
    """Equation 4 for levels of noise `gamma_t = gamma |A| sigma_t`; the last level keeps its noise."""
    w = world(0.05)
    norm = float(w.s.max())

    def step(z: Tensor, sigma: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        variance = w.noise**2 + (0.7 * norm * sigma) ** 2
        eta = 0.1 / (1 / sigma**2 + norm**2 / variance)
        for _ in range(3):
            drift = ve_score(w, z, sigma) + w.a.T @ (w.y - w.a @ z) / variance
            z = z + eta * drift + math.sqrt(2 * eta) * draw()
        return z

    exploding(w, ScoreALD(steps=15, inner=3, rate=0.1, gamma=0.7), step)


def test_convolved_likelihood() -> None:
    """Appendix A's score of the data convolved with the noise, in the reverse diffusion by an ancestral step."""
    w = world(0.05)

    def step(z: Tensor, sigma: float, after: float, draw: Callable[[], Tensor]) -> Tensor:
        m = w.noise**2 * torch.eye(M, dtype=torch.float64) + sigma**2 * w.a @ w.a.T
        score = ve_score(w, z, sigma) + w.a.T @ torch.linalg.solve(m, w.y - w.a @ z)
        fall = sigma**2 - after**2  # the reverse SDE over a step, with the variance of q(x_{t-1} | x_t, x_0)
        out: Tensor = z + fall * score + after / sigma * math.sqrt(fall) * draw()
        return out

    exploding(w, ConvolvedLikelihood(steps=40), step)
