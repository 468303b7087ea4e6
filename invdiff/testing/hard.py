"""Small problems with a closed-form posterior that are hard for solvers, each for one reason.

The matrix problems share a prior over images of 4 x 4 pixels, which is far from white:

    x ~ N(0.5, Q diag(v) Q^T),   v from 0.3 down to 3e-5 in equal ratios,   Q a random rotation,

and matrices of independent normal numbers, of standard deviation 1/4. `low-rank` takes a product of two such matrices.
The others are images under `photograph_gaussian`, complex images, and mixtures of three Gaussians. All are in float64,
one measurement each, and every number comes from a fixed seed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..noise import Gaussian
from ..operators import MRI, Blur, Downsample, Identity, Inpainting, Tomography
from ..operators.base import LinearOperator
from ..priors import GaussianPrior, MixturePrior, photograph_gaussian
from ..problem import Problem, simulate
from ..streams import generator
from .exact import ExactProblem

SEED = 1115
SHAPE = (1, 4, 4)
D = math.prod(SHAPE)

HARD = {
    "plain": "8 numbers measured of 16, noise 0.05: nothing is hard but the correlations of the prior",
    "low-rank": "12 numbers measured by a matrix of rank 6, noise 0.05",
    "low-rank-prior": "8 numbers measured of 16, noise 0.05, with a prior of rank 6: 10 directions have no variance",
    "tiny-noise": "8 numbers measured of 16, with noise 1e-4, nearly none",
    "heavy-noise": "16 numbers measured of 16, with noise 5, 25 times the spread of the image",
    "gain-0.01": "8 numbers measured of 16, noise 0.05; then operator, measurement and noise divided by 100",
    "gain-100": "8 numbers measured of 16, noise 0.05; then operator, measurement and noise times 100",
    "scale-10": "`plain` in other units of the image: its standard deviation is 10",
    "one-mode": "three modes, of weights 0.45, 0.45 and 0.1; the measurement excludes the two heavy ones",
    "three-modes": "the same three modes, which the measurement does not distinguish",
    "one-pixel": "an image of one pixel, noise 0.1",
    "row-mask": "an image of one row, half of its pixels missing, noise 0.05",
    "column-blur": "an image of one column, blurred by 5 pixels with reflecting borders, noise 0.02",
    "complex-mri": "a complex image of 4 x 4 pixels, three of four columns of its Fourier transform, noise 0.05",
    "ct-5-views": "an image of 8 x 8 pixels, projected at 5 angles, noise 0.2",
    "downsampling": "an image of 8 x 8 pixels, every fourth pixel of it after a bicubic filter, noise 1e-3",
}
"""What each problem is, in a sentence without its full stop."""


def hard_problems() -> dict[str, ExactProblem]:
    """Return the problems by name, in the order of `HARD`.

    Example:
        >>> problem, prior = hard_problems()["tiny-noise"]
        >>> problem.noise, problem.measurement.shape
        (Gaussian(std=0.0001), torch.Size([1, 8]))
    """
    found = {**_matrix_problems(), **_mode_problems(), **_image_problems()}
    return {name: found[name] for name in HARD}


def _randn(key: int, *shape: int) -> Tensor:
    """Return standard normal numbers of one key, in float64."""
    return torch.randn(shape, generator=generator(SEED, key), dtype=torch.float64)


def _measured(operator: LinearOperator, prior: GaussianPrior, noise: float) -> ExactProblem:
    """Return the problem of one draw of the prior."""
    return simulate(operator, prior.sample(1, generator(SEED, 0), torch.float64), noise, SEED), prior


def _matrix_problems() -> dict[str, ExactProblem]:
    q, _ = torch.linalg.qr(_randn(1, D, D))
    v = 0.3 * torch.logspace(0, -4, D, dtype=torch.float64)
    middle = torch.full(SHAPE, 0.5, dtype=torch.float64)

    def gaussian(variances: Tensor, scale: float = 1.0) -> GaussianPrior:
        covariance = scale**2 * (q * variances) @ q.T
        return GaussianPrior(scale * middle, (covariance + covariance.T) / 2)

    prior = gaussian(v)
    full = _randn(2, D, D) / 4
    low_rank = _randn(3, 12, 6) @ _randn(4, 6, D) / 4
    plain = LinearOperator.from_matrix(full[:8], SHAPE)
    scale = 10 / prior.std
    return {
        "plain": _measured(plain, prior, 0.05),
        "low-rank": _measured(LinearOperator.from_matrix(low_rank, SHAPE), prior, 0.05),
        "low-rank-prior": _measured(plain, gaussian(v * (torch.arange(D) < 6)), 0.05),
        "tiny-noise": _measured(plain, prior, 1e-4),
        "heavy-noise": _measured(LinearOperator.from_matrix(full, SHAPE), prior, 5.0),
        "gain-0.01": _measured(LinearOperator.from_matrix(full[:8] / 100, SHAPE), prior, 0.05 / 100),
        "gain-100": _measured(LinearOperator.from_matrix(full[:8] * 100, SHAPE), prior, 0.05 * 100),
        "scale-10": _measured(plain, gaussian(v, scale), 0.05 * scale),
    }


def _mode_problems() -> dict[str, ExactProblem]:
    means = torch.tensor([[-1.0, -1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [1.0, -0.5, 0.0, 0.0]], dtype=torch.float64)
    prior = MixturePrior(torch.tensor([0.45, 0.45, 0.1], dtype=torch.float64), means.reshape(3, 1, 2, 2), 0.03)

    def measured(row: list[float], value: float, noise: float) -> ExactProblem:
        operator = LinearOperator.from_matrix(torch.tensor([row], dtype=torch.float64), (1, 2, 2))
        return Problem(operator, Gaussian(noise), torch.tensor([[value]], dtype=torch.float64)), prior

    return {
        "one-mode": measured([1.0, 0.0, 0.0, 0.0], 1.05, 0.05),
        "three-modes": measured([0.0, 0.0, 1.0, 0.5], 0.1, 0.1),
    }


def _image_problems() -> dict[str, ExactProblem]:
    photographs = photograph_gaussian()

    def measured(operator: LinearOperator, noise: float) -> ExactProblem:
        _, h, w = operator.in_shape
        prior = photographs.at((1, h, w))
        return simulate(operator, prior.sample(1, (1, h, w), generator(SEED, 5), torch.float64), noise, SEED), prior

    root = _randn(6, 32, 32)
    complex_prior = GaussianPrior(torch.zeros((2, 4, 4), dtype=torch.float64), root @ root.T * (0.1 / 32))
    one = GaussianPrior(torch.full((1, 1, 1), 0.5), 0.04 * torch.eye(1, dtype=torch.float64))
    pixel = torch.full((1, 1, 1, 1), 0.8, dtype=torch.float64)
    mask = torch.rand((1, 24), generator=generator(SEED, 7)) < 0.5
    kernel = torch.tensor([[1.0], [2.0], [3.0], [2.0], [1.0]]) / 9
    return {
        "one-pixel": (Problem(Identity((1, 1, 1)), Gaussian(0.1), pixel), one),
        "row-mask": measured(Inpainting(mask), 0.05),
        "column-blur": measured(Blur((1, 24, 1), kernel=kernel, border="reflect"), 0.02),
        "complex-mri": _measured(MRI((2, 4, 4), mask=torch.tensor([1, 0, 1, 1])), complex_prior, 0.05),
        "ct-5-views": measured(Tomography((1, 8, 8), angles_deg=torch.arange(5) * 36.0), 0.2),
        "downsampling": measured(Downsample((1, 8, 8), factor=4), 1e-3),
    }
