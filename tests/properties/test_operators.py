"""Properties of linear operators, for any that hypothesis builds of simple ones."""

from __future__ import annotations

import math

import pytest
import torch
from drawn import SEEDS, normal, operators, repeatable
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invdiff.operators import LinearOperator

SHAPES = st.tuples(st.integers(1, 3), st.integers(2, 5), st.integers(2, 5))
OPERATORS = SHAPES.flatmap(lambda shape: operators(shape))


def dense(a: LinearOperator) -> Tensor:
    """Return the matrix, `(m, n)`."""
    n = math.prod(a.in_shape)
    return a(torch.eye(n, dtype=torch.float64).reshape(n, *a.in_shape)).flatten(1).T


@repeatable(150)
@given(OPERATORS, SEEDS)
def test_adjoint_and_linearity(a: LinearOperator, seed: int) -> None:
    x, z = normal(seed, 2, 2, *a.in_shape)
    y = normal(seed + 1, 2, *a.out_shape)
    left, right = (a(x) * y).flatten(1).sum(1), (x * a.adjoint(y)).flatten(1).sum(1)
    size = a(x).flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1) + 1e-9
    assert bool(((left - right).abs() <= 1e-10 * size).all())
    torch.testing.assert_close(a(1.5 * x - z), 1.5 * a(x) - a(z), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(a.T.T(x), a(x))
    torch.testing.assert_close(a.normal(x), a.adjoint(a(x)), rtol=1e-9, atol=1e-9)


@repeatable(150)
@given(OPERATORS, SEEDS)
def test_inverses_and_norm_are_those_of_the_matrix(a: LinearOperator, seed: int) -> None:
    m = dense(a)
    values = torch.linalg.svdvals(m)
    top = float(values.max())
    assert a.norm() == pytest.approx(top, rel=1e-3, abs=1e-9)
    b, y = normal(seed, 1, *a.in_shape), normal(seed + 1, 1, *a.out_shape)
    rho = 0.1 * (top**2 + 1)
    wanted = torch.linalg.solve(m.T @ m + rho * torch.eye(len(m.T)), torch.stack([b.flatten(), m.T @ y.flatten()], 1))
    torch.testing.assert_close(a.solve(b, rho).flatten(), wanted[:, 0], rtol=1e-4, atol=1e-4 * float(b.abs().max()))
    torch.testing.assert_close(a.tikhonov(y, rho).flatten(), wanted[:, 1], rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@repeatable(150)
@given(OPERATORS, SEEDS)
def test_spectrum_is_a_singular_value_decomposition(a: LinearOperator, seed: int) -> None:
    f = a.svd
    if f is None:
        return
    values = torch.linalg.svdvals(dense(a))
    mine = f.s.double().flatten().sort(descending=True).values
    n = min(len(values), len(mine))
    scale = float(values.max()) + 1e-9
    torch.testing.assert_close(mine[:n], values[:n], rtol=0, atol=1e-8 * scale)
    assert float(mine[n:].sum() + values[n:].sum()) < 1e-7 * scale
    x, c = normal(seed, 2, *a.in_shape), normal(seed + 1, 2, *f.s.shape)
    torch.testing.assert_close(f.Vt(f.V(c)), c, rtol=0, atol=1e-8)
    seen = c * (f.s > 0)
    torch.testing.assert_close(f.Ut(f.U(seen)) * (f.s > 0), seen, rtol=0, atol=1e-8)
    torch.testing.assert_close(f.U(f.s * f.Vt(x)), a(x), rtol=0, atol=1e-8 * scale * 10)
