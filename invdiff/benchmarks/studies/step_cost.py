"""The cost of a solver step compared with its network evaluations alone.

    python -m invdiff.benchmarks.studies step_cost [--solvers dps,diffpir] [--tasks inpainting,deblurring] [--threads 1]
        [--rows cost.json] [--out docs/cost.md] [--alone]

A recording prior between the solver and the network counts the evaluations of a step, their images, whether they record
a graph, and their vector-Jacobian products. After each step the same evaluations are repeated alone, on the same
shapes, so steps and bare evaluations alternate in one run:

    step 1 | bare 1 | step 2 | bare 2 | ...            over = median_i (step_i - bare_i) / median_i bare_i

A step is timed between two calls of the progress function, so it includes the work of the base class. The first step,
which includes the initial state, and the work after the last step are excluded and reported separately. A step without
an evaluation (a return to a higher level) is added to the next step with one.

With `--alone` a multiplication replaces the network, and `bare` is the time of the network for the same evaluations,
measured once. A few milliseconds of work are then not hidden by the noise of half a second, but the effect of the
network on the processor's caches is not measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ... import registry
from ...atomic import atomic_path
from ...errors import UserError
from ...operators import Blur, Downsample, Inpainting, LinearOperator, gaussian_kernel
from ...priors import Prior, load_prior
from ...problem import Problem, simulate
from ...solvers import Solver, make_solver
from ...streams import generator
from ..results.markdown import markdown_page, markdown_table, write_page

BOUND = 0.03  # allowed cost of a step beyond its evaluations
SIDE = 256
STEPS = 10  # the first is excluded
ALONE_STEPS = 40  # without the network
OPTIONS: dict[str, dict[str, int]] = {
    "mmps": {"steps": 4}, "dcps": {"blocks": 2}, "pnpdm": {"inner": 2},
    "mcgdiff": {"particles": 2}, "fps": {"particles": 2}, "tds": {"particles": 2}, "twisted": {"particles": 2},
}  # fmt: skip
"""What differs from the defaults and `STEPS`: two particles, because the cost per particle is constant."""
WITHOUT = ("pinv", "tv", "dip")  # no evaluations of the prior, so nothing to compare with


@dataclasses.dataclass
class Evaluation:
    """One call of the denoiser: number of images, level, whether it records a graph, and number of products."""

    rows: int
    sigma: float
    graph: bool
    products: int = 0


class RecordingPrior(Prior):
    """A prior that records each evaluation, and each product with the transposed Jacobian.

    Args:
        prior: the recorded prior.
    """

    def __init__(self, prior: Prior) -> None:
        self.prior, self.notes = prior, list[Evaluation]()
        self.shape, self.std = prior.shape, prior.std
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return the prior's result, and record the evaluation."""
        note = Evaluation(len(x), float(torch.as_tensor(sigma).max()), x.requires_grad and torch.is_grad_enabled())
        self.notes.append(note)
        out = self.prior.denoise(x, sigma)
        if note.graph:

            def count(gradient: Tensor) -> None:
                note.products += 1

            out.register_hook(count)  # called once for each backward pass
        return out


class StandIn(Prior):
    """The denoiser of a white Gaussian that replaces another prior: `E[x_0 | x_sigma = x]`, in one pass over the image.

    Args:
        prior: the replaced prior, for its shape and range.
    """

    def __init__(self, prior: Prior) -> None:
        self.shape, self.std = prior.shape, prior.std
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return the posterior mean, a multiple of `x`."""
        return x * (self.std**2 / (self.std**2 + float(sigma) ** 2))


def repeat(prior: Prior, x: Tensor, notes: Sequence[Evaluation]) -> None:
    """Repeat evaluations alone, on copies of the image `x`, `(1, C, H, W)`."""
    for note in notes:
        rows = x.expand(note.rows, -1, -1, -1)
        if not note.graph:
            with torch.no_grad():
                prior.denoise(rows, note.sigma)
            continue
        with torch.enable_grad():
            leaf = rows.clone().requires_grad_()
            out = prior.denoise(leaf, note.sigma)
        for k in range(note.products):
            torch.autograd.grad(out, leaf, rows, retain_graph=k + 1 < note.products)


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one solver on one task; times are in seconds, medians over the steps.

    Attributes:
        solver: name.
        task: name.
        threads: of the processor.
        forward: evaluations in a step, in images.
        products: vector-Jacobian products in a step, in images.
        bare: the evaluations alone.
        step: the solver's step.
        over: median of the differences of the two, over the median of the bare ones.
        before: time before the first step.
        after: time after the last step.
        steps: number of timed steps.
    """

    solver: str
    task: str
    threads: int
    forward: float
    products: float
    bare: float
    step: float
    over: float
    before: float
    after: float
    steps: int


def measure(name: str, solver: Solver, task: str, problem: Problem, prior: Prior) -> Cost:
    """Return the cost of a solver on a problem.

    Args:
        name: of the solver, for the table.
        solver: one that evaluates the prior.
        task: name of the problem, for the table.
        problem: one image.
        prior: the bare prior.

    Raises:
        ValueError: the solver never evaluates the prior, or takes fewer than two steps with an evaluation.
    """
    noted = RecordingPrior(prior)
    x = torch.rand((1, *problem.operator.in_shape), generator=generator(1)).to(problem.measurement)
    steps: list[float] = []
    bare: list[float] = []
    counts: list[tuple[int, int]] = []
    clock = time.perf_counter
    waited = 0.0  # time of steps without an evaluation
    mark = clock()

    def after_step(done: int, total: int) -> None:
        nonlocal mark, waited
        waited += clock() - mark
        if noted.notes:
            notes, noted.notes = noted.notes, []
            start = clock()
            repeat(prior, x, notes)
            bare.append(clock() - start)
            steps.append(waited)
            counts.append((sum(n.rows for n in notes), sum(n.rows * n.products for n in notes)))
            waited = 0.0
        mark = clock()

    repeat(prior, x, [Evaluation(1, 0.5 * prior.std, False), Evaluation(1, 0.5 * prior.std, True, 1)])  # warm
    mark = clock()
    solver(problem, noted, seed=0, progress=after_step)
    after = clock() - mark
    first = steps[0] if steps else 0.0
    del steps[:1], bare[:1], counts[:1]
    if len(steps) < 2:
        raise UserError(f"cost: {name}: expected at least three steps that ask the prior, got {len(steps) + 1}")
    step, base = statistics.median(steps), statistics.median(bare)
    over = statistics.median(s - b for s, b in zip(steps, bare, strict=True)) / base
    forward, products = (statistics.median(c[k] for c in counts) for k in (0, 1))
    return Cost(
        name, task, torch.get_num_threads(), forward, products, base, step, over, first - step, after, len(steps)
    )


@dataclasses.dataclass(frozen=True)
class Network:
    """Times of a prior for one image in seconds: `forward` without a graph, `product` for a product and its graph."""

    forward: float
    product: float

    @classmethod
    def of(cls, prior: Prior, x: Tensor, repeats: int = 5) -> Network:
        """Time a prior on the image `x`, `(1, C, H, W)`; medians after a warm-up."""
        wanted = (Evaluation(1, 0.5 * prior.std, False), Evaluation(1, 0.5 * prior.std, True, 1))
        times = []
        for note in wanted:
            repeat(prior, x, [note])
            taken = []
            for _ in range(repeats):
                start = time.perf_counter()
                repeat(prior, x, [note])
                taken.append(time.perf_counter() - start)
            times.append(statistics.median(taken))
        return cls(times[0], times[1] - times[0])

    def instead(self, row: Cost) -> Cost:
        """Return the cost of a solver with this network, from its cost with a stand-in of negligible time."""
        bare, work = row.forward * self.forward + row.products * self.product, row.over * row.bare
        return dataclasses.replace(row, bare=bare, step=bare + work, over=work / bare)


def problems(names: Sequence[str], prior: Prior, side: int = SIDE) -> dict[str, Problem]:
    """Return the problems of some tasks, one image each, float32, noise 0.05.

    - "inpainting": two thirds of the pixels missing, at random. The cost of the operator is negligible.
    - "deblurring": a Gaussian blur of 3 pixels with circular borders, a product in Fourier space.
    - "superresolution": a quarter of the pixels on each axis, bicubic.

    Raises:
        ValueError: an unknown task.
    """
    shape = (prior.shape[0] or 3, side, side)

    def mask() -> LinearOperator:
        return Inpainting(torch.rand(side, side, generator=generator(2)) < 1 / 3, channels=shape[0])

    makers: dict[str, Callable[[], LinearOperator]] = {
        "inpainting": mask,
        "deblurring": lambda: Blur(shape, kernel=gaussian_kernel(3.0), border="circular"),
        "superresolution": lambda: Downsample(shape, factor=4),
    }
    for name in names:
        if name not in makers:
            raise UserError(registry.unknown("task", name, makers))
    x = torch.rand((1, *shape), generator=generator(3))
    return {name: simulate(makers[name](), x, 0.05) for name in names}


def measure_all(
    solvers: Iterable[str], tasks: Sequence[str], prior: Prior, *, side: int = SIDE, network: Network | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Cost]:  # fmt: skip
    """Return the cost of each solver on each task that meets its needs.

    Args:
        solvers: names of the registry.
        tasks: see `problems`.
        prior: the bare prior.
        side: of the square images.
        network: the network that the prior replaces, if it is a stand-in.
        say: called with a line for each finished row.
    """
    rows = []
    made = problems(tasks, prior, side)
    for name in solvers:
        steps = STEPS if network is None else ALONE_STEPS
        options: dict[str, object] = {"steps": steps, **OPTIONS.get(name, {})}
        solver = make_solver(registry.solvers[name], options)
        for task, problem in made.items():
            if not solver.unmet(problem):
                row = measure(name, solver, task, problem, prior)
                rows.append(network.instead(row) if network else row)
                say("  ".join(cells(rows[-1])))
    return rows


HEAD = ["solver", "task", "threads", "evaluations", "products", "bare ms", "step ms", "over", "before ms", "after ms"]


def cells(row: Cost) -> list[str]:
    """Return the cells of one row of the table."""
    times = (f"{1e3 * v:.1f}" for v in (row.bare, row.step))
    ends = (f"{1e3 * v:.0f}" for v in (row.before, row.after))
    return [
        row.solver, row.task, str(row.threads), f"{row.forward:g}", f"{row.products:g}", *times,
        f"{100 * row.over:+.1f} %", *ends,
    ]  # fmt: skip


def markdown(rows: Sequence[Cost]) -> str:
    """Return the page: an explanation, and the table with the largest overhead first."""
    over = [r for r in rows if r.over > BOUND]
    note = (
        f"The cost of a solver step compared with its network evaluations alone, for the `photo` prior at 3 x {SIDE} x "
        f"{SIDE}, float32, on a CPU with torch {torch.__version__}. Evaluations, and products with the transposed "
        "Jacobian, are counted for one step. Steps and bare evaluations alternate in one run, and times are medians. "
        "`over` is the median of their differences over the bare time. `before` is the time before the first step, "
        "`after` the time after the last one. Particle methods have two particles. Made by "
        "`python -m invdiff.benchmarks.studies step_cost`."
    )
    count = f"{len(rows) - len(over)} of {len(rows)} rows are within {100 * BOUND:g} %."
    table = [HEAD, *map(cells, sorted(rows, key=lambda r: -r.over))]
    return markdown_page("The cost of a step", note, count, markdown_table(table))


def add_rows(path: Path, rows: Sequence[Cost]) -> list[Cost]:
    """Merge new rows into those of a file, in place of old ones of the same name, write the file, and return all.

    Raises:
        ValueError: the file has other content.
    """
    try:
        old = [Cost(**row) for row in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []
    except (TypeError, json.JSONDecodeError) as error:
        raise UserError(f"cost: {path}: expected rows that --rows wrote, got {error}; name another file") from error
    merged = {(r.solver, r.task, r.threads): r for r in (*old, *rows)}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps([dataclasses.asdict(r) for r in merged.values()], indent=1), encoding="utf-8")
    return list(merged.values())


def main(argv: Sequence[str] | None = None) -> int:
    """Measure from the command line."""
    known = [n for n in registry.solvers if n not in WITHOUT]
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies step_cost", description="The cost of a step."
    )
    parser.add_argument("--solvers", default=",".join(known), help="names with commas between; by default all")
    parser.add_argument("--tasks", default="inpainting,deblurring,superresolution", help="names with commas between")
    parser.add_argument("--prior", default="photo", help="name or path")
    parser.add_argument("--side", type=int, default=SIDE, help="of the square images")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--alone", action="store_true", help="exclude the network; time it once, separately")
    parser.add_argument("--rows", type=Path, help="JSON file that the rows are added to")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args(argv)
    solvers, tasks = ([n.strip() for n in text.split(",") if n.strip()] for text in (args.solvers, args.tasks))
    try:
        for name in solvers:
            if name not in known:
                without = f"cost: {name}: asks no prior, so there is nothing to compare its steps with"
                raise UserError(without if name in WITHOUT else registry.unknown("solver", name, known))
        if args.threads:
            torch.set_num_threads(args.threads)
        rows: list[Cost] = []
        prior, network = load_prior(args.prior), None
        if args.alone:
            network = Network.of(prior, torch.rand((1, prior.shape[0] or 3, args.side, args.side)))
            prior = StandIn(prior)
        for name in solvers:
            rows += measure_all(
                [name], tasks, prior, side=args.side, network=network, say=lambda text: print(text, flush=True)
            )
            if args.rows:
                rows = add_rows(args.rows, rows)  # at once, so that no result is lost if a later solver fails
        if args.out:
            write_page(args.out, markdown(rows))
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0
