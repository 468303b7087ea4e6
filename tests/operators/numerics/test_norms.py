"""The largest singular value against dense decompositions, and where a spectrum makes it hard."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from invdiff.operators import JPEG, Downsample, GammaCurve, HighDynamicRange, LinearOperator, Operator, PhaseRetrieval
from invdiff.operators.numerics.norms import derivative_norm, largest_singular_value


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


M = random(20, 12)


def test_largest_singular_value() -> None:
    found = largest_singular_value(lambda x: x @ M.T @ M, (12,), tolerance=1e-10, max_iterations=5000)
    assert found.status == "converged"
    assert found.value == pytest.approx(float(torch.linalg.matrix_norm(M, 2)), rel=1e-6)
    assert largest_singular_value(lambda x: 0 * x, (12,)).value == 0
    assert largest_singular_value(lambda x: x @ M.T @ M, (12,), max_iterations=1).status == "limit"
    assert largest_singular_value(lambda x: x * float("inf"), (12,)).status == "diverged"


def test_norm_of_operators() -> None:
    a = LinearOperator.from_matrix(M)
    b = _Product()
    assert a.norm() == pytest.approx(float(torch.linalg.matrix_norm(M, 2)))
    assert b.norm() == pytest.approx(a.norm(), rel=1e-2)


class _Product(LinearOperator):
    in_shape, out_shape = (12,), (20,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ M.to(x).T


def dense_norm(a: LinearOperator) -> float:
    n = math.prod(a.in_shape)
    rows = a(torch.eye(n, dtype=torch.float64).reshape(n, *a.in_shape)).flatten(1)
    return float(torch.linalg.matrix_norm(rows, 2))


@pytest.mark.parametrize("seed", range(8))
def test_norm_of_downsampling_with_a_kernel_of_full_rank(seed: int) -> None:
    """Its largest singular values lie together, where power iteration stops 2 % too low."""
    kernel = torch.rand(5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    a = Downsample((1, 16, 16), factor=2, kernel=kernel)
    assert a.svd is None
    assert a.norm() == pytest.approx(dense_norm(a), rel=1e-3)


SPECTRA = {
    "uniform": torch.linspace(0, 1, 3000, dtype=torch.float64),
    "dense at the top": (1 - torch.cos(torch.linspace(0, math.pi, 3000, dtype=torch.float64))) / 2,
    "one above a plateau": torch.cat([torch.full((2999,), 0.995), torch.ones(1)]).double(),
    "flat": torch.linspace(0, 1, 3000, dtype=torch.float64) ** 0.01,
    "one far above": torch.cat([torch.linspace(0, 1e-3, 2999), torch.ones(1)]).double(),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_the_stated_error_holds_from_any_start(name: str) -> None:
    s = SPECTRA[name]
    for seed in range(20):
        found = largest_singular_value(lambda x: x * s**2, s.shape, seed=seed)
        assert found.status == "converged"
        assert 1 - 1e-3 <= found.value <= 1 + 1e-12


def test_a_coarser_tolerance_takes_fewer_steps() -> None:
    s = SPECTRA["uniform"]
    fine, coarse = (largest_singular_value(lambda x: x * s**2, s.shape, tolerance=t) for t in (1e-3, 3e-2))
    assert coarse.iterations < fine.iterations / 2


def test_norm_of_a_derivative_is_that_of_the_jacobian() -> None:
    shape = (1, 6, 6)
    for operator in (PhaseRetrieval(shape), GammaCurve(shape), HighDynamicRange(shape, gain=3.0)):
        g = torch.Generator().manual_seed(0)
        x = 0.5 + 0.05 * torch.randn((1, *shape), generator=g, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(operator.forward, x).reshape(-1, 36)
        assert operator.spectral_norm == pytest.approx(float(torch.linalg.matrix_norm(jacobian, 2)), rel=0.1)
        assert operator.spectral_norm == derivative_norm(operator.forward, shape, torch.zeros((), dtype=torch.float64))


def _hundredfold(operator: Operator, x: torch.Tensor) -> torch.Tensor:
    return 100 * operator.forward(x)


def test_norm_of_a_derivative_scales_with_the_measurement() -> None:
    for operator in (PhaseRetrieval((1, 8, 8)), JPEG((3, 16, 16), quality=10)):
        scaled = Operator.from_function(partial(_hundredfold, operator), operator.in_shape)
        assert scaled.spectral_norm == pytest.approx(100 * operator.spectral_norm, rel=1e-6)


def test_norm_of_a_derivative_that_says_nothing_is_one() -> None:
    for f in (lambda x: 0 * x, lambda x: x.detach() ** 2, lambda x: x * float("inf")):
        assert derivative_norm(f, (1, 4, 4), torch.zeros(())) == 1
