from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.transform import iradon, radon
from torch import Tensor

from invdiff.operators import LinearOperator, Tomography


def phantom(n: int) -> Tensor:
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    r = n / 128
    image = np.exp(-((x - 20 * r) ** 2 + (y + 10 * r) ** 2) / 2 / (10 * r) ** 2)
    image += 0.5 * np.exp(-((x + 15 * r) ** 2 / 2 / (20 * r) ** 2 + (y - 12 * r) ** 2 / 2 / (8 * r) ** 2))
    return torch.from_numpy(image * (np.hypot(x, y) < n / 2 - 1))[None, None]


ANGLES = np.arange(0, 180, 7.0)


def test_agrees_with_scikit_image() -> None:
    n = 129  # odd, where scikit-image's axis is the image's centre too
    x = phantom(n)
    got = Tomography((1, n, n), angles_deg=ANGLES, detectors=n)(x)[0, 0].numpy()
    want = radon(x[0, 0].numpy(), ANGLES, circle=True).T
    assert np.abs(got - want).max() <= 0.01 * want.max()


def test_axis_is_the_centre_of_any_rectangle() -> None:
    for h, w in ((8, 8), (7, 10), (5, 5)):
        a = Tomography((1, h, w), angles_deg=[0, 33, 90, 180, 213])
        y = a(torch.rand(1, 1, h, w, dtype=torch.float64))[0, 0]
        torch.testing.assert_close(y[0], y[3].flip(0))
        torch.testing.assert_close(y[1], y[4].flip(0))


def test_physical_units() -> None:
    """A uniform disc: the integral through its centre is its diameter, in whatever size of pixels."""
    n, radius = 128, 0.4
    for pixel in (1 / n, 0.5 / n):
        c = (np.arange(n) - (n - 1) / 2) * pixel
        disc = torch.from_numpy((np.hypot(c[:, None], c) < radius / 2 * (n * pixel)).astype(float))[None, None]
        a = Tomography((1, n, n), angles_deg=[0, 20, 45, 77], pixel_size=pixel)
        middle = a(disc)[0, 0, :, a.out_shape[-1] // 2]
        assert float((middle / (radius * n * pixel) - 1).abs().max()) < 0.03
    wide = Tomography((1, n, n), angles_deg=[0], pixel_size=2.0, detector_spacing=1.0)
    assert wide.out_shape[-1] >= 2 * n


def test_mass_is_kept() -> None:
    x = phantom(64)
    y = Tomography((1, 64, 64), angles_deg=ANGLES, detector_spacing=0.25)(x)
    torch.testing.assert_close(0.25 * y.sum(-1)[0, 0], x.sum().expand(len(ANGLES)), rtol=1e-4, atol=0)


def test_one_pixel_gives_the_length_inside_it() -> None:
    x = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    x[0, 0, 1, 3] = 1  # one to the right and one above the centre
    a = Tomography((1, 5, 5), angles_deg=[0, 90, 45], detectors=5, detector_spacing=math.sqrt(2) / 2)
    t = (torch.arange(5) - 2) * math.sqrt(2) / 2
    want = [(abs(float(v) - 1) <= 0.5) * 1.0 for v in t]
    y = a(x)[0, 0]
    torch.testing.assert_close(y[0], torch.tensor(want, dtype=torch.float64))
    torch.testing.assert_close(y[1], torch.tensor(want, dtype=torch.float64))
    assert float(y[2, 4]) == pytest.approx(math.sqrt(2), abs=1e-6)  # the diagonal: t = sqrt(2)


def test_blocks_give_the_same_numbers() -> None:
    angles = np.arange(0, 180, 15.0)
    whole, blocks = (Tomography((2, 16, 16), angles_deg=angles, memory=m) for m in (2**30, 3000))
    x = torch.rand(2, 2, 16, 16)
    torch.testing.assert_close(whole(x), blocks(x), rtol=1e-6, atol=1e-6)
    y = torch.rand(2, *whole.out_shape)
    torch.testing.assert_close(whole.adjoint(y), blocks.adjoint(y), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("angles", [np.arange(0, 180, 5.0), np.arange(0, 360, 4.5), np.array([3.0, 17, 99.5])])
@pytest.mark.parametrize("size", [(9, 9), (8, 11)])
def test_symmetries_change_nothing(angles: NDArray[np.float64], size: tuple[int, int]) -> None:
    from scipy.sparse import csr_matrix

    from invdiff.operators.tomography.rays import ray_weights

    a = Tomography((1, *size), angles_deg=angles, detector_offset=0.0)
    rays = a._rays
    values, columns, starts = ray_weights(size, rays.theta, rays.t)
    m = csr_matrix((values.astype(float), columns, starts), shape=(len(rays.t), size[0] * size[1]))
    x = torch.rand(1, 1, *size, dtype=torch.float64)
    np.testing.assert_allclose(a(x).flatten().numpy(), m @ x.flatten().numpy(), rtol=0, atol=1e-5)


def test_even_angles_on_a_square_need_an_eighth_of_the_matrix() -> None:
    a = Tomography((1, 64, 64), angles_deg=np.arange(180.0))
    assert len(a._rays._reduced.theta) < 0.13 * 180 * a.out_shape[-1]


@pytest.mark.parametrize("filter", ["ramp", "shepp-logan", "cosine", "hamming", "hann"])
def test_filtered_back_projection(filter: str) -> None:
    n = 129
    x, angles = phantom(n), np.arange(0, 180, 1.5)
    a = Tomography((1, n, n), angles_deg=angles, detectors=n)
    y = a(x)
    got = a.fbp(y, filter=filter)  # type: ignore[arg-type]
    theirs = iradon(y[0, 0].numpy().T, angles, filter_name=filter, circle=True)
    inside = np.hypot(*(np.mgrid[:n, :n] - (n - 1) / 2)) < n / 2 - 2
    assert np.abs(got[0, 0].numpy() - theirs)[inside].max() < 0.01 * float(x.max())
    assert float((got - x)[0, 0][torch.from_numpy(inside)].norm() / x.norm()) < 0.1


def test_fbp_in_physical_units_and_with_unequal_angles() -> None:
    x = phantom(64)
    angles = np.concatenate([np.arange(0, 90, 1.0), np.arange(90, 180, 3.0)])
    a = Tomography((1, 64, 64), angles_deg=angles, pixel_size=0.1, detector_spacing=0.07, detector_offset=0.05)
    assert float((a.fbp(a(x)) - x).norm() / x.norm()) < 0.05


def test_pinv_and_its_tolerance() -> None:
    a = Tomography((1, 24, 24), angles_deg=np.arange(0, 180, 6.0))
    y = a(phantom(24))
    for tolerance in (1e-2, 1e-3, 1e-5):
        r = a.normal(a.pinv(y, tolerance=tolerance)) - a.adjoint(y)
        assert float(r.norm() / a.adjoint(y).norm()) <= 1.01 * tolerance


def test_preconditioned_solve_is_the_plain_one() -> None:
    a = Tomography((1, 24, 20), angles_deg=np.arange(0, 180, 6.0), pixel_size=0.3)
    b = torch.rand(2, 1, 24, 20, dtype=torch.float64)
    rho = torch.tensor([0.5, 2.0], dtype=torch.float64)
    torch.testing.assert_close(a.solve(b, rho), LinearOperator.solve(a, b, rho), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="rho"):
        a.solve(b, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"angles_deg": []}, "angles_deg: expected a row"),
        ({"angles_deg": [float("nan")]}, "angles_deg"),
        ({"angles_deg": [[0.0, 1.0]]}, "angles_deg"),
        ({"angles_deg": [0], "pixel_size": 0.0}, "pixel_size: expected a positive"),
        ({"angles_deg": [0], "detectors": 0}, "detectors"),
        ({"angles_deg": [0], "detector_spacing": -1.0}, "detector_spacing"),
        ({"angles_deg": [0], "detector_offset": math.inf}, "detector_offset"),
    ],
)
def test_bad_geometry(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tomography((1, 8, 8), **options)  # type: ignore[arg-type]


def test_bad_filter() -> None:
    a = Tomography((1, 8, 8), angles_deg=[0, 90])
    with pytest.raises(ValueError, match="filter: expected one of ramp"):
        a.fbp(torch.zeros(1, *a.out_shape), filter="ram-lak")  # type: ignore[arg-type]
