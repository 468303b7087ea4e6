"""Problems whose posterior is known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from ..noise import Gaussian
from ..operators import Blur, Inpainting
from ..operators.base import LinearOperator, Spectrum
from ..priors import MixturePrior, Prior, photograph_gaussian
from ..problem import Problem, simulate
from ..streams import generator

ExactProblem = tuple[Problem, Prior]


class MatrixOperator(LinearOperator):
    """`A = U diag(s) V^T` as a dense matrix on vectors that are written as images `(d, 1, 1)`.

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
        """The decomposition that it was made from."""
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
        raise ValueError(f"mixture_problem: expected an even d_x and 1 <= d_y <= d_x, got d_x={d_x}, d_y={d_y}")
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


def exact_problems() -> dict[str, ExactProblem]:
    """Return the problems that solvers are graded on, by name, in float64.

    - "inpainting", "deblurring": 8 x 8 images under the Gaussian prior of photographs, noise 0.05.
    - "modes": two well separated, unequal modes that the measurement does not tell apart.
    - "mixture": the experiment with 25 modes, d_x = 8 and d_y = 2.
    """
    prior = photograph_gaussian()
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
