"""Problems with a closed-form posterior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import UserError
from ..noise import Gaussian, Noise
from ..operators import Blur, Inpainting, Operator
from ..operators.base import LinearOperator, Spectrum
from ..priors import MixturePrior, Prior, photograph_gaussian
from ..problem import Problem, noise_for, simulate
from ..streams import generator

ExactProblem = tuple[Problem, Prior]
DENSE = 2048
"""Largest size of an image or measurement for which the dense matrices of the posterior are fast."""


class MatrixOperator(LinearOperator):
    """`A = U diag(s) V^T` as a dense matrix on vectors in the shape of images `(d, 1, 1)`.

    Args:
        u: orthonormal columns, `(m, m)`.
        s: singular values, `(m,)`.
        v: orthonormal columns, `(d, m)`.

    Example:
        >>> import torch
        >>> MatrixOperator(torch.eye(1), torch.ones(1), torch.eye(3)[:, :1])(torch.ones(1, 3, 1, 1))
        tensor([[1.]])
    """

    def __init__(self, u: Tensor, s: Tensor, v: Tensor) -> None:
        self.u, self.s, self.v = u, s, v
        self.in_shape, self.out_shape = (len(v), 1, 1), (len(u),)

    def forward(self, x: Tensor) -> Tensor:
        """Return `U (s * V^T x)`."""
        return x.flatten(1) @ ((self.v * self.s) @ self.u.T).to(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `V (s * U^T y)`."""
        return (y @ ((self.u * self.s) @ self.v.T).to(y)).reshape(-1, *self.in_shape)

    @property
    def svd(self) -> Spectrum:
        """The decomposition of the constructor."""
        return Spectrum(
            s=self.s,
            V=lambda c: (c @ self.v.T.to(c)).reshape(-1, *self.in_shape),
            Vt=lambda x: x.flatten(1) @ self.v.to(x),
            U=lambda c: c @ self.u.T.to(c),
            Ut=lambda y: y @ self.u.to(y),
        )


def mixture_problem(d_x: int, d_y: int, seed: int) -> ExactProblem:
    """Return the experiment with a mixture of 25 Gaussians: a random operator, weights, noise level and measurement.

    Means `(-8 i, -8 j)` for i, j in -2..2, repeated `d_x / 2` times; identity covariances; weights in proportion to
    squared normals; `A = U diag(s) V^T` from a normal matrix, with `s` sorted and uniform in (0, 1);
    `sigma_y` uniform in (0, 1) times the largest `s`.

    Args:
        d_x: dimension of x, even.
        d_y: dimension of y, at most `d_x`.
        seed: non-negative integer.

    References:
        Monte Carlo Guided Diffusion for Bayesian Linear Inverse Problems (Cardoso et al., 2024),
        https://arxiv.org/abs/2308.07983, section 4.
    """
    if d_x < 2 or d_x % 2 or not 1 <= d_y <= d_x:
        raise UserError(f"mixture_problem: expected an even d_x and 1 <= d_y <= d_x, got d_x={d_x}, d_y={d_y}")
    g = generator(seed, d_x, d_y)
    pairs = torch.tensor([(-8.0 * i, -8.0 * j) for i in range(-2, 3) for j in range(-2, 3)], dtype=torch.float64)
    weights = torch.randn(25, generator=g, dtype=torch.float64) ** 2
    prior = MixturePrior(weights, pairs.repeat(1, d_x // 2).reshape(25, d_x, 1, 1), 1.0)
    u, _, vt = torch.linalg.svd(torch.randn(d_y, d_x, generator=g, dtype=torch.float64), full_matrices=False)
    s = torch.rand(d_y, generator=g, dtype=torch.float64).sort(descending=True).values
    std = float(torch.rand((), generator=g, dtype=torch.float64) * s.max())
    operator = MatrixOperator(u, s, vt.T)
    clean = operator(prior.sample(1, g, torch.float64))
    y = clean + std * torch.randn(clean.shape, generator=g, dtype=torch.float64)
    return Problem(operator, Gaussian(std), y), prior


def operator_problem(
    operator: Operator, noise: Noise | float = 0.05, *, images: int = 2, seed: int = 2026
) -> ExactProblem:
    """Return a problem with a closed-form posterior for any linear operator.

    Its images are drawn from the Gaussian prior of photographs.

    Args:
        operator: a linear operator on images of 1 or 3 channels.
        noise: Gaussian noise, of one level or one for each entry, or its standard deviation.
        images: number of measurements.
        seed: non-negative integer.

    Returns:
        The problem, in float64, and the prior.

    Raises:
        ValueError: an operator or noise without a closed-form posterior, or more than `DENSE` numbers in an image or a
            measurement, because the matrices of the posterior are dense.

    Example:
        >>> from invdiff.operators import Grayscale
        >>> operator_problem(Grayscale((3, 8, 8)))[0].measurement.shape
        torch.Size([2, 1, 8, 8])
    """
    if not isinstance(operator, LinearOperator):
        raise UserError(
            f"operator_problem: operator: expected a linear one, as the posterior has a closed form for no other, "
            f"got {operator!r}; derive it from LinearOperator if it is linear"
        )
    size = max(math.prod(operator.in_shape), math.prod(operator.out_shape))
    if size > DENSE or len(operator.in_shape) != 3 or operator.in_shape[0] not in (1, 3):
        raise UserError(
            f"operator_problem: operator: expected images of 1 or 3 channels, and at most {DENSE} numbers in an image "
            f"and in a measurement, got {operator!r}; build it for a smaller image"
        )
    law = noise_for(operator, noise)
    if not law.is_gaussian:
        raise UserError(
            f"operator_problem: noise: expected Gaussian, as the posterior has a closed form for no other, "
            f"got {law!r}; give a standard deviation"
        )
    c, h, w = operator.in_shape
    prior = photograph_gaussian().at((c, h, w))
    x = prior.sample(images, (c, h, w), generator(seed, 1), torch.float64)
    return simulate(operator, x, law, seed), prior


ORDINARY = {
    "inpainting": "two images of 8 x 8 pixels under `photograph_gaussian`, half of the pixels missing, noise 0.05",
    "deblurring": "the same two images, blurred by 3 x 3 pixels with circular borders, noise 0.05",
    "modes": "two well separated, unequal modes that the measurement does not distinguish",
    "mixture": "the experiment of MCGDiff with 25 modes in 8 dimensions, 2 of which are measured",
}
"""What each of `exact_problems` is, in a sentence without its full stop."""


def exact_problems() -> dict[str, ExactProblem]:
    """Return the ordinary problems on which solvers are graded, by name, in float64; `ORDINARY` describes them."""
    prior = photograph_gaussian().at((1, 8, 8))
    g = generator(2026)
    x = prior.sample(2, (1, 8, 8), g, torch.float64)
    mask = torch.rand(8, 8, generator=g) < 0.5
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
    means = torch.tensor([[-1.0, -1.0, 0.5], [1.0, 1.0, 0.5]], dtype=torch.float64).reshape(2, 3, 1, 1)
    modes = MixturePrior(torch.tensor([0.3, 0.7]), means, 0.05)
    last = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    see_last = MatrixOperator(one[:, None], one, last)
    return {
        "inpainting": (simulate(Inpainting(mask), x, 0.05), prior),
        "deblurring": (simulate(Blur((1, 8, 8), kernel=kernel, border="circular"), x, 0.05), prior),
        "modes": (Problem(see_last, Gaussian(0.2), torch.tensor([[0.7]], dtype=torch.float64)), modes),
        "mixture": mixture_problem(8, 2, seed=0),
    }
