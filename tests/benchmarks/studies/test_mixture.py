"""The mixture experiment: the authors' problems, levels and settings, and the distances that they reach."""

import math
from pathlib import Path

import pytest
import torch

from invdiff.benchmarks.studies import exact_grades as grade
from invdiff.benchmarks.studies import mixture as m
from invdiff.solvers import MCGDiff
from invdiff.solvers.common import particles as pf

# What the authors' program computes, run on a CPU with torch 2: `torch.manual_seed(1 + 0)` and so on.
TIMES = [0, 6, 13, 20, 28, 36, 45, 55, 66, 78, 92, 108, 127, 151, 182, 226, 299, 510, 755, 999]


def test_suite_is_paired_and_reproducible(tmp_path: Path) -> None:
    cell = m.mixture_cell("floor", 8, 1, range(2), samples=100)
    assert cell.distances == m.mixture_cell("floor", 8, 1, range(2), samples=100).distances
    assert cell.mean < 1.5
    assert math.isinf(m.mixture_cell("floor", 8, 1, range(1), samples=50).error)
    out = tmp_path / "table.md"
    table = grade.run("mcgdiff", "floor,mcgdiff", seeds=1, steps=4, d_x=(8,), d_y=(2,), out=out, say=lambda text: None)
    assert table[0] == ["d_x", "d_y", "published", "floor", "mcgdiff"]
    assert table[1][2:] == ["19", "0", "3"]
    assert table[2][:3] == ["8", "2", "0.49 ± 0.24"]
    assert "| 8 | 2 | 0.49 ± 0.24 |" in out.read_text()


def test_page_names_its_command_and_its_columns() -> None:
    """The command makes this page again, with what is not its default."""
    table = [["d_x", "d_y", "published", "floor", "mcgdiff", "mcgdiff-ours", "twisted"], ["evaluations", *["19"] * 6]]
    usual, other = m.page(table, 20, m.STEPS), m.page(table, 5, 10)
    command = "`invdiff grade --suite mcgdiff --solvers floor,mcgdiff,mcgdiff-ours,twisted"
    assert f"{command} --out docs/mixture.md`" in usual
    assert f"{command} --seeds 5 --steps 10 --out docs/mixture.md`" in other
    assert "| floor | `mcgdiff`, as published | `mcgdiff`, default levels | `twisted` |" in usual


def test_levels_are_those_of_the_program() -> None:
    """Its 20 times on its own chain, whose rates fall."""
    abar = torch.cumprod(torch.cat([torch.ones(1), 1 - torch.linspace(0.02, 1e-4, 999)]).double(), 0)[TIMES]
    torch.testing.assert_close(m.authors_levels(19), ((1 - abar) / abar).sqrt().flip(0), rtol=1e-6, atol=1e-9)
    for steps in (1, 2, 3, 50, 99):
        levels = m.authors_levels(steps)
        assert len(levels) == steps + 1
        assert float(levels[-1]) == 0
        assert bool((levels.diff() < 0).all())


def test_problems_are_those_of_the_program() -> None:
    """The global generator, as the program uses it, with a normal draw of each component as torch's mixtures have."""
    problem, prior = m.published_problem(80, 2, 4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2 * 3 + 4)
        u, _, v = torch.linalg.svd(torch.randn(2, 80), full_matrices=True)
        s = torch.sort(torch.rand(2), descending=True).values
        a = u @ (torch.diag(s) @ v[:2])
        weights, means = prior.weights.float(), prior.means.flatten(1).float()  # type: ignore[attr-defined]
        components = torch.distributions.MultivariateNormal(means, torch.eye(80).repeat(25, 1, 1))
        law = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(weights), components)
        x = law.sample()
        std = torch.rand(1)[0] * torch.ones(2) * max(s)
        y = a @ x + torch.randn(2) * std
    got = problem.operator(torch.eye(80).double().reshape(80, 80, 1, 1)).T
    torch.testing.assert_close(got, a.double(), rtol=0, atol=1e-5)
    assert problem.noise.std == pytest.approx(float(std[0]), rel=1e-6)  # type: ignore[attr-defined]
    torch.testing.assert_close(problem.measurement[0], y.double(), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="expected d_x of 8, 80, 800 and d_y of 1, 2, 4, got 9 and 1"):
        m.published_problem(9, 1, 0)


def test_published_settings() -> None:
    """A potential at its own level has the paper's variance, `kappa (1 + tau^2)`, whatever the data's deviation."""
    problem, prior = m.published_problem(8, 4, 12)
    solver = m.mixture_solver("mcgdiff", prior)
    assert isinstance(solver, m.PublishedMCGDiff)
    assert (solver.steps, solver.particles, solver.eta) == (19, 1000, 0.6)
    assert solver.resample is pf.multinomial
    run = _run(solver, problem, prior)
    _, _, tau = run.data_levels
    own = pf.on_levels(tau, run.levels)
    assert float(own.max()) > 1.5  # else the summand tau^2 would not be seen
    for k, level in enumerate(own):
        i = min(range(len(run.levels)), key=lambda i: abs(run.levels[i] - float(level)))
        expected = 1e-2 * (1 + float(level) ** 2)
        assert float(solver._variance(run, tau, i, below=i)[k]) == pytest.approx(expected, rel=1e-9)
    assert run.levels[0] == pytest.approx(156.6, rel=1e-3)


def test_every_solver_has_the_same_evaluations() -> None:
    """A step less where the draw of the last state is an evaluation of its own."""
    prior = m.published_problem(8, 4, 12)[1]
    for name, steps in (("mcgdiff", 19), ("mcgdiff-ours", 19), ("twisted", 18), ("dps", 19), ("score_sde", 10)):
        solver = m.mixture_solver(name, prior)
        assert solver.steps == steps, name  # type: ignore[attr-defined]
    assert m.mixture_cell("twisted", 8, 4, range(1), steps=5, samples=2000).nfe == 4


def _run(solver: MCGDiff, problem: object, prior: object):  # type: ignore[no-untyped-def]
    from invdiff.solvers import Run
    from invdiff.streams import Streams, generator

    levels = tuple(solver.levels(problem, prior).tolist())  # type: ignore[arg-type]
    return Run(problem, prior, levels, Streams([generator(0)]))  # type: ignore[arg-type]


# MCGDiff as published and ours, 20 problems, 19 evaluations: see docs/mixture.md for what was measured.
@pytest.mark.slow
@pytest.mark.parametrize(("d_x", "d_y"), [(8, 1), (8, 2), (8, 4), (80, 1), (80, 2), (80, 4)])
def test_published_settings_give_the_published_distance_and_ours_halves_it(d_x: int, d_y: int) -> None:
    published, error = m.PUBLISHED[d_x, d_y]
    theirs = m.mixture_cell("mcgdiff", d_x, d_y, range(20))
    assert abs(theirs.mean - published) < error
    ours = m.mixture_cell("twisted", d_x, d_y, range(20))
    assert (theirs.nfe, ours.nfe) == (19, 19)
    assert ours.mean < 0.5 * theirs.mean
