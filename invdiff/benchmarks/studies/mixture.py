"""The experiment of MCGDiff's paper with a mixture of 25 Gaussians, with its authors' settings.

    python -m invdiff.benchmarks.studies mixture [--solvers mcgdiff,dps] [--seeds 20] [--d-x 8 80] [--d-y 1 2 4]

    x ~ sum_k w_k N(m_k, I) in d_x dimensions,   m = (-8 i, -8 j) repeated, i, j in -2..2
    y = A x + sigma_y n,   A = U diag(s) V^T in d_y rows,   s and sigma_y / max(s) uniform in (0, 1)

Every solver draws 2000 samples with the same number of network evaluations, for the same random problems, and the
result is the sliced Wasserstein-1 distance to exact samples: mean and 1.96 standard errors over the problems.

Three properties of the authors' program determine the result of MCGDiff here. Its chain has DDPM's rates in reverse
order, from 2e-2 down to 1e-4, so 3 of 20 levels are above sigma = 40, where the modes of d_x = 80 separate; with the
rates in order there are 2, with levels uniform in `1 / sqrt(1 + sigma^2)` there is 1. Its kappa is a fraction of `1 +
tau^2`, in units in which the data's standard deviation would be one. In its problems the weights `w` are drawn once,
and the rest from seeds that the program states.

References:
    Monte Carlo Guided Diffusion for Bayesian Linear Inverse Problems (Cardoso et al., 2024),
    https://arxiv.org/abs/2308.07983, section 4; the program: https://github.com/gabrielvc/mcg_diff, of which
    https://github.com/YazidJanati/mgps holds the script of this experiment.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ... import registry
from ...errors import UserError
from ...metrics import sliced_wasserstein
from ...noise import Gaussian
from ...posterior import ExactPosterior
from ...priors import MixturePrior, Prior
from ...problem import Problem
from ...schedules import Chain, Spacing
from ...solvers import MCGDiff, Solver
from ...solvers.common import particles as pf
from ...testing.exact import ExactProblem, MatrixOperator
from ..results.markdown import Table, markdown_page, markdown_table, write_page

STEPS, SAMPLES, SLICES = 20, 2000, 1000
PUBLISHED = {
    (8, 1): (1.43, 0.55), (8, 2): (0.49, 0.24), (8, 4): (0.38, 0.25),
    (80, 1): (1.39, 0.45), (80, 2): (0.67, 0.24), (80, 4): (0.28, 0.14),
    (800, 1): (2.40, 1.00), (800, 2): (1.31, 0.60), (800, 4): (0.47, 0.19),
}  # fmt: skip
"""MCGDiff in the paper: mean and 1.96 standard errors over 20 problems, by (d_x, d_y)."""

SEED = 67280421310721  # torch's default seed, with which the authors' program draws the weights
Say = Callable[[str], None]


def published_problem(d_x: int, d_y: int, index: int) -> ExactProblem:
    """Return one of the problems of the authors' program, in float64.

    Operator, noise and measurement are those of its seeds, number by number. The weights are those that it draws first,
    for d_x = 800. For the other two dimensions it draws others later, which cannot be reproduced; the first weights are
    used for all dimensions here.

    Args:
        d_x: 8, 80 or 800.
        d_y: 1, 2 or 4.
        index: of the problem; the paper has 0 to 19.

    Raises:
        ValueError: any other dimensions.
    """
    if (d_x, d_y) not in PUBLISHED:
        raise ValueError(f"published_problem: expected d_x of 8, 80, 800 and d_y of 1, 2, 4, got {d_x} and {d_y}")
    weights = torch.randn(25, generator=torch.Generator().manual_seed(SEED)) ** 2
    weights = weights / weights.sum()
    pairs = torch.tensor([(-8.0 * i, -8.0 * j) for i in range(-2, 3) for j in range(-2, 3)])
    means = pairs.repeat(1, d_x // 2)
    g = torch.Generator().manual_seed(2 ** (800, 80, 8).index(d_x) * 3 ** (1, 2, 4).index(d_y) + index)
    u, _, vt = torch.linalg.svd(torch.randn((d_y, d_x), generator=g), full_matrices=False)
    s = torch.rand(d_y, generator=g).sort(descending=True).values
    k = torch.multinomial(weights, 1, replacement=True, generator=g)
    x = (means + torch.randn((25, d_x), generator=g))[k[0]]  # a draw of each component, of which one is used
    std = float(torch.rand(1, generator=g) * s.max())
    y = u @ (s * (vt @ x)) + std * torch.randn(d_y, generator=g)
    operator = MatrixOperator(u.double(), s.double(), vt.double().T)
    prior = MixturePrior(weights.double(), means.double().reshape(25, d_x, 1, 1), 1.0)
    return Problem(operator, Gaussian(std), y.double()[None]), prior


def authors_levels(steps: int, sigma_min: float = 0.0, sigma_max: float = 0.0) -> Tensor:
    """Return the levels of the authors' program, in units in which the data's standard deviation would be one.

    Of the chain's 999 levels the program selects those at which `alpha = 1 / sqrt(1 + sigma^2)` has decreased enough to
    reach 0.01 with the given number of levels; the remaining levels at the end are in equal steps of time.

    Args:
        steps: number of positive levels.
        sigma_min: not used: the chain has its own ends.
        sigma_max: not used.

    Returns:
        `steps + 1` decreasing levels in float64, the last one 0.
    """
    chain = Chain(torch.linspace(2e-2, 1e-4, 999, dtype=torch.float64))
    alpha = chain.abar.sqrt().tolist()
    end = next(k for k, a in enumerate(alpha) if a < 1e-2)
    fall = (1 - alpha[end]) / max(steps - 1, 1)
    times = [0]
    for k in range(1, end):
        if alpha[times[-1]] - alpha[k] >= fall:
            times.append(k)
    tail = torch.linspace(times[-1], len(chain), steps - len(times) + 2, dtype=torch.float64).ceil().long()[1:]
    return chain.sigma[[*times, *tail.tolist()]].flip(0).abs()  # no negative zero


@dataclass(frozen=True, kw_only=True)
class PublishedMCGDiff(MCGDiff):
    """MCGDiff with its authors' settings for the mixture: levels, transitions, potentials and resampling.

    Differs:
        The authors' two programs weight a particle one step later than the paper, or weight the freed coefficients
        again at the end; this class follows the paper. On 20 problems of d_x = 80 and d_y = 1, 2 all three give the
        same within chance (1.38, 1.22, 1.21 and 1.38, 0.79, 0.66). Levels are moved onto the `tau_i`, as in the paper;
        the program intends this, but uses an index of sorted distances as a time.
    """

    steps: int = STEPS - 1
    particles: int = SAMPLES // 2
    eta: float = 0.6
    kappa: float = 1e-2
    spacing: Spacing = authors_levels
    resample: pf.Resampling = pf.multinomial

    def unit(self, prior: Prior) -> float:
        """Return 1, though the standard deviation of the mixture is 11."""
        return 1.0


@dataclass(frozen=True)
class Cell:
    """One cell of the experiment.

    Attributes:
        solver: name.
        d_x: dimension of x.
        d_y: dimension of y.
        distances: one for each problem.
        seconds: median wall time of one run of the solver.
        nfe: network evaluations for one sample.
    """

    solver: str
    d_x: int
    d_y: int
    distances: tuple[float, ...]
    seconds: float
    nfe: int

    @property
    def mean(self) -> float:
        """Mean distance."""
        return statistics.fmean(self.distances)

    @property
    def error(self) -> float:
        """1.96 standard errors of the mean; infinite for a single problem."""
        n = len(self.distances)
        return 1.96 * statistics.stdev(self.distances) / math.sqrt(n) if n > 1 else math.inf


def mixture_solver(name: str, prior: Prior, steps: int = STEPS) -> Solver:
    """Return a solver with its settings for the experiment.

    Args:
        name: `mcgdiff` as published, `mcgdiff-ours` with this package's defaults, or another solver, with its own.
        prior: the mixture.
        steps: noise levels, of which the last is 0: `steps - 1` evaluations for one sample. A solver with more of them
            than steps takes as many steps as they allow, at least one.

    Raises:
        ValueError: an unknown name.
    """
    cls: type[Solver] = PublishedMCGDiff if name == "mcgdiff" else registry.solvers[name.removesuffix("-ours")]
    known = {f.name for f in dataclasses.fields(cls)}

    def made(count: int) -> Solver:
        options = {"steps": count, "particles": SAMPLES // 2}
        return cls(**{k: v for k, v in options.items() if k in known})

    def evaluations(solver: Solver) -> int:
        return round(solver.evaluations / solver.samples_per_row)

    solvers = [made(count) for count in range(steps - 1, 0, -1)]
    return next((s for s in solvers if evaluations(s) <= steps - 1), solvers[-1])


def mixture_cell(
    name: str, d_x: int, d_y: int, seeds: Iterable[int], *, steps: int = STEPS, samples: int = SAMPLES,
    make: Callable[[str, Prior, int], Solver] = mixture_solver,
    problems: Callable[[int, int, int], ExactProblem] = published_problem,
) -> Cell:  # fmt: skip
    """Run one solver on the problems of one cell.

    Args:
        name: of the solver; "floor" for exact samples, "prior" for the prior's.
        d_x: dimension of x.
        d_y: dimension of y.
        seeds: of the problems.
        steps: noise levels, of which the last is 0.
        samples: number of samples, which are compared with as many exact ones.
        make: from the name, the prior and the steps to the solver.
        problems: from the two dimensions and a seed to a problem; `testing.mixture_problem` draws weights each time.
    """
    distances, seconds, nfe = [], [], 0
    for seed in seeds:
        problem, prior = problems(d_x, d_y, seed)
        exact = ExactPosterior(problem, prior)
        truth = exact.sample(samples, seed=1000 + seed)[0]
        begin = time.perf_counter()
        if name == "floor":
            drawn = exact.sample(samples, seed=2000 + seed)[0]
        elif name == "prior":
            drawn = prior.sample(samples)  # type: ignore[attr-defined]
        else:
            result = make(name, prior, steps)(problem, prior, samples=samples, seed=seed)
            drawn, nfe = result.samples[0], result.nfe
        seconds.append(time.perf_counter() - begin)
        distances.append(sliced_wasserstein(drawn, truth, slices=SLICES))
    return Cell(name, d_x, d_y, tuple(distances), statistics.median(seconds), nfe)


def mixture_suite(
    names: Sequence[str], *, d_x: Sequence[int] = (8, 80, 800), d_y: Sequence[int] = (1, 2, 4), seeds: int = 20,
    steps: int = STEPS, say: Say = lambda text: None,
) -> Table:  # fmt: skip
    """Run the experiment; the first row of the table is its head.

    Raises:
        ValueError: fewer than two levels.
    """
    if steps < 2:
        raise UserError(f"mixture: steps: expected at least 2 noise levels, of which the last is 0, got {steps}")
    head = ["d_x", "d_y", "published", *names]
    table = [head, ["evaluations", "", str(STEPS - 1), *[""] * len(names)]]
    nfe = dict.fromkeys(names, 0)
    for dx in d_x:
        for dy in d_y:
            mean, error = PUBLISHED.get((dx, dy), (math.nan, math.nan))
            row = [str(dx), str(dy), f"{mean:.2f} ± {error:.2f}"]
            for name in names:
                cell = mixture_cell(name, dx, dy, range(seeds), steps=steps)
                nfe[name] = cell.nfe
                row.append(f"{cell.mean:.2f} ± {cell.error:.2f}")
                say(f"{dx:4d} {dy} {name:16s} {row[-1]}  {cell.seconds:.1f} s")
            table.append(row)
    table[1][3:] = [str(nfe[n]) for n in names]
    return table


EXTRA = ("floor", "prior", "mcgdiff-ours")
"""Names that are not solvers of the registry."""
TITLES = {
    "floor": "floor",
    "prior": "prior",
    "mcgdiff": "`mcgdiff`, as published",
    "mcgdiff-ours": "`mcgdiff`, default levels",
}
"""Heads of the columns on the page."""


def chosen(names: str | None) -> list[str]:
    """Return the names in a comma-separated list; by default those of docs/mixture.md.

    Raises:
        ValueError: an unknown solver.
    """
    return ["floor", "mcgdiff", "mcgdiff-ours", "twisted"] if names is None else listed(names, EXTRA)


def listed(names: str, extra: Sequence[str] = ()) -> list[str]:
    """Return the names of solvers in a list with commas between.

    Args:
        names: the list.
        extra: allowed names in addition to those of the registry.

    Raises:
        ValueError: no name, or an unknown one.
    """
    out = [n.strip() for n in names.split(",") if n.strip()]
    if not out:
        raise UserError(f"--solvers: expected names with commas between, as in dps,diffpir, got {names!r}")
    for name in out:
        if name not in extra and name not in registry.solvers and ".py:" not in name:
            raise UserError(registry.unknown("solver", name, [*registry.solvers, *extra]))
    return out


def page(table: Table, seeds: int, steps: int) -> str:
    """Return the table of `mixture_suite` as a page in Markdown.

    Args:
        table: the table.
        seeds: problems in each cell.
        steps: noise levels, of which the last is 0.
    """
    head, evaluations, *rows = table
    names = head[3:]
    changed = "".join(f" --{n} {v}" for n, v, usual in (("seeds", seeds, 20), ("steps", steps, STEPS)) if v != usual)
    note = (
        "This is the experiment of Cardoso et al. (2024). The figures are the sliced Wasserstein-1 distance to exact "
        f"posterior samples, mean and 1.96 standard errors over {seeds} problems, the same for every solver. Each "
        f"solver draws {SAMPLES} samples with at most {steps} noise levels, the last is 0. Particle methods have two "
        f"sets of {SAMPLES // 2} particles. The first row counts network evaluations for one sample. The table is "
        f"made by `invdiff grade --suite mcgdiff --solvers {','.join(names)}{changed} --out docs/mixture.md`."
    )
    titles = [*head[:3], *(TITLES.get(n, f"`{n}`") for n in names)]
    return markdown_page("Mixture of 25 Gaussians", note, markdown_table([titles, evaluations, *rows]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiment from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies mixture", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--solvers", help="names with commas between; also floor, prior, mcgdiff-ours")
    parser.add_argument("--seeds", type=int, default=20, help="problems in each cell")
    parser.add_argument("--steps", type=int, default=STEPS, help="noise levels, of which the last is 0")
    parser.add_argument("--d-x", type=int, nargs="+", default=[8, 80, 800], help="dimensions of x")
    parser.add_argument("--d-y", type=int, nargs="+", default=[1, 2, 4], help="dimensions of y")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args(argv)
    try:
        if args.seeds < 1:
            raise UserError(f"--seeds: expected at least 1, got {args.seeds}")
        table = mixture_suite(
            chosen(args.solvers), d_x=args.d_x, d_y=args.d_y, seeds=args.seeds, steps=args.steps,
            say=lambda text: print(text, flush=True),
        )  # fmt: skip
    except UserError as error:
        print(f"mixture: {error}", file=sys.stderr)
        return 2
    if args.out is not None:
        write_page(args.out, page(table, args.seeds, args.steps))
    return 0
