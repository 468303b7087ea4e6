"""The operators compared with those of deepinv in one run: medians of interleaved repeats, and accuracy.

    python -m invdiff.benchmarks.studies operator_speed [--threads 1 2] [--repeats 7] [--quick]
        [--out FILE.md] [--only tomography blur downsample memory accuracy] [--rows FILE.json]

A complete run takes minutes, mostly in deepinv. `--only` measures a part, and `--rows` keeps the results in a file, so
several short runs on an idle machine can make one table.

Each operation runs once before the timing (which builds matrices and plans transforms), then both libraries alternate.
A slow operation is repeated less often, at least twice.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...atomic import atomic_path
from ...operators import Blur, Downsample, LinearOperator, Tomography, gaussian_kernel
from ..results.markdown import markdown_page, markdown_table, write_page

TIMED = ("tomography", "blur", "downsample")
GROUPS = (*TIMED, "memory", "accuracy")

PATIENCE = 20.0
"""Time in seconds after which an operation is not repeated."""


@dataclass(frozen=True)
class Pair:
    """One operation in both libraries.

    Attributes:
        name: of the operation.
        ours: the operation with this package.
        theirs: the operation with deepinv.
        note: appended to the row, computed after the timing.
    """

    name: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    note: Callable[[], str] | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table: milliseconds of both, medians."""

    name: str
    threads: int
    ours: float
    theirs: float
    note: str = ""


def measure(pair: Pair, repeats: int, threads: int) -> Row:
    """Time both sides of a pair alternately."""
    torch.set_num_threads(threads)
    sides = (pair.ours, pair.theirs)
    for side in sides:
        side()
    times: tuple[list[float], list[float]] = ([], [])
    spent = 0.0
    for i in range(repeats):
        if i >= 2 and spent > PATIENCE:
            break
        for side, record in zip(sides, times, strict=True):
            start = time.perf_counter()
            side()
            record.append(time.perf_counter() - start)
            spent += record[-1]
    ours, theirs = (1e3 * statistics.median(t) for t in times)
    return Row(pair.name, threads, ours, theirs, pair.note() if pair.note else "")


def operator_pairs(quick: bool = False, only: Sequence[str] = TIMED) -> Iterator[Pair]:
    """Yield the pairs of the speed table; operators are made when needed.

    Args:
        quick: small sizes.
        only: the selected groups of `TIMED`.
    """
    import deepinv

    n, views = (64, 30) if quick else (256, 180)
    if "tomography" in only:
        yield from _tomography(deepinv, n, views)
    x = torch.rand(1, 3, n, n)
    kernel = gaussian_kernel(3.0, 15 if quick else 61)
    for border in ("circular", "reflect") if "blur" in only else ():
        ours = Blur((3, n, n), kernel=kernel, border=border)
        theirs = deepinv.physics.Blur(filter=kernel.float()[None, None], padding=border)
        yield from _three(f"blur {len(kernel)}x{len(kernel)} {border}, 3x{n}^2", ours, theirs, x)
    if "downsample" not in only:
        return
    down = Downsample((3, n, n), factor=4)
    bicubic = deepinv.physics.Downsampling(img_size=(3, n, n), factor=4, filter="bicubic", padding="reflect")
    yield from _three(f"downsample x4 bicubic, 3x{n}^2", down, bicubic, x)


def _three(name: str, ours: LinearOperator, theirs: Any, x: Tensor) -> Iterator[Pair]:
    y, their_y = ours(x), theirs.A(x)
    yield Pair(f"{name}: A", lambda: ours(x), lambda: theirs.A(x))
    yield Pair(f"{name}: A^T", lambda: ours.adjoint(y), lambda: theirs.A_adjoint(their_y))
    yield Pair(f"{name}: pinv", lambda: ours.pinv(y), lambda: theirs.A_dagger(their_y))


def _tomography(deepinv: Any, n: int, views: int) -> Iterator[Pair]:
    name = f"tomography {n}^2, {views} angles"
    angles = torch.arange(views) * 180.0 / views
    ours = Tomography((1, n, n), angles_deg=angles)
    theirs = deepinv.physics.Tomography(angles=angles, img_width=n, circle=False, normalize=False)
    c = torch.linspace(-1, 1, n)
    x = ((c[:, None] ** 2 + c**2 < 0.7) + 0.5 * ((c[:, None] - 0.2) ** 2 + c**2 < 0.1)).float()[None, None]
    y, their_y = ours(x), theirs.A(x)
    yield Pair(f"{name}: A", lambda: ours(x), lambda: theirs.A(x))
    yield Pair(f"{name}: A^T", lambda: ours.adjoint(y), lambda: theirs.A_adjoint(their_y))
    yield Pair(f"{name}: filtered back-projection", lambda: ours.fbp(y), lambda: theirs.fbp(their_y))

    def solve_theirs() -> Tensor:
        solution: Tensor = theirs.A_dagger(their_y, solver="CG", max_iter=200, tol=1e-3)
        return solution

    def residuals() -> str:
        r = ours.normal(ours.pinv(y)) - ours.adjoint(y)
        s = theirs.A_adjoint(theirs.A(solve_theirs())) - theirs.A_adjoint(their_y)
        one, two = float(r.norm() / ours.adjoint(y).norm()), float(s.norm() / theirs.A_adjoint(their_y).norm())
        return f"relative residual {one:.0e}, theirs {two:.0e}"

    yield Pair(f"{name}: pinv to 1e-3", lambda: ours.pinv(y), solve_theirs, residuals)


def dot_test(forward: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """Return `|<A x, y> - <x, A^T y>| / (||A x|| ||y||)`."""
    ax, aty = forward(x), adjoint(y)
    gap = (ax * y).sum(dtype=torch.float64) - (x * aty).sum(dtype=torch.float64)
    return float(gap.abs() / (ax.double().norm() * y.double().norm()))


def accuracy(quick: bool = False) -> list[tuple[str, str, str]]:
    """Return the names of the checks and the results of both libraries."""
    import deepinv

    n, views = (64, 30) if quick else (256, 180)
    angles = torch.arange(views) * 180.0 / views
    ours = Tomography((1, n, n), angles_deg=angles)
    theirs = deepinv.physics.Tomography(angles=angles, img_width=n, circle=False, normalize=False)
    rows = []
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, n, n, generator=generator)
    y, their_y = (
        torch.randn(1, *ours.out_shape, generator=generator),
        torch.randn(theirs.A(x).shape, generator=generator),
    )
    rows.append(
        (
            "tomography, dot test in float32",
            f"{dot_test(ours, ours.adjoint, x, y):.0e}",
            f"{dot_test(theirs.A, theirs.A_adjoint, x, their_y):.0e}",
        )
    )
    double = dot_test(ours, ours.adjoint, x.double(), y.double())
    rows.append(("tomography, dot test in float64", f"{double:.0e}", "float32 only"))
    flat = torch.ones(1, 1, n, n)
    opposite = torch.tensor([0.0, 180.0])
    centred = Tomography((1, n, n), angles_deg=opposite)(flat)[0, 0]
    rotated = deepinv.physics.Tomography(angles=opposite, img_width=n, circle=False, normalize=False).A(flat)[0, 0].T
    rows.append(("tomography, axis off the image's centre, in pixels", _offset(centred), _offset(rotated)))
    return rows


def _offset(profiles: Tensor) -> str:
    """Return the offset of the centroids of two opposite profiles of a symmetric image from the middle, in pixels."""
    t = torch.arange(profiles.shape[1], dtype=torch.float64) - (profiles.shape[1] - 1) / 2
    centroids = (profiles.double() * t).sum(1) / profiles.double().sum(1)
    return f"{float(centroids.abs().mean()):.2f}"


def memory(side: str, n: int, views: int) -> tuple[float, float]:
    """Return the peak in MiB above image and sinogram of one projection and back-projection, and their seconds."""
    angles = torch.arange(views) * 180.0 / views
    x = torch.rand(1, 1, n, n)
    if side == "ours":
        a = Tomography((1, n, n), angles_deg=angles)
        forward: Callable[[Tensor], Tensor] = a.forward
        adjoint: Callable[[Tensor], Tensor] = a.adjoint
    else:
        import deepinv

        p = deepinv.physics.Tomography(angles=angles, img_width=n, circle=False, normalize=False)
        forward, adjoint = p.A, p.A_adjoint
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    y = forward(x)
    adjoint(y)
    start = time.perf_counter()
    adjoint(forward(x))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return peak / 1024 - (x.numel() + y.numel()) * 4 / 2**20, seconds


def _memory_apart(side: str, n: int, views: int) -> str:
    """Run `memory` in a separate process, so its peak is independent of others."""
    code = f"from {__name__} import memory; print(*memory({side!r}, {n}, {views}))"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"failed with {done.returncode}"
    peak, seconds = done.stdout.split()[-2:]
    return f"{float(peak):.0f} MiB, {float(seconds):.1f} s"


def measured(only: Sequence[str], threads: Sequence[int], repeats: int, quick: bool) -> list[dict[str, object]]:
    """Measure some groups, and return one record for each line of the table."""
    records: list[dict[str, object]] = []
    for pair in operator_pairs(quick, only):
        for count in threads:
            row = measure(pair, repeats, count)
            print(f"{row.name}, {count} threads: {row.ours:.2f} ms, {row.theirs:.1f} ms", file=sys.stderr, flush=True)
            records.append({"kind": "speed", **dataclasses.asdict(row)})
    n, views = (64, 30) if quick else (512, 720)
    if "memory" in only:
        name = f"tomography {n}^2, {views} angles: peak above image and sinogram, time of A and A^T"
        records.append({"kind": "other", "name": name, "ours": _memory_apart("ours", n, views),
                        "theirs": _memory_apart("theirs", n, views)})  # fmt: skip
    if "accuracy" in only:
        records += [{"kind": "other", "name": what, "ours": a, "theirs": b} for what, a, b in accuracy(quick)]
    return records


def merged(old: list[dict[str, object]], new: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the records of both; new ones replace old ones of the same name and threads."""
    by_key = {(r["name"], r.get("threads")): r for r in [*old, *new]}
    return list(by_key.values())


def table(records: Sequence[dict[str, Any]], repeats: int) -> str:
    """Return records as Markdown."""
    import deepinv

    note = (
        f"`python -m invdiff.benchmarks.studies operator_speed`: medians in milliseconds of up to {repeats} "
        f"alternating repeats, float32, CPU. torch {torch.__version__}, deepinv {deepinv.__version__}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores."
    )
    speed = [["operation", "threads", "invdiff, ms", "deepinv, ms", "ratio", ""]]
    for r in sorted((r for r in records if r["kind"] == "speed"), key=lambda r: (_place(r["name"]), r["threads"])):
        ours, theirs = r["ours"], r["theirs"]
        figures = [str(r["threads"]), f"{ours:.2f}", f"{theirs:.1f}", f"{theirs / ours:.0f}"]
        speed.append([r["name"], *figures, r["note"]])
    other = [["", "invdiff", "deepinv"]]
    other += [[r["name"], str(r["ours"]), str(r["theirs"])] for r in records if r["kind"] == "other"]
    return markdown_page("Operators beside deepinv", note, markdown_table(speed), markdown_table(other))


def _place(name: str) -> tuple[int, str]:
    """Return the sort key of a line: by group, then by operation in the order forward, adjoint, others."""
    group = next(i for i, g in enumerate(TIMED) if name.startswith(g))
    operator, _, operation = name.rpartition(": ")
    order = ["A", "A^T", "filtered back-projection"]
    return group, f"{operator} {order.index(operation) if operation in order else len(order)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies operator_speed", description=__doc__.split("\n")[0]
    )
    parser.add_argument("what", nargs="?", choices=["operators"], default="operators", help="may be left out")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="on the CPU, one table row each")
    parser.add_argument("--repeats", type=int, default=7, help="most repeats of each operation")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="measure these groups")
    parser.add_argument("--rows", type=Path, help="JSON file that keeps the results, also those of earlier runs")
    parser.add_argument("--out", type=Path, help="write the table to this file, too")
    chosen = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = measured(chosen.only, chosen.threads, chosen.repeats, chosen.quick)
    if chosen.rows is not None:
        records = merged(json.loads(chosen.rows.read_text()) if chosen.rows.exists() else [], records)
        with atomic_path(chosen.rows) as path:
            path.write_text(json.dumps(records, indent=1) + "\n")
    text = table(records, chosen.repeats)
    print(text)
    if chosen.out is not None:
        write_page(chosen.out, text)
