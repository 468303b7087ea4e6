"""Kernels of optics against closed forms, and the centre of a kernel."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from invdiff.operators import Blur, airy_kernel, centered_kernel, disk_kernel, gaussian_kernel, moffat_kernel
from invdiff.operators.blurs.optics import FIRST_ZERO
from invdiff.operators.builders.factory import make_operator


def moments(k: Tensor) -> tuple[float, float]:
    """Return the mean of `x^2` of a kernel, along rows and along columns."""
    x = torch.arange(len(k), dtype=torch.float64) - (len(k) - 1) / 2
    return float(k.sum(1) @ x**2), float(k.sum(0) @ x**2)


@pytest.mark.parametrize(
    "k",
    [disk_kernel(3.0), disk_kernel(0.3), moffat_kernel(3.0), moffat_kernel(2.0, 2.5, 21), airy_kernel(4.0)],
    ids=["disk", "small disk", "moffat", "moffat 2.5", "airy"],
)
def test_kernels_of_optics_are_normalised_and_symmetric(k: Tensor) -> None:
    assert float(k.sum()) == pytest.approx(1, abs=1e-12) and bool((k >= 0).all())
    assert len(k) % 2 == 1 and k.shape[0] == k.shape[1]
    for same in (k.flip(0), k.flip(1), k.T):
        torch.testing.assert_close(k, same, atol=1e-15, rtol=0)


@pytest.mark.parametrize("radius", [0.7, 1.5, 2.0, 3.0, 6.25])
def test_a_disk_has_the_area_of_a_disk_in_each_pixel(radius: float) -> None:
    k = disk_kernel(radius)
    area = math.pi * radius**2
    m = len(k) // 2
    assert len(k) == 2 * math.ceil(radius - 0.5) + 1  # no more pixels than the disk touches
    if radius > math.sqrt(0.5):  # the pixel in the middle is covered
        assert float(k[m, m]) == pytest.approx(1 / area, rel=1e-12)
    # Along the axis the last pixel is cut by the circle: its area by adaptive integration.
    from scipy.integrate import quad

    def height(v: float) -> float:
        return float(np.clip(math.sqrt(max(radius**2 - v**2, 0)) - (m - 0.5), 0, 1))

    assert float(k[m, -1]) * area == pytest.approx(quad(height, -0.5, 0.5, limit=200)[0], abs=1e-7)
    # The second moment of a disk is R^2 / 4, and a pixel adds 1 / 12 about its middle.
    fine = disk_kernel(radius * 64)
    assert moments(fine)[0] / 64**2 == pytest.approx(radius**2 / 4, rel=1e-3)


def test_a_disk_is_that_of_many_points() -> None:
    n = 401
    p = (np.arange(7 * n) + 0.5) / n - 3.5
    inside = (p[:, None] ** 2 + p[None, :] ** 2 < 2.8**2).reshape(7, n, 7, n).mean((1, 3))
    assert np.abs(disk_kernel(2.8, 7).numpy() - inside / inside.sum()).max() < 2e-5


@pytest.mark.parametrize(("fwhm", "beta"), [(24.0, 4.765), (24.0, 2.5), (31.0, 1.5)])
def test_a_moffat_function_has_its_width_and_its_light(fwhm: float, beta: float) -> None:
    k = moffat_kernel(fwhm, beta, 1201)
    row = k[600, 600:]
    half = int((row > row[0] / 2).sum())  # first pixel below the half
    at = half - 1 + float((row[half - 1] - row[0] / 2) / (row[half - 1] - row[half]))
    assert 2 * at == pytest.approx(fwhm, rel=3e-3)
    # The light within r is 1 - (1 + (r / alpha)^2)^(1 - beta).
    alpha = fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))
    y, x = np.mgrid[-600:601, -600:601]
    within = [float(k.numpy()[np.hypot(x, y) <= r].sum()) for r in (40, 150)]
    light = [1 - (1 + (r / alpha) ** 2) ** (1 - beta) for r in (40, 150)]
    assert within[0] / within[1] == pytest.approx(light[0] / light[1], rel=3e-3)
    assert (1 + (len(moffat_kernel(fwhm, beta)) / 2 / alpha) ** 2) ** (1 - beta) < 0.005 or beta < 2


def test_an_airy_pattern_has_its_dark_rings() -> None:
    k = airy_kernel(20.0, 161)
    row = k[80, 80:]
    minima = [i for i in range(1, 80) if row[i] < row[i - 1] and row[i] < row[i + 1]]
    assert minima[:3] == [20, round(20 * 7.01559 / FIRST_ZERO), round(20 * 10.17347 / FIRST_ZERO)]
    assert float(row[20] / row[0]) < 2e-4  # not zero: a mean over a pixel
    # FWHM = 2 * 1.61634 / 3.83171 radii; 83.8 % of the light is within the first ring, of all in an infinite plane.
    half = int((row > row[0] / 2).sum())
    at = half - 1 + float((row[half - 1] - row[0] / 2) / (row[half - 1] - row[half]))
    assert at == pytest.approx(20 * 1.61634 / FIRST_ZERO, rel=5e-3)
    wide = airy_kernel(10.0, 2001)
    y, x = np.mgrid[-1000:1001, -1000:1001]
    assert float(wide.numpy()[np.hypot(x, y) <= 10].sum()) == pytest.approx(0.838, abs=0.006)


def test_kernels_of_optics_as_astropy_has_them() -> None:
    models = pytest.importorskip("astropy.convolution")
    pairs = [
        (moffat_kernel(6.0, 2.5, 33), models.Moffat2DKernel(3 / math.sqrt(2**0.4 - 1), 2.5, x_size=33, y_size=33)),
        (airy_kernel(7.0, 41), models.AiryDisk2DKernel(7.0, x_size=41, y_size=41)),
        (disk_kernel(5.0, 13), models.Tophat2DKernel(5.0, x_size=13, y_size=13, mode="oversample", factor=50)),
    ]
    for ours, theirs in pairs:
        theirs.normalize()
        assert np.abs(ours.numpy() - theirs.array).max() < 0.02 * float(ours.max())
    oversampled = models.Moffat2DKernel(
        3 / math.sqrt(2**0.4 - 1), 2.5, x_size=33, y_size=33, mode="oversample", factor=40
    )
    oversampled.normalize()
    assert np.abs(pairs[0][0].numpy() - oversampled.array).max() < 1e-3 * float(pairs[0][0].max())


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({"kernel": "disk", "radius": 3}, disk_kernel(3.0)),
        ({"kernel": "moffat", "fwhm": 3}, moffat_kernel(3.0)),
        ({"kernel": "moffat", "fwhm": 3, "beta": 2.5, "size": 15}, moffat_kernel(3.0, 2.5, 15)),
        ({"kernel": "airy", "radius": 1.5}, airy_kernel(1.5)),
    ],
)
def test_kernels_by_name(options: dict[str, Any], made: Tensor) -> None:
    for name in ("blur", "nonlinear_blur"):
        operator = make_operator(name, (1, 64, 64), options)
        blur = getattr(operator, "blur", operator)
        if isinstance(blur, Blur):
            torch.testing.assert_close(blur.kernel[0], made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "disk"}, "blur: radius: expected with kernel=disk, as in blur:kernel=disk,radius=3"),
        ({"kernel": "moffat"}, "blur: fwhm: expected with kernel=moffat"),
        ({"kernel": "moffat", "fwhm": 3, "beta": 1}, "beta: expected more than 1"),
        ({"kernel": "airy", "radius": 0}, "radius: expected a positive number of pixels"),
        ({"kernel": "disk", "radius": 3, "fwhm": 2}, "fwhm: does not go with kernel=disk"),
        ({"kernel": "disc", "radius": 3}, "did you mean 'disk'"),
        ({"sigma": 2, "center": "peak"}, "center: does not go with kernel=gaussian"),
        ({"kernel": torch.ones(4, 4), "center": "peek"}, "did you mean 'peak'"),
        ({"kernel": torch.ones(4, 4), "center": (1, 2, 3)}, r"or \[row, column\], got"),
        ({"kernel": torch.ones(4, 4), "center": (1, 9)}, "expected a row and a column of a kernel of 4 x 4"),
        ({"kernel": -torch.ones(4, 4), "center": "centroid"}, "expected a kernel of positive sum"),
    ],
)
def test_options_that_make_no_kernel(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_operator("blur", (1, 16, 16), options)


def sampled(n: int, std: float = 2.0, at: float | None = None) -> Tensor:
    """Return a Gaussian sampled on `n` pixels about a position."""
    t = torch.arange(n, dtype=torch.float64) - ((n - 1) / 2 if at is None else at)
    g = torch.exp(-(t**2) / (2 * std**2))
    return torch.outer(g, g) / g.sum() ** 2


def test_an_even_kernel_shifts_by_half_a_pixel_unless_it_is_centred() -> None:
    even = sampled(24)
    spot = torch.zeros(1, 1, 48, 48, dtype=torch.float64)
    spot[..., 20, 30] = 1

    def place(operator: Blur) -> list[float]:
        y = operator(spot)[0, 0]
        t = torch.arange(48, dtype=torch.float64)
        return [round(float(y.sum(a) @ t / y.sum()), 6) for a in (1, 0)]

    as_it_is = Blur((1, 48, 48), kernel=even, border="zero")
    assert place(as_it_is) == [19.5, 29.5]
    assert "about pixel [12, 12]" in repr(as_it_is)
    centred = centered_kernel(even, "middle")
    assert centred.shape == (25, 25)
    assert place(Blur((1, 48, 48), kernel=centred, border="zero")) == pytest.approx([20, 30], abs=1e-4)
    assert (centred - sampled(25)).abs().max() < 2e-3 * centred.max()  # the mean of two pixels: 6e-2
    assert float(centred.sum()) == pytest.approx(float(even.sum()))
    assert "about" not in repr(Blur((1, 48, 48), kernel=centred))


def test_centres_of_kernels() -> None:
    k = gaussian_kernel(1.5, 9)
    assert torch.equal(centered_kernel(k, "middle"), k)
    padded = torch.zeros(12, 14, dtype=torch.float64)
    padded[2:11, 1:10] = k  # its middle is at [6, 5]
    for center in ("peak", "centroid", (6, 5)):
        found = centered_kernel(padded, center)
        n, m = (s // 2 for s in found.shape)
        assert found.shape[0] % 2 == found.shape[1] % 2 == 1
        torch.testing.assert_close(found[n - 4 : n + 5, m - 4 : m + 5], k)
        assert float(found.sum()) == pytest.approx(1)
    off = sampled(15, at=6.3)  # a star between two pixels
    found = centered_kernel(off, "centroid")
    n = len(found) // 2
    t = torch.arange(len(found), dtype=torch.float64) - n
    assert float(found.sum(1) @ t) == pytest.approx(0, abs=0.01)
    assert bool((found >= 0).all())
    signed = off - 0.001
    assert bool((centered_kernel(signed, (6.3, 6.3)) < 0).any())


def test_the_note_about_an_even_kernel_is_the_operators(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", sampled(8).numpy())
    file = str(tmp_path / "k.npy")
    shape = (1, 16, 16)
    (note,) = make_operator("blur", shape, {"kernel": file}).notes
    assert "an even size: its centre is pixel [4, 4]" in note and "half a pixel up and to the left" in note
    assert "center=middle" in note
    for centre in ("middle", "peak", "centroid", (3.5, 3.5)):
        assert make_operator("blur", shape, {"kernel": file, "center": centre}).notes == ()
    (note,) = make_operator("nonlinear_blur", shape, {"kernel": "uniform", "size": 4}).notes
    assert "take an odd size" in note
    assert make_operator("blur", shape, {"sigma": 2}).notes == ()
    (note,) = make_operator("downsample", shape, {"kernel": file, "factor": 3}).notes
    assert "have no centre in common with blocks of 3" in note
    assert make_operator("downsample", shape, {"kernel": file, "factor": 2}).notes == ()
    np.save(tmp_path / "w.npy", sampled(8).numpy()[:, :7])
    assert "half a pixel up;" in make_operator("blur", shape, {"kernel": str(tmp_path / "w.npy")}).notes[-1]
