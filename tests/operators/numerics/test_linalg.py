from __future__ import annotations

import pytest
import torch

from invdiff.operators import Blur, LinearOperator, Operator, Tomography, gaussian_kernel, watch_solves
from invdiff.operators.numerics.linalg import conjugate_gradients, least_squares


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


M = random(20, 12)
Y = random(3, 20, seed=1)


def test_least_squares() -> None:
    found = least_squares(lambda x: x @ M.T, lambda y: y @ M, Y, tolerance=1e-12)
    assert found.status == "converged"
    torch.testing.assert_close(found.x, Y @ torch.linalg.pinv(M).T)
    rho = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64)
    found = least_squares(lambda x: x @ M.T, lambda y: y @ M, Y, rho=rho, tolerance=1e-12)
    for i in range(3):
        want = torch.linalg.solve(M.T @ M + rho[i] * torch.eye(12, dtype=torch.float64), M.T @ Y[i])
        torch.testing.assert_close(found.x[i], want)


def test_least_norm() -> None:
    found = least_squares(lambda x: x @ M, lambda y: y @ M.T, random(2, 12), tolerance=1e-12)
    torch.testing.assert_close(found.x, random(2, 12) @ torch.linalg.pinv(M))


def test_each_image_stops_on_its_own() -> None:
    """An image's answer is the same alone and beside one that takes longer."""
    spd = M.T @ M
    b = torch.stack([torch.linalg.eigh(spd).eigenvectors[:, 0], random(12)])
    both = conjugate_gradients(lambda v: v @ spd, b)
    alone = conjugate_gradients(lambda v: v @ spd, b[:1])
    torch.testing.assert_close(both.x[:1], alone.x, rtol=1e-12, atol=1e-12)
    assert alone.iterations < both.iterations


def test_preconditioner_reaches_the_same_answer_sooner() -> None:
    scale = 10 ** torch.linspace(0, 4, 12, dtype=torch.float64)
    spd = scale[:, None] * (torch.eye(12, dtype=torch.float64) + 0.01 * M.T @ M) * scale
    b = random(2, 12)
    plain = conjugate_gradients(lambda v: v @ spd, b, tolerance=1e-10)
    fast = conjugate_gradients(lambda v: v @ spd, b, tolerance=1e-10, preconditioner=lambda v: v / scale**2)
    torch.testing.assert_close(fast.x, torch.linalg.solve(spd, b.T).T, rtol=1e-6, atol=1e-12)
    assert fast.iterations < plain.iterations


def test_they_say_how_they_ended() -> None:
    spd = M.T @ M
    b = random(2, 12)
    assert conjugate_gradients(lambda v: v @ spd, b, max_iterations=2).status == "limit"
    assert conjugate_gradients(lambda v: -v, b).status == "breakdown"
    assert conjugate_gradients(lambda v: v * float("nan"), b).status == "diverged"
    assert least_squares(lambda x: x @ M.T, lambda y: y @ M, Y, max_iterations=2).status == "limit"
    nothing = conjugate_gradients(lambda v: v @ spd, torch.zeros_like(b))
    assert (nothing.status, nothing.iterations, float(nothing.x.abs().max())) == ("converged", 0, 0.0)
    residual = conjugate_gradients(lambda v: v @ spd, b, max_iterations=3)
    true = (residual.x @ spd - b).norm(dim=1) / b.norm(dim=1)
    torch.testing.assert_close(residual.residual, true)


def test_it_stops_where_the_map_is_not_symmetric() -> None:
    turn = torch.eye(12, dtype=torch.float64) + 0.1 * (M[:12] - M[:12].T)
    b = random(1, 12, seed=2)
    free = conjugate_gradients(lambda x: x @ turn.T, b, max_iterations=8)
    found = conjugate_gradients(lambda x: x @ turn.T, b, max_iterations=8, asymmetry=0.05)
    assert found.status == "breakdown" and found.iterations < free.iterations == 8
    assert found.residual < 0.5 * free.residual
    symmetric = M.T @ M
    whole = conjugate_gradients(lambda x: x @ symmetric, b, tolerance=1e-6)
    limited = conjugate_gradients(lambda x: x @ symmetric, b, tolerance=1e-6, asymmetry=0.05)
    torch.testing.assert_close(limited.x, whole.x, rtol=0, atol=0)


def test_bad_functions_and_matrices() -> None:
    with pytest.raises(TypeError, match="expected a function"):
        Operator.from_function(3, (1, 2, 2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="keep the batch axis"):
        LinearOperator.from_function(torch.sum, (1, 2, 2))
    with pytest.raises(ValueError, match="in_shape: expected 4 entries"):
        LinearOperator.from_matrix(torch.eye(4), (1, 2, 3))
    with pytest.raises(ValueError, match="out_shape: expected 4 entries"):
        LinearOperator.from_matrix(torch.eye(4), (1, 2, 2), out_shape=(5,))
    with pytest.raises(ValueError, match=r"expected shape \(m, n\)"):
        LinearOperator.from_matrix(torch.ones(4))
    with pytest.raises(ValueError, match="finite"):
        LinearOperator.from_matrix(torch.full((2, 2), float("nan")))


class Integral(LinearOperator):
    """Sums along each row, whose singular values fall like 1 / k; no closed form."""

    in_shape = out_shape = (1, 2, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(-1)


def test_whoever_watches_hears_how_solves_ended() -> None:
    a, y = Integral(), random(3, 1, 2, 40, seed=2)
    with watch_solves() as all_of_them:
        a.solve(y, 0.1)
        with watch_solves() as inner:
            a.pinv(y)
    a.pinv(y)  # nobody watches
    assert [s.status for s in all_of_them] == ["converged", "converged"]
    assert inner == all_of_them[1:]
    for outcome in all_of_them:
        assert outcome.residual.shape == (3,)
        assert 0 < float(outcome.residual.max()) <= outcome.tolerance == 1e-6
        assert 10 < outcome.iterations < outcome.max_iterations == 1000
    system = a.normal(a.solve(y, 0.1)) + 0.1 * a.solve(y, 0.1)
    torch.testing.assert_close(system, y, rtol=0, atol=1e-5)


def test_operators_made_of_operators_and_their_own_solves_are_heard_of() -> None:
    tomography = Tomography((1, 12, 12), angles_deg=[0, 30, 70])
    zero_border = Blur((1, 12, 12), kernel=torch.rand(3, 3, generator=torch.Generator().manual_seed(0)), border="zero")
    for a in (Integral().T, 2 * Integral(), Integral() + Integral(), tomography, zero_border):
        with watch_solves() as solves:
            a.solve(random(2, *a.in_shape, seed=3), 0.5)
            a.pinv(random(2, *a.out_shape, seed=4))
        assert len(solves) == 2, a
    closed = Blur((1, 12, 12), kernel=gaussian_kernel(1.0), border="circular")
    with watch_solves() as solves:
        closed.solve(random(2, 1, 12, 12, seed=3), 0.5)
    assert solves == []


def test_a_limit_is_heard_of() -> None:
    with watch_solves() as solves:
        conjugate_gradients(Integral().normal, random(2, 1, 2, 40), max_iterations=3, truncates=True)
        least_squares(Integral().forward, Integral().adjoint, random(2, 1, 2, 40), max_iterations=2)
    assert [(s.status, s.iterations, s.max_iterations, s.truncates) for s in solves] == [
        ("limit", 3, 3, True),
        ("limit", 2, 2, False),
    ]
    assert all(float(s.residual.min()) > s.tolerance for s in solves)
