"""Sparse-view CT of held-out slices, compared with filtered back-projection and total variation.

    python -m invdiff.benchmarks.studies sparse_view --slices FOLDER [--limit N] [--prior ct] [--solvers tv dps diffpir]

The measurement is `y = A x + n` of parallel rays at `views` angles over half a turn, with `n` Gaussian at 1 % of the
root mean square of the clean sinogram; it is seeded by the slice, and the same for every method. PSNR is that of the
result clipped to [0, 1], its mean over slices in dB. `FBP + TV` is scikit-image's `denoise_tv_chambolle` of the
filtered back-projection with the best of `WEIGHTS` for the same slices, so its weight is chosen with the truth.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...interface import reconstruct
from ...metrics import psnr, ssim
from ...operators import Tomography
from ...operators.tomography.parallel import Filter
from ...priors import Prior
from ...problem import Problem, simulate
from ...solvers.base import solver_of
from ...spacing import evenly_spaced
from ..results.markdown import markdown_table
from .denoisers import find_prior

WEIGHTS = (0.05, 0.1, 0.15, 0.2, 0.3)


@dataclasses.dataclass(frozen=True)
class Row:
    """One method's figures: PSNR in dB and SSIM for each slice, and the median seconds for one."""

    method: str
    psnr: list[float]
    ssim: list[float]
    seconds: float


def folder_slices(folder: Path, limit: int | None, pattern: str = "*.png") -> Tensor:
    """Return evenly spaced grey images of a folder, `(N, 1, H, W)` in [0, 1].

    Raises:
        FileNotFoundError: the folder holds no such image.
    """
    files = sorted(folder.glob(pattern))
    if not files:
        raise FileNotFoundError(f"slices: expected images {pattern!r} in {folder}, found none")
    images = []
    for file in evenly_spaced(files, limit):
        with Image.open(file) as image:
            images.append(torch.from_numpy(np.asarray(image.convert("L"), dtype=np.float32) / 255)[None])
    return torch.stack(images)


def measure(slices: Tensor, views: int) -> list[Problem]:
    """Return the problem of each slice."""
    operator = Tomography(tuple(slices.shape[1:]), angles_deg=torch.arange(views) * (180.0 / views))
    return [
        simulate(operator, x[None], 0.01 * float(operator(x[None]).square().mean().sqrt()), seed=i)
        for i, x in enumerate(slices)
    ]


def compare(name: str, slices: Tensor, problems: Sequence[Problem], method: Callable[[Problem], Tensor]) -> Row:
    """Return the figures of a method, which maps a problem to an image `(1, 1, H, W)`."""
    quality: list[tuple[float, float]] = []
    seconds = []
    for x, problem in zip(slices, problems, strict=True):
        start = time.perf_counter()
        out = method(problem)
        seconds.append(time.perf_counter() - start)
        out = out.clamp(0, 1)
        quality.append((float(psnr(out, x[None])), float(ssim(out, x[None]))))
        print(f"{name}: slice {len(quality)} of {len(slices)}: {quality[-1][0]:.2f} dB", file=sys.stderr)
    return Row(name, [q[0] for q in quality], [q[1] for q in quality], statistics.median(seconds))


def classical(slices: Tensor, problems: Sequence[Problem]) -> list[Row]:
    """Return the rows of filtered back-projection and of its denoising by total variation."""
    from skimage.restoration import denoise_tv_chambolle

    def fbp(problem: Problem, window: Filter) -> Tensor:
        operator = problem.operator
        assert isinstance(operator, Tomography)
        return operator.fbp(problem.measurement, filter=window)

    def smooth(problem: Problem, weight: float) -> Tensor:
        image = fbp(problem, "ramp")[0, 0].numpy()
        return torch.from_numpy(denoise_tv_chambolle(image, weight=weight))[None, None].to(torch.float32)

    windows: tuple[Filter, ...] = ("ramp", "hann")
    rows = [compare(f"FBP, {w}", slices, problems, functools.partial(fbp, window=w)) for w in windows]
    smoothed = [
        compare(f"FBP + TV, weight {w}", slices, problems, functools.partial(smooth, weight=w)) for w in WEIGHTS
    ]
    return [*rows, max(smoothed, key=lambda r: statistics.fmean(r.psnr))]


def solver_row(spec: str, prior: Prior, slices: Tensor, problems: Sequence[Problem], samples: int) -> Row:
    """Return the row of a solver, `name` or `name:option=value,...`: the mean of its samples."""
    return compare(
        spec if samples == 1 else f"{spec}, mean of {samples}",
        slices,
        problems,
        lambda p: reconstruct(p, prior, solver_of(spec), samples=samples).mean,
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ["method", "PSNR, dB", "SSIM", "s a slice"]
    body = [
        [r.method, f"{statistics.fmean(r.psnr):.2f}", f"{statistics.fmean(r.ssim):.3f}", f"{r.seconds:.1f}"]
        for r in rows
    ]
    return markdown_table([head, *body])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies sparse_view", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--slices", type=Path, required=True, help="folder of held-out slices, PNG")
    parser.add_argument("--pattern", default="*.png", help="pattern of its files")
    parser.add_argument("--limit", type=int, help="number of slices, evenly spaced")
    parser.add_argument("--prior", default="ct", help="name or path of a prior of grey images")
    parser.add_argument("--views", type=int, default=30, help="angles over half a turn")
    parser.add_argument("--solvers", nargs="*", default=["tv", "dps", "diffpir"], help="name or name:option=value,...")
    parser.add_argument("--samples", type=int, default=1, help="samples that are averaged")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args(arguments)
    prior = find_prior(options.prior)
    slices = folder_slices(options.slices, options.limit, options.pattern)
    problems = measure(slices, options.views)
    rows = classical(slices, problems)
    rows += [solver_row(spec, prior, slices, problems, options.samples) for spec in options.solvers]
    print(markdown(rows))
    if options.json is not None:
        options.json.write_text(json.dumps([dataclasses.asdict(r) for r in rows], indent=1), encoding="utf-8")
