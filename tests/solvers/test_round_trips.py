"""How often the host waits for a step, and that a lazy watch for divergence changes nothing but when it is told."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from invdiff import Reconstruction, load_prior, loop, registry, simulate
from invdiff.benchmarks.studies.gpu import Transfers
from invdiff.operators import Blur, gaussian_kernel
from invdiff.priors.base import Prior
from invdiff.problem import Problem
from invdiff.solvers import Solver

STEPS = (17, 33)
OPTIONS: dict[str, dict[str, object]] = {
    "dip": {"width": 6, "depth": 2}, "dcps": {"langevin": 2},
    **{name: {"particles": 2} for name in ("mcgdiff", "fps", "tds", "twisted")},
}  # fmt: skip
HOST = {"mgdm": "its schedule is on the host", "mmps": "one for each iteration of its solve"}
"""Solvers with more numbers on the host than one a step."""


def blurred() -> Problem:
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))  # a misfit reads more numbers at the end
    return simulate(Blur((1, 8, 8), kernel=gaussian_kernel(0.8, 5), border="circular"), x, 0.05)


STEPPING = [
    name
    for name, solver in registry.solvers.items()
    if "steps" in {f.name for f in dataclasses.fields(solver)} and not solver.unmet(blurred())
]


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "look_every", lambda image: loop.LAZY)


@pytest.mark.usefixtures("lazy")
@pytest.mark.parametrize("name", STEPPING)
def test_the_host_waits_at_most_once_a_step(name: str) -> None:
    problem, counts = blurred(), []
    for steps in STEPS:
        solver: Solver = registry.solvers[name](**OPTIONS.get(name, {}), steps=steps)
        with Transfers() as found:  # type: ignore[no-untyped-call]
            solver(problem, load_prior("gaussian"), samples=1)
        counts.append(found.count)
    each = (counts[1] - counts[0]) / (STEPS[1] - STEPS[0])
    assert (each > 1.1) == (name in HOST), each  # a few numbers are read once a run, or once in 16 steps


def steps_taken(every: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, list[tuple[int, list[bool]]]]:
    """Row 1 diverges at step 5 and goes on from the state before it; row 2 at step 20; row 0 never."""
    monkeypatch.setattr(loop, "look_every", lambda image: every)
    told: list[tuple[int, list[bool]]] = []

    def step(x: Tensor, i: int) -> Tensor:
        bad = {5: 1, 20: 2}
        out = x + 1
        if i in bad:
            out[bad[i]] = math.nan
        return out

    state = torch.zeros(3, 1, 1, 1)
    end = loop.iterate(
        step,
        state,
        30,
        bound=1e3,
        diverged=lambda good, before, i: told.append((i, good.tolist())),
        advance=lambda: None,
    )
    return end, told


@pytest.mark.parametrize("every", [2, 7, 16, 100])
def test_a_lazy_watch_gives_the_states_of_an_eager_one(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    eager, first = steps_taken(1, monkeypatch)
    late, told = steps_taken(every, monkeypatch)
    assert eager.flatten().tolist() == [30, 29, 29]
    assert torch.equal(late, eager)
    assert told[0] == first[0] == (5, [True, False, True])


class Breaks(Prior):
    """A Gaussian whose estimates are not finite after some evaluations."""

    shape, std, sigma_min, sigma_max, analytic = (1, None, None), 1.0, 1e-3, 1e3, True

    def __init__(self) -> None:
        self.calls = 0

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        self.calls += 1
        return x / 2 if self.calls <= 12 else x * math.nan


def test_a_divergence_is_told_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))  # a misfit reads more numbers at the end
    problem = simulate(Blur((1, 8, 8), kernel=gaussian_kernel(0.8, 5), border="circular"), x, 0.05)
    found: list[Reconstruction] = []
    for every in (1, 16):
        monkeypatch.setattr(loop, "look_every", lambda image, every=every: every)
        found.append(registry.solvers["diffpir"](steps=20)(problem, Breaks()))
    assert found[0].status == found[1].status == "diverged"
    assert found[0].message == found[1].message
    assert torch.equal(found[0].samples, found[1].samples)
