"""The tasks of the priors of scans and microscopy, on held-out images, beside classical methods.

    python -m invdiff.benchmarks.studies scans --task mri --images FOLDER [--limit 6] [--solvers auto tv]
    python -m invdiff.benchmarks.studies scans --task photons --images FOLDER
    python -m invdiff.benchmarks.studies scans --task deconvolution --images FOLDER

`mri` measures a quarter of the columns of the frequencies, the central 8 % among them, with noise of 0.01 of white in
real and imaginary part. `photons` has 30 photons for white. `deconvolution` halves the resolution after a blur of a
pixel's width, with noise 0.02. The noise is seeded by the image, and the same for every method.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import UserError
from ...noise import Gaussian, Noise, Poisson
from ...operators import MRI, Downsample, Identity, LinearOperator, cartesian_mask, gaussian_kernel
from ...problem import Problem, simulate
from ...spacing import evenly_spaced
from ._denoising_peers import classical_methods
from .denoisers import find_prior, folder_photographs
from .sparse_view import compare, markdown, solver_row

SIDE = 256
PHOTONS = 30.0
SHAPE = (1, SIDE, SIDE)
TASKS: Mapping[str, tuple[str, Callable[[], LinearOperator], Noise]] = {
    "mri": ("mri", lambda: MRI(SHAPE, mask=cartesian_mask(SHAPE[1:], acceleration=4)), Gaussian(0.01)),
    "photons": ("cells", lambda: Identity(SHAPE), Poisson(PHOTONS)),
    "deconvolution": ("cells", lambda: Downsample(SHAPE, factor=2, kernel=gaussian_kernel(1.0, 9)), Gaussian(0.02)),
}
"""Prior, operator and noise of each task."""


def images_of(folder: Path, limit: int | None) -> Tensor:
    """Return the central squares of evenly spaced images of a folder, `(N, 1, SIDE, SIDE)`.

    Smaller images are left out.

    Raises:
        ValueError: no image is large enough.
    """
    found = [x for x in folder_photographs(folder, None, SIDE, gray=True) if x.shape[:2] == (SIDE, SIDE)]
    if not found:
        raise UserError(f"images: expected some of at least {SIDE} x {SIDE} pixels in {folder}, found none")
    return torch.from_numpy(np.stack(evenly_spaced(found, limit))).permute(0, 3, 1, 2).float()


def linear_estimate(problem: Problem) -> Tensor:
    """Return the pseudo-inverse of the measurement: zero-filled frequencies, or the measurement itself."""
    assert isinstance(problem.operator, LinearOperator)
    return problem.operator.pinv(problem.measurement)


def anscombe(problem: Problem) -> Tensor:
    """Return BM3D of the photon counts, made of equal variance by Anscombe's transform.

    References:
        Optimal Inversion of the Anscombe Transformation in Low-Count Poisson Image Denoising (Makitalo, Foi, 2011),
        https://doi.org/10.1109/TIP.2010.2056693; A Closed-Form Approximation of the Exact Unbiased Inverse of the
        Anscombe Variance-Stabilizing Transformation (the same, 2011), https://doi.org/10.1109/TIP.2011.2121085.
    """
    counts = PHOTONS * problem.measurement[0, 0].double().numpy()
    stable = 2 * np.sqrt(counts + 3 / 8)
    top = float(stable.max())
    d = top * classical_methods()["BM3D"](stable[..., None] / top, 1 / top)[..., 0]
    d = np.maximum(d, 2 * np.sqrt(3 / 8))  # the value of zero counts
    a = np.sqrt(3 / 2)
    mean = d**2 / 4 + a / (4 * d) - 11 / (8 * d**2) + 5 * a / (8 * d**3) - 1 / 8
    return torch.from_numpy(mean / PHOTONS).float()[None, None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of a task."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies scans", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder of held-out images")
    parser.add_argument("--limit", type=int, default=6, help="number of images, evenly spaced")
    parser.add_argument("--prior", help="name or path of a prior of gray images; default: that of the task")
    parser.add_argument("--solvers", nargs="+", default=["auto"], help="NAME:key=value,...")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--threads", type=int, help="CPU threads")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    name, operator, noise = TASKS[options.task]
    images, prior = images_of(options.images, options.limit), find_prior(options.prior or name)
    problems = [simulate(operator(), x[None], noise, seed=i) for i, x in enumerate(images)]
    row = functools.partial(compare, slices=images, problems=problems)
    rows = [row("pseudo-inverse", method=linear_estimate)]
    if options.task == "photons":
        if "BM3D" in classical_methods():
            rows.append(row("BM3D, Anscombe", method=anscombe))
    else:
        rows.append(solver_row("tv", prior, images, problems, 1))
    rows += [solver_row(s, prior, images, problems, options.samples) for s in options.solvers]
    print(f"{len(images)} images of {SIDE} x {SIDE} pixels, {options.samples} samples\n\n{markdown(rows)}")
