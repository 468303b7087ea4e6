"""What a GPU costs and gives, in one run of at most ten minutes.

    python -m invdiff.benchmarks.studies gpu [--out docs/gpu.md] [--device cuda] [--minutes 10] [--rehearse]

Four parts, the most important first; a part that the time does not allow is named as left out:

    tests         the tests that need a GPU, `pytest -m gpu`, where the tests are at hand
    evaluations   milliseconds of an evaluation of the network, in float32, bfloat16 and compiled, at several sizes
    solvers       the time of a step beyond its evaluations, and the numbers that the host reads in a step
    large         time and peak memory of a blurred picture of 12 megapixels

Times are medians between two synchronisations, after a warm-up. `--rehearse` runs every part at small sizes, also on a
CPU, so that the program is known to work before a GPU is at hand; its page says that no GPU was measured.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ... import registry
from ...errors import UserError
from ...operators import Blur, gaussian_kernel
from ...priors import NetworkPrior, Prior, load_prior
from ...problem import simulate
from ...solvers import PlugAndPlay, Solver
from ...streams import generator
from ..results.markdown import markdown_page, markdown_table, write_page
from .step_cost import OPTIONS, WITHOUT, RecordingPrior, repeat

SIDES, LARGE, STEPS, REPEATS = (256, 512, 1024), (3, 3000, 4000), 10, 5
SMALL_SIDES, SMALL_LARGE = (64,), (3, 48, 64)
SMALL_SOLVERS = ("dps", "pnp")
NOT_MEASURED = "This is a rehearsal at small sizes on {device}. **No GPU has been measured.**"


class Transfers(TorchDispatchMode):
    """Counts the single numbers that the host reads from tensors, each of which waits for the device.

    Attributes:
        count: numbers read.
    """

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket is torch.ops.aten._local_scalar_dense
        return func(*args, **(kwargs or {}))


def timed(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median of the seconds that some work takes, after a warm-up."""
    found = []
    for _ in range(repeats + 1):
        _wait(device)
        begin = time.perf_counter()
        work()
        _wait(device)
        found.append(time.perf_counter() - begin)
    return statistics.median(found[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def run_tests() -> str:
    """Return the last line of the tests that need a GPU, or that there are none here."""
    if not Path("tests").is_dir():
        return "The folder of the tests is not here."
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    lines = done.stdout.strip().splitlines()
    return f"`pytest -m gpu`: {lines[-1] if lines else 'no output'} (exit {done.returncode})."


def evaluations(device: torch.device, sides: Sequence[int], repeats: int, *, compiled: bool) -> str:
    """Return the table of milliseconds of an evaluation of `photo`, without a gradient."""
    variants: dict[str, Prior] = {}
    for precision in ("float32", "bfloat16"):
        variants[precision] = load_prior(f"photo:precision={precision}").to(device)
    if compiled:
        prior = load_prior("photo").to(device)
        assert isinstance(prior, NetworkPrior)
        prior.network.compile(dynamic=False)
        variants["float32, compiled"] = prior
    rows = [["pixels", *variants]]
    for side in sides:
        x = torch.rand(1, 3, side, side, generator=generator(0)).to(device)
        with torch.no_grad():
            each = [timed(lambda p=p, x=x: p.denoise(x, 0.2), device, repeats) for p in variants.values()]  # type: ignore[misc]
        rows.append([f"{side} x {side}", *(f"{1e3 * s:.2f}" for s in each)])
    return markdown_table(rows, align="r" * len(rows[0]))


def solver_row(name: str, device: torch.device, side: int) -> list[str]:
    """Return a solver's evaluations, its time beyond them, and the numbers read in a step."""
    operator = Blur((3, side, side), kernel=gaussian_kernel(1.5), border="circular")
    x = torch.rand(1, 3, side, side, generator=generator(0))
    problem = simulate(operator, x, 0.05).to(device)
    prior = RecordingPrior(load_prior("photo").to(device))
    options: dict[str, object] = {"steps": STEPS, **OPTIONS.get(name, {})}
    solver: Solver = registry.solvers[name](**options)

    def solve() -> None:
        prior.notes.clear()
        solver(problem, prior)

    whole = timed(solve, device, 2)
    notes = list(prior.notes)
    alone = timed(lambda: repeat(prior.prior, x.to(device), notes), device, 2)
    with Transfers() as read:  # type: ignore[no-untyped-call]
        solver(problem, prior.prior)
    steps = int(getattr(solver, "steps", 1))
    return [
        name,
        str(len(notes)),
        f"{1e3 * alone / len(notes):.2f}",
        f"{whole / alone - 1:+.1%}",
        f"{read.count / steps:.1f}",
    ]


def large(device: torch.device, shape: tuple[int, int, int]) -> str:
    """Return a sentence about time and peak memory of a large picture."""
    operator = Blur(shape, kernel=gaussian_kernel(2.0))
    x = torch.rand(1, *shape, generator=generator(0))
    problem = simulate(operator, x, 0.02).to(device)
    prior = load_prior("photo").to(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    whole = timed(lambda: PlugAndPlay(steps=4)(problem, prior), device, 1)
    image = x.to(device)
    with torch.no_grad():
        one = timed(lambda: prior.denoise(image, 0.2), device, 1)
    on_device = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    used = on_device or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    size = f"{shape[2]} x {shape[1]}"
    return (
        f"`blur:sigma=2`, `pnp:steps=4`, {size} colour: {whole:.2f} s, {whole / (4 * one):.2f} times its four "
        f"evaluations ({one:.2f} s each); peak memory {used:.2f} GB."
    )


def names_of(given: str | None, rehearse: bool) -> list[str]:
    """Return the solvers to be measured; those with evaluations of their own."""
    if given:
        return [n.strip() for n in given.split(",")]
    return (
        list(SMALL_SOLVERS)
        if rehearse
        else [n for n in registry.solvers if n not in (*WITHOUT, "auto", "evidence", "fast_em")]
    )


def report(device: torch.device, *, rehearse: bool, minutes: float, solvers: Sequence[str], compiled: bool) -> str:
    """Return the page."""
    begin = time.monotonic()

    def is_over(share: float) -> bool:
        return time.monotonic() - begin > 60 * minutes * share

    sides, shape = (SMALL_SIDES, SMALL_LARGE) if rehearse else (SIDES, LARGE)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    parts = [NOT_MEASURED.format(device=name) if rehearse else f"Measured on {name}, torch {torch.__version__}."]
    parts += ["## Tests", "Left out in a rehearsal." if rehearse else run_tests()]
    parts += ["## Milliseconds of an evaluation of `photo`"]
    parts += [evaluations(device, sides, 1 if rehearse else REPEATS, compiled=compiled)]
    rows, left = [["solver", "evaluations", "ms each", "beyond them", "numbers read a step"]], []
    for solver in solvers:
        if is_over(0.8):
            left.append(solver)
            continue
        try:
            rows.append(solver_row(solver, device, sides[0]))
        except UserError as error:
            left.append(f"{solver} ({error})")
    parts += [f"## Solvers, {STEPS} steps on {sides[0]} x {sides[0]}", markdown_table(rows, align="lrrrr")]
    parts += [f"Left out: {', '.join(left)}."] if left else []
    parts += ["## A large picture", "Left out: the time was over." if is_over(0.9) else large(device, shape)]
    return markdown_page("GPU", *parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies gpu", description="What a GPU costs and gives, in ten minutes."
    )
    parser.add_argument("--out", type=Path, help="page to write; by default it is printed")
    parser.add_argument("--device", default=None, help="cuda or cuda:N; cpu only with --rehearse")
    parser.add_argument("--minutes", type=float, default=10.0, help="time after which parts are left out")
    parser.add_argument("--solvers", help="a,b: instead of all that fit")
    parser.add_argument("--rehearse", action="store_true", help="small sizes, also on a CPU")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    options = parser.parse_args(argv)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type != "cuda" and not options.rehearse:
        raise UserError("gpu: expected a CUDA device, found none; --rehearse runs it at small sizes on a CPU")
    page = report(
        device, rehearse=options.rehearse, minutes=options.minutes,
        solvers=names_of(options.solvers, options.rehearse), compiled=not options.no_compile and device.type == "cuda",
    )  # fmt: skip
    if options.out is None:
        print(page)
    else:
        write_page(options.out, page)
    return 0
