from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from invdiff.operators import FanBeamTomography, Tomography


def disc(n: int, row: float, column: float, radius: float) -> Tensor:
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    return torch.from_numpy(np.exp(-((x - column) ** 2 + (y - row) ** 2) / 2 / radius**2))[None, None]


def test_far_source_is_parallel() -> None:
    x = disc(33, 3, -5, 4)
    angles = [0.0, 30.0, 100.0, 250.0]
    fan = FanBeamTomography((1, 33, 33), angles_deg=angles, source_distance=1e6, detector_distance=1e6, detectors=33)
    parallel = Tomography((1, 33, 33), angles_deg=angles, detectors=33)
    torch.testing.assert_close(fan(x), parallel(x), rtol=0, atol=2e-3)


def test_shadow_of_a_point_is_magnified() -> None:
    """A blob at p is seen on the detector at u = (R + D) (p.n) / (R + p.d)."""
    n, r, d = 65, 100.0, 60.0
    x = disc(n, -8, 12, 1.5)  # 12 to the right, 8 above
    angles = np.array([0.0, 40.0, 90.0, 222.0])
    a = FanBeamTomography((1, n, n), angles_deg=angles, source_distance=r, detector_distance=d, detector_spacing=0.5)
    y = a(x)[0, 0]
    u = (torch.arange(y.shape[-1]) - (y.shape[-1] - 1) / 2) * 0.5
    for profile, b in zip(y, np.deg2rad(angles), strict=True):
        along, across = -12 * np.sin(b) + 8 * np.cos(b), 12 * np.cos(b) + 8 * np.sin(b)
        assert float((profile * u).sum() / profile.sum()) == pytest.approx((r + d) * across / (r + along), abs=0.15)


def test_filtered_back_projection() -> None:
    n = 65
    x = disc(n, 6, -9, 5) + 0.5 * disc(n, -12, 10, 4)
    for pixel in (1.0, 0.2):
        a = FanBeamTomography(
            (1, n, n), angles_deg=np.arange(0, 360, 1.5), source_distance=120 * pixel, pixel_size=pixel
        )
        got = a.fbp(a(x))
        assert float((got - x).norm() / x.norm()) < 0.04


def test_full_circle_shares_rows() -> None:
    a = FanBeamTomography((1, 32, 32), angles_deg=np.arange(0, 360, 2.0), source_distance=80)
    assert len(a._rays._reduced.theta) < 0.15 * 180 * a.out_shape[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source_distance": 5}, "half the image's diagonal"),
        ({"source_distance": -1}, "source_distance"),
        ({"source_distance": 50, "detector_distance": 0}, "detector_distance"),
        ({"source_distance": 50, "detectors": -1}, "detectors"),
        ({"source_distance": 50, "detector_offset": float("nan")}, "detector_offset"),
    ],
)
def test_bad_geometry(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FanBeamTomography((1, 16, 16), angles_deg=[0], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("package", ["astra", "tigre"])
def test_angles_of_other_packages(package: str) -> None:
    """The detector that a point's ray meets, by the definitions in the sources of ASTRA ("fanflat") and TIGRE."""
    size, source, screen, spacing, count = 33, 90.0, 60.0, 1.5, 61
    image = torch.zeros(1, 1, size, size)
    image[0, 0, 6, 24] = 1
    radians = torch.arange(0, 360, 24.0).deg2rad()
    # At angle 0: source, middle of the detectors, and their axis; rows of TIGRE's image go up.
    start = {"astra": ((0, -source), (0, screen), (1, 0)), "tigre": ((source, 0), (-screen, 0), (0, 1))}[package]
    point = torch.tensor([8.0, 10.0 if package == "astra" else -10.0])
    met = []
    for angle in radians:
        turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
        s, d, u = (turn @ torch.tensor(v, dtype=torch.float32) for v in start)
        along = (d - s) / (source + screen)
        ray = (point - s) * (source + screen) / ((point - s) @ along)
        met.append(float((s + ray - d) @ u) / spacing + (count - 1) / 2)
    degrees = radians.rad2deg() + (0 if package == "astra" else 90)
    made = FanBeamTomography(
        (1, size, size), angles_deg=degrees, source_distance=source, detector_distance=screen, detectors=count,
        detector_spacing=spacing,
    )  # fmt: skip
    y = made(image if package == "astra" else image.flip(-2))[0, 0]
    centre = (y * torch.arange(count)).sum(1) / y.sum(1)
    assert (centre - torch.tensor(met)).abs().max() < 0.4  # of a detector; a wrong direction is off by tens
