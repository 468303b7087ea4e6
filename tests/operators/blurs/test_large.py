"""Blurs of large pictures: other forms of the same operator, and solves that agree with those of small ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invdiff import Problem, dct
from invdiff.noise import Gaussian
from invdiff.operators import Blur, gaussian_kernel, motion_kernel
from invdiff.operators.blurs.bordered import Bordered
from invdiff.operators.blurs.borders import Border
from invdiff.operators.blurs.direct import Direct
from invdiff.operators.blurs.mirrored import Mirrored
from invdiff.operators.composed.separable import Separable
from invdiff.operators.numerics.linalg import watch_solves
from invdiff.posterior import gaussian_mean
from invdiff.priors import photograph_gaussian

BORDERS: tuple[Border, ...] = ("reflect", "zero", "valid")
LONG = (1, 600, 24)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("size", [(3, 4), (9, 4)])
def test_sums_of_shifts_equal_fourier_transforms(border: Border, size: tuple[int, int]) -> None:
    kernel = random(*size)
    if size == (9, 4):
        kernel = torch.outer(random(9), random(4, seed=1))
    a, b = Blur(LONG, kernel=kernel, border=border), Bordered(LONG, kernel[None], border)
    assert isinstance(a._form, Direct)
    x, y = random(2, *LONG), random(2, *b.out_shape, seed=2)
    torch.testing.assert_close(a(x), b(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(a.adjoint(y), b.adjoint(y), rtol=0, atol=1e-12)
    assert float((a(x) * y).sum()) == pytest.approx(float((x * a.adjoint(y)).sum()), rel=1e-10)


def test_fast_cosines_equal_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dct, "LARGE", 100)
    kernel = gaussian_kernel(1.5, 9)
    fast = Blur(LONG, kernel=kernel)
    assert isinstance(fast._closed, Mirrored)
    assert fast.factors is not None
    rows, columns = fast.factors
    slow = Separable(LONG, rows=rows, columns=columns)
    x = random(2, *LONG)
    torch.testing.assert_close(fast.solve(x, 1e-3), slow.solve(x, 1e-3), rtol=0, atol=1e-9)
    torch.testing.assert_close(fast.tikhonov(x, 1e-3), slow.tikhonov(x, 1e-3), rtol=0, atol=1e-9)
    assert fast.norm() == pytest.approx(slow.norm(), rel=1e-9)


def test_a_large_symmetric_blur_takes_no_iterations() -> None:
    blur = Blur((1, 16, 2500), kernel=gaussian_kernel(2.0))
    with watch_solves() as solves:
        x = blur.solve(random(1, 1, 16, 2500), 1e-2)
    assert solves == []
    torch.testing.assert_close(blur.normal(x) + 1e-2 * x, random(1, 1, 16, 2500), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(7, 5), (4, 1200), (1100, 3)])
def test_transforms_by_planes_equal_those_of_small_images(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = random(2, 3, *shape)
    c, back = dct.dct2(x), dct.idct2(x)
    monkeypatch.setattr(dct, "LARGE", 1)
    torch.testing.assert_close(dct.dct2(x), c, rtol=0, atol=1e-12)
    torch.testing.assert_close(dct.idct2(x), back, rtol=0, atol=1e-12)


@pytest.mark.parametrize("border", BORDERS)
def test_preconditioned_solves_have_the_stated_accuracy(border: Border) -> None:
    shape = (1, 26, 31)
    kernel = motion_kernel(9, length=7, angle=30)
    blur = Blur(shape, kernel=kernel, border=border)
    b = random(2, *shape)
    with watch_solves() as solves:
        x = blur.solve(b, 1e-3)
    basis = torch.eye(26 * 31, dtype=torch.float64).reshape(-1, *shape)
    normal = blur.normal(basis).reshape(26 * 31, -1)
    exact = torch.linalg.solve(normal + 1e-3 * torch.eye(len(normal)), b.flatten(1).T).T.reshape(b.shape)
    # The error is at most the relative residual, 1e-6, times the condition number, at most 1 / 1e-3 + 1.
    assert float((x - exact).norm() / exact.norm()) < 1e-3
    assert float((blur.normal(x) + 1e-3 * x - b).norm() / b.norm()) < 2e-6
    assert [s.status for s in solves] == ["converged"]


@pytest.mark.parametrize("border", ["reflect", "zero", "valid"])
def test_preconditioning_saves_iterations(border: Border) -> None:
    shape = (1, 64, 64)
    kernel = gaussian_kernel(1.5) if border == "zero" else motion_kernel(9, length=7, angle=30)
    blur = Bordered(shape, kernel[None], border)
    b = blur.adjoint(blur(random(1, *shape)))
    with watch_solves() as solves:
        blur.solve(b, 1e-3)
        super(Bordered, blur).solve(b, 1e-3)
    assert solves[0].iterations < 0.8 * solves[1].iterations


@pytest.mark.parametrize("border", BORDERS)
def test_the_norm_of_a_large_blur_is_found_on_a_small_one(border: Border) -> None:
    shape, kernel = (1, 1100, 40), gaussian_kernel((1.5, 1.0), (7, 5))
    found = Bordered(shape, kernel[None], border).norm()
    factors = Blur(shape, kernel=kernel, border=border).factors
    assert factors is not None
    exact = float(torch.linalg.matrix_norm(factors[0], 2) * torch.linalg.matrix_norm(factors[1], 2))
    assert found == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("border", ["reflect", "zero"])
def test_cosines_precondition_the_gaussian_mean(border: Border, monkeypatch: pytest.MonkeyPatch) -> None:
    blur = Blur((3, 600, 20), kernel=gaussian_kernel(1.5), border=border)
    problem = Problem(blur, Gaussian(0.02), random(1, 3, 600, 20))
    with watch_solves() as solves:
        fast = gaussian_mean(problem, photograph_gaussian(), tolerance=1e-10, iterations=3000)
        count = sum(s.iterations for s in solves)
        monkeypatch.setattr(Blur, "cosine_power", None)
        slow = gaussian_mean(problem, photograph_gaussian(), tolerance=1e-10, iterations=3000)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-5)
    assert count < 0.5 * solves[-1].iterations
    assert (count == 0) == blur.diagonal_in_cosines == (border == "reflect")
