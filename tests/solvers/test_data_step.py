"""The step towards the data, against dense linear algebra."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invdiff import Problem
from invdiff.noise import Gaussian
from invdiff.operators import Blur, Inpainting, LinearOperator, gaussian_kernel
from invdiff.solvers.common.data_step import FEW, data_step, distinct
from invdiff.solvers.common.singular import SingularData


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Rows(LinearOperator):
    """A matrix on each column, without a spectrum, of condition 100."""

    in_shape, out_shape = (1, 30, 4), (1, 40, 4)

    def __init__(self) -> None:
        u, v = (torch.linalg.qr(random(n, 30, seed=n)).Q for n in (40, 30))
        self.matrix = u @ torch.diag(torch.logspace(0, -2, 30, dtype=torch.float64)) @ v.T

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.matrix.to(x) @ x
        return y


BLUR = Blur((1, 6, 6), kernel=gaussian_kernel(0.8), border="circular")
OPERATORS = {"spectrum": BLUR, "mask": Inpainting(torch.eye(6)), "no spectrum": Rows()}


def dense(a: LinearOperator) -> Tensor:
    n = torch.Size(a.in_shape).numel()
    return a(torch.eye(n, dtype=torch.float64).reshape(n, *a.in_shape)).flatten(1).T


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("rho", [0.0, 0.3, torch.tensor([0.3, 2.0])], ids=["zero", "number", "each image"])
@pytest.mark.parametrize("kind", OPERATORS)
def test_it_is_the_formula(kind: str, rho: float | Tensor, noisy: bool) -> None:
    operator = OPERATORS[kind]
    problem = Problem(operator, Gaussian(0.1), random(2, *operator.out_shape, seed=1))
    x, n = random(2, *operator.in_shape, seed=2), random(2, *operator.out_shape, seed=3)
    data = SingularData.of(problem) if kind == "spectrum" else None
    got = data_step(problem, data, x, rho, noise=n if noisy else None)
    a = dense(operator)
    residual = problem.residual(x) + (n if operator.observed is None else n * operator.observed) * noisy
    for b in range(2):
        weight = float(rho[b]) if isinstance(rho, Tensor) else rho
        system = torch.linalg.pinv(a.T @ a + weight * torch.eye(a.shape[1], dtype=torch.float64))
        expected = system @ a.T @ residual[b].flatten()
        torch.testing.assert_close(got[b].flatten(), expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("rho", [0.0, 1e-5])
def test_few_iterations_stop_early_and_only_without_a_spectrum(rho: float) -> None:
    for kind, operator in OPERATORS.items():
        problem = Problem(operator, Gaussian(0.1), random(1, *operator.out_shape, seed=1))
        x = random(1, *operator.in_shape, seed=2)
        full, few = (data_step(problem, None, x, rho, iterations=k) for k in (None, FEW))
        error = float((full - few).norm() / full.norm())
        assert (error > 0.01) == (kind == "no spectrum")


def test_a_weight_too_small_to_matter_counts_as_zero() -> None:
    assert distinct(BLUR, 1e-13) == 0  # whose norm is 1
    assert distinct(BLUR, 1e-11) == 1e-11
