"""Unknown parameters of blur, noise and tomography on held-out pictures: the scalar part of docs/blind.md.

    python -m invdiff.benchmarks.studies blind --images FOLDER --task sigma [--limit 6] [--solver evidence|fast_em]
    python -m invdiff.benchmarks.studies blind --images FOLDER --task noise      blur and noise level, both unknown
    python -m invdiff.benchmarks.studies blind --images FOLDER --task motion     length and angle
    python -m invdiff.benchmarks.studies blind --images FOLDER --task centre     of rotation, 256 x 256, 180 views

Pictures are central squares of 128 x 128 pixels, in colour; true values are drawn for each from the seed. Rows are
printed as they come, and a summary at the end.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...noise import Gaussian
from ...operators import Operator, OperatorFamily, Tomography
from ...operators.builders.factory import make_operator
from ...priors import load_prior
from ...problem import simulate
from ...registry import solvers
from ...solvers.common.inferring import InferringSolver
from ...spacing import evenly_spaced
from ...streams import generator
from ...unknowns import Unknown
from .denoisers import folder_photographs, picture_tensor

SIDES = {"sigma": 128, "noise": 128, "motion": 128, "centre": 256}
"""Sides of the pictures by task."""
LIMITS = {"sigma": 0.1, "noise": 0.1, "length": 0.1, "angle": 5.0, "detector_offset": 0.1}
"""Errors that are asked for: relative ones, degrees of the angle, pixels of the offset."""
TRUTHS = {
    "sigma": {"sigma": (1.0, 4.0)},
    "noise": {"sigma": (1.0, 4.0), "noise": (0.005, 0.05)},
    "motion": {"length": (7.0, 25.0), "angle": (0.0, 180.0)},
    "centre": {"detector_offset": (-5.0, 5.0)},
}
"""Ranges of the true values."""


def family_of(task: str) -> Operator:
    """Return the operators of a task."""
    side = SIDES[task]
    if task == "centre":
        angles = torch.arange(180, dtype=torch.float64)
        offset = Unknown(-6.0, 6.0)
        return OperatorFamily(Tomography, (1, side, side), angles_deg=angles, detector_offset=offset)
    if task == "motion":
        options: Mapping[str, object] = {"kernel": "motion", "length": Unknown(3.0, 40.0), "angle": Unknown()}
    else:
        options = {"sigma": Unknown(0.5, 6.0)}
    return make_operator("blur", (3, side, side), options)


def error_of(name: str, found: float, true: float) -> float:
    """Return an error in the unit of its limit."""
    if name == "angle":
        return abs((found - true + 90) % 180 - 90)
    return abs(found - true) if name == "detector_offset" else abs(found / true - 1)


def pictures(folder: Path, task: str, limit: int) -> list[Tensor]:
    """Return the central squares of evenly spaced pictures of a folder, `(1, C, side, side)` each."""
    side, gray = SIDES[task], task == "centre"
    found = [x for x in folder_photographs(folder, None, side, gray=gray) if x.shape[:2] == (side, side)]
    return [picture_tensor(x) for x in evenly_spaced(found, limit)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the rows of a task."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies blind", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--task", choices=sorted(TRUTHS), required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures that no prior saw")
    parser.add_argument("--limit", type=int, default=6, help="number of pictures, evenly spaced")
    parser.add_argument("--solver", default="evidence", choices=["evidence", "fast_em"])
    parser.add_argument("--noise", type=float, default=0.01, help="noise level, where it is known")
    options = parser.parse_args(arguments)
    solver: InferringSolver = solvers[options.solver]()
    prior = load_prior("photo-gray" if options.task == "centre" else "photo")
    family, ranges = family_of(options.task), TRUTHS[options.task]
    errors: dict[str, list[float]] = {name: [] for name in ranges}
    deviations: dict[str, list[float]] = {name: [] for name in ranges}
    for i, x in enumerate(pictures(options.images, options.task, options.limit)):
        g = generator(17, i)
        true = {n: low + (high - low) * float(torch.rand((), generator=g)) for n, (low, high) in ranges.items()}
        level = options.noise
        if options.task == "centre":
            level = options.noise * float(family.at(true)(x).max()) if isinstance(family, OperatorFamily) else level
        law = Gaussian(Unknown()) if options.task == "noise" else level  # type: ignore[arg-type]
        problem = simulate(family, x, law, seed=i, parameters=true)
        begin = time.perf_counter()
        found = solver.infer(problem, prior, 4, np.random.default_rng(i))
        cells = []
        for k, (name, value) in enumerate(true.items()):
            errors[name].append(error_of(name, float(found.mean[k]), value))
            deviations[name].append((float(found.mean[k]) - value) / max(float(found.std[k]), 1e-12))
            cells.append(f"{name} {value:.4g}: {found.mean[k]:.4g} +- {found.std[k]:.2g}")
        print(f"{i}  {', '.join(cells)}  ({time.perf_counter() - begin:.0f} s)", flush=True)
    print("\n| unknown | pictures | median error | largest error | within the limit | rms of error / std |")
    print("|---|---|---|---|---|---|")
    for name, e in errors.items():
        z = float(np.sqrt(np.mean(np.square(deviations[name])))) if name != "angle" else float("nan")
        share = float(np.mean(np.array(e) <= LIMITS[name]))
        print(f"| {name} | {len(e)} | {np.median(e):.3g} | {max(e):.3g} | {share:.0%} of {LIMITS[name]:g} | {z:.2g} |")
