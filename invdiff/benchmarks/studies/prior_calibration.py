"""Calibration of a prior: its own reverse diffusion, begun at a noisy photograph, against the photograph.

    python -m invdiff.benchmarks.studies prior_calibration --photos FOLDER [--prior photo] [--work FILE]

`z = x + sigma n` is the only measurement, so samples of `p(x | z)` need the prior's denoiser and the steps of the
reverse diffusion, and nothing else. With the mean `m` and the standard deviation `s` of `S` samples, pixel by pixel,

    coverage    share of the pixels with |x - m| <= t s sqrt(1 + 1/S),  t of Student's t at 90 %          0.9 is right
    ratio       sum (x - m)^2 / sum (1 + 1/S) s^2                                                         1 is right

What was measured is kept in the file of `--work`, so the same command continues after an interruption.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...interface import reconstruct
from ...metrics import coverage, psnr
from ...operators import Identity
from ...priors import Prior, load_prior
from ...problem import simulate
from ...reconstruction import mean_and_variance
from ...registry import solvers
from ...solvers import make_solver
from ...specs import parse_spec
from ..results.markdown import markdown_table
from .denoisers import folder_photographs, picture_tensor

LEVELS, STEPS = (0.05, 0.1, 0.2), (10, 30)
PROBABILITY = 0.9
HEAD = [
    "noise",
    "steps",
    f"coverage of {100 * PROBABILITY:.0f} % intervals",
    "squared error / variance",
    "PSNR of the mean, dB",
]


@dataclasses.dataclass(frozen=True)
class Row:
    """The calibration for one photograph.

    Attributes:
        solver: name and options.
        noise: standard deviation.
        steps: of the reverse diffusion.
        number: of the photograph.
        coverage: share of its pixels in their interval.
        error: mean of `(x - m)^2`.
        variance: mean of `(1 + 1/S) s^2`.
        psnr: of the mean over the samples, in dB.
    """

    solver: str
    noise: float
    steps: int
    number: int
    coverage: float
    error: float
    variance: float
    psnr: float


def measure(image: Tensor, prior: Prior, spec: str, noise: float, steps: int, number: int, samples: int) -> Row:
    """Return the calibration of the reverse diffusion from the noisy `image`, `(1, C, H, W)`."""
    problem = simulate(Identity(tuple(image.shape[1:])), image, noise, seed=number)
    solver = parse_spec(spec)
    made = make_solver(solvers[solver.name], {**solver.options, "steps": steps})
    draws = reconstruct(problem, prior, made, samples=samples, seed=number).samples
    mean, variance = mean_and_variance(draws.double())
    inside = float(coverage(draws, image, level=PROBABILITY))
    error = float((mean - image.double()).square().mean())
    return Row(
        spec, noise, steps, number, inside, error, (1 + 1 / samples) * float(variance.mean()), float(psnr(mean, image))
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return a line for each noise level and number of steps."""
    body = []
    for noise, steps in sorted({(r.noise, r.steps) for r in rows}):
        some = [r for r in rows if (r.noise, r.steps) == (noise, steps)]
        share = statistics.fmean(r.coverage for r in some)
        ratio = sum(r.error for r in some) / sum(r.variance for r in some)
        quality = statistics.fmean(r.psnr for r in some)
        body.append([f"{noise:g}", str(steps), f"{share:.3f}", f"{ratio:.2f}", f"{quality:.2f}"])
    return markdown_table([HEAD, *body])


def _read(file: Path | None) -> list[Row]:
    lines = file.read_text(encoding="utf-8").splitlines() if file is not None and file.is_file() else []
    return [Row(**json.loads(line)) for line in lines]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies prior_calibration", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--photos", type=Path, required=True, help="folder of held-out photographs")
    parser.add_argument("--limit", type=int, default=16, help="number of photographs, evenly spaced")
    parser.add_argument("--prior", default="photo")
    parser.add_argument("--solver", default="pixelwise", help="reverse diffusion with an option `steps`")
    parser.add_argument("--noise", type=float, nargs="+", default=LEVELS, help="standard deviations")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--size", type=int, default=96, help="side of the central square")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--work", type=Path, help="file of what was measured; continued")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    prior = load_prior(options.prior)
    pixels = folder_photographs(options.photos, options.limit, options.size, gray=prior.shape[0] == 1)
    images = [picture_tensor(x) for x in pixels]
    found = {(r.solver, r.noise, r.steps, r.number): r for r in _read(options.work)}
    rows = []
    for noise, steps in ((s, k) for s in options.noise for k in options.steps):
        for number, image in enumerate(images):
            key = (options.solver, noise, steps, number)
            if key not in found:
                found[key] = measure(image, prior, options.solver, noise, steps, number, options.samples)
                if options.work is not None:
                    with options.work.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(dataclasses.asdict(found[key])) + "\n")
            rows.append(found[key])
        print(f"noise {noise:g}, {steps} steps: done", file=sys.stderr, flush=True)
    facts = f"{len(images)} photographs, squares of at most {options.size} pixels, {options.samples} samples each"
    print(f"`{options.solver}` with `{options.prior}`: {facts}\n\n{markdown(rows)}")
