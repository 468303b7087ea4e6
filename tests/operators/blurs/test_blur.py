from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from invdiff.operators import Blur, gaussian_kernel, motion_kernel, shake_kernel, uniform_kernel
from invdiff.operators.blurs.borders import Border, convolution_matrix
from invdiff.operators.builders.factory import make_operator

MODES = {"circular": "wrap", "reflect": "reflect", "zero": "constant", "valid": "constant"}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("border", MODES)
@pytest.mark.parametrize("size", [(3, 3), (4, 5), (2, 2), (1, 6), (7, 4)])
@pytest.mark.parametrize("separable", [False, True])
def test_orientation_is_that_of_scipy(border: Border, size: tuple[int, int], separable: bool) -> None:
    k = torch.outer(random(size[0]), random(size[1], seed=1)) if separable else random(*size)
    x = random(2, 3, 9, 12)
    got = Blur((3, 9, 12), kernel=k, border=border)(x)
    want = np.stack([[scipy.ndimage.convolve(c, k.numpy(), mode=MODES[border]) for c in i] for i in x.numpy()])
    if border == "valid":
        top, left = size[0] - 1 - size[0] // 2, size[1] - 1 - size[1] // 2
        want = want[..., top : top + got.shape[-2], left : left + got.shape[-1]]
    assert got.shape[-2:] == want.shape[-2:]
    np.testing.assert_allclose(got.numpy(), want, atol=1e-12)


@pytest.mark.parametrize("border", MODES)
def test_forms_agree_where_both_exist(border: Border) -> None:
    k = gaussian_kernel(1.3, 7)
    x = random(1, 2, 600, 30)  # too long for dense matrices: Fourier transforms on padded images
    y = Blur((2, 600, 30), kernel=k, border=border)(x)
    factor = gaussian_kernel((1.3, 1.3), (7, 1))[:, 0]
    rows, columns = (convolution_matrix(factor, n, border) for n in (600, 30))
    torch.testing.assert_close(y, rows @ x @ columns.T, rtol=0, atol=1e-12)


def test_circular_solve_and_pinv_take_no_iterations() -> None:
    a = Blur((1, 16, 15), kernel=gaussian_kernel(0.6), border="circular")
    x = random(2, 1, 16, 15)
    torch.testing.assert_close(a.pinv(a(x)), x, rtol=0, atol=1e-9)
    b = random(2, 1, 16, 15, seed=2)
    z = a.solve(b, 1e-3)
    torch.testing.assert_close(a.normal(z) + 1e-3 * z, b, rtol=0, atol=1e-12)


def test_kernels() -> None:
    for k in (
        gaussian_kernel(3.0, 61),
        gaussian_kernel((1.0, 2.0)),
        uniform_kernel((3, 5)),
        motion_kernel(61, intensity=0.5, seed=3),
        motion_kernel(1, length=1),
    ):
        assert k.dtype == torch.float64
        assert float(k.sum()) == pytest.approx(1, abs=1e-12)
        assert bool((k >= 0).all())
    assert gaussian_kernel(2.0).shape == (17, 17)
    spread = torch.arange(61, dtype=torch.float64) - 30
    variance = float((gaussian_kernel(3.0, 61).sum(0) * spread**2).sum())
    assert variance == pytest.approx(9, rel=1e-3)


@pytest.mark.parametrize(("angle", "slope"), [(0, (0, 1)), (90, (1, 0)), (45, (-1, 1)), (-45, (1, 1))])
def test_motion_goes_where_its_angle_says(angle: float, slope: tuple[int, int]) -> None:
    k = motion_kernel(15, length=13, angle=angle)
    t = torch.arange(15, dtype=torch.float64) - 7
    rows, columns = float((k.sum(1) * t**2).sum()), float((k.sum(0) * t**2).sum())
    mixed = float((k * t[:, None] * t).sum())
    assert rows == pytest.approx(12 if slope == (1, 0) else 6 if slope[0] else 0, abs=0.5)
    assert columns == pytest.approx(12 if slope == (0, 1) else 6 if slope[1] else 0, abs=0.5)
    assert mixed == pytest.approx(6 * slope[0] * slope[1], abs=0.5)


def test_motion_depends_on_its_seed_only() -> None:
    one, two, other = (motion_kernel(31, intensity=0.7, seed=s) for s in (4, 4, 5))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_kernels_of_any_sum_are_taken() -> None:
    k = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    a = Blur((1, 8, 8), kernel=k, border="circular")
    assert float(a(torch.ones(1, 1, 8, 8, dtype=torch.float64)).abs().max()) < 1e-12
    torch.testing.assert_close(a.normal(a.pinv(a(random(1, 1, 8, 8)))), a.adjoint(a(random(1, 1, 8, 8))))


@pytest.mark.parametrize(
    ("kernel", "border", "message"),
    [
        (torch.ones(2, 3, 3), "reflect", r"expected shape \(h, w\) or \(3, h, w\)"),
        (torch.ones(3), "reflect", "expected shape"),
        (torch.full((3, 3), float("nan")), "reflect", "NaN"),
        (torch.ones(9, 9), "valid", "choose another border"),
        (torch.ones(3, 3), "mirror", "expected one of circular, reflect, zero, valid"),
    ],
)
def test_bad_kernels(kernel: Tensor, border: Border, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Blur((3, 8, 8), kernel=kernel, border=border)


def test_bad_types_and_sizes() -> None:
    with pytest.raises(TypeError, match=r"torch\.as_tensor"):
        Blur((3, 8, 8), kernel=np.ones((3, 3)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without the batch axis"):
        Blur((1, 3, 8, 8), kernel=torch.ones(3, 3))
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="std"):
            gaussian_kernel(bad)
    with pytest.raises(ValueError, match="size"):
        uniform_kernel(0)
    with pytest.raises(ValueError, match="enlarge size"):
        motion_kernel(5, length=9)
    with pytest.raises(ValueError, match="intensity"):
        motion_kernel(5, intensity=2)


@pytest.mark.parametrize(("size", "extent"), [(25, 20.0), (65, 40.0), (9, 9.0)])
def test_a_shake_has_its_extent_and_its_centroid_in_the_middle(size: int, extent: float) -> None:
    for seed in range(4):
        k = shake_kernel(size, extent=extent, seed=seed)
        assert float(k.sum()) == pytest.approx(1, abs=1e-12)
        assert bool((k >= 0).all())
        at = torch.arange(size, dtype=torch.float64)
        for axis in (0, 1):
            assert float(k.sum(axis) @ at) == pytest.approx((size - 1) / 2, abs=0.02)
        sides = [int(k.sum(axis).nonzero().max() - k.sum(axis).nonzero().min()) + 1 for axis in (0, 1)]
        assert max(sides) <= extent + 2
        if extent < 0.7 * size:  # a longer path is shortened where its centroid is far from the middle
            assert max(sides) >= extent - 1


def test_a_shake_depends_on_its_seed_and_its_smoothness() -> None:
    one, two, other = (shake_kernel(31, seed=s) for s in (4, 4, 5))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    rough, smooth = (shake_kernel(31, extent=20, smoothness=s, seed=1) for s in (0.05, 1.0))
    assert int((rough > 0).sum()) > 1.5 * int((smooth > 0).sum())  # it turns more often
    assert shake_kernel(5, extent=1)[2, 2] == 1
    with pytest.raises(ValueError, match="enlarge size"):
        shake_kernel(5, extent=9)
    with pytest.raises(ValueError, match="smoothness"):
        shake_kernel(5, smoothness=0)


def test_a_shake_by_name() -> None:
    built = make_operator("blur", (1, 32, 32), {"kernel": "shake", "size": 15}, seed=3)
    assert isinstance(built, Blur)
    torch.testing.assert_close(built.kernel[0], shake_kernel(15, seed=3))
    with pytest.raises(ValueError, match="does not go with kernel=shake"):
        make_operator("blur", (1, 32, 32), {"kernel": "shake", "length": 15})
