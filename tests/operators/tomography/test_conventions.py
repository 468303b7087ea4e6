"""Sinograms of other libraries: their axes, angles and centres, against projections computed independently."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.transform import radon

from invdiff.operators import Tomography
from invdiff.operators.builders.factory import make_operator
from invdiff.operators.tomography.conventions import looks_transposed

STD = 3.0


def blob(height: int, width: int, row: float, column: float) -> torch.Tensor:
    """Return a Gaussian of standard deviation `STD` at a place."""
    i, j = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.exp(-((i - row) ** 2 + (j - column) ** 2).double() / (2 * STD**2))[None, None]


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("size", [47, 48])
@pytest.mark.parametrize("circle", [True, False])
def test_skimage(size: int, circle: bool) -> None:
    x = blob(size, size, 0.35 * size, 0.6 * size)
    x = x * (x > 1e-4)  # zero outside the circle, as it asks for
    angles = np.linspace(0.0, 180.0, 20, endpoint=False)
    theirs = torch.from_numpy(radon(x[0, 0].numpy(), angles, circle=circle)).T
    options = {"angles": angles, "detectors": theirs.shape[1]}
    ours = make_operator("tomography", (1, size, size), {**options, "convention": "skimage"})
    plain = make_operator("tomography", (1, size, size), options)
    assert relative(ours(x)[0, 0], theirs) < 0.02
    even = size % 2 == 0 or theirs.shape[1] % 2 == 0
    assert (relative(plain(x)[0, 0], theirs) > 0.1) == even


@pytest.mark.parametrize("convention", ["astra", "odl"])
def test_astra_and_odl(convention: str) -> None:
    """By their documents: `t = x cos + y sin` in radians about the middle; so astra 2.5.0 and odl 1.0.0 do."""
    height, width, detectors = 32, 48, 60
    row, column = 13.0, 29.0
    angles = np.linspace(0.1, 3.0, 11)
    right, up = column - (width - 1) / 2, (height - 1) / 2 - row
    t = np.arange(detectors) - (detectors - 1) / 2
    place = right * np.cos(angles) + up * np.sin(angles)
    theirs = STD * np.sqrt(2 * np.pi) * np.exp(-((t - place[:, None]) ** 2) / (2 * STD**2))
    options = {"angles": angles, "detectors": detectors, "convention": convention}
    ours = make_operator("tomography", (1, height, width), options)
    assert relative(ours(blob(height, width, row, column))[0, 0], torch.from_numpy(theirs)) < 0.03  # half a pixel: 0.1


def test_an_offset_for_each_angle_moves_its_row_and_is_undone_by_filtered_back_projection() -> None:
    x, angles = blob(32, 32, 12, 20), np.arange(0, 180, 4.0)
    offsets = np.linspace(-3, 3, len(angles))
    straight = Tomography((1, 32, 32), angles_deg=angles, detectors=48)
    shifted = Tomography((1, 32, 32), angles_deg=angles, detectors=48, detector_offset=offsets)
    one = Tomography((1, 32, 32), angles_deg=angles[7:8], detectors=48, detector_offset=float(offsets[7]))
    torch.testing.assert_close(shifted(x)[:, :, 7], one(x)[:, :, 0])
    assert straight.detector_offset == 0.0 and torch.equal(shifted.detector_offset, torch.from_numpy(offsets))  # type: ignore[arg-type]
    torch.testing.assert_close(shifted.fbp(shifted(x)), straight.fbp(straight(x)), atol=0.02, rtol=0)
    with pytest.raises(ValueError, match="detector_offset: expected one, or 45, one for each angle, got 2"):
        Tomography((1, 32, 32), angles_deg=angles, detector_offset=[0.0, 1.0])


@pytest.mark.parametrize("angles", [[0.0, 1.0, 3.1], [0.0, -6.2], [0.1, 6.2832]])
def test_radians_are_recognised(angles: list[float]) -> None:
    with pytest.raises(ValueError, match=r"tomography: angles: expected degrees, got .* look like radians; write tomo"):
        make_operator("tomography", (1, 8, 8), {"angles": angles})
    with pytest.raises(ValueError, match="fan_beam: angles: expected degrees"):
        make_operator("fan_beam", (1, 8, 8), {"angles": angles})
    for name in ("tomography", "fan_beam"):
        got = make_operator(name, (1, 8, 8), {"angles": angles, "angle_unit": "radians"})
        np.testing.assert_allclose(got.angles_deg, np.rad2deg(angles))  # type: ignore[attr-defined]
        kept = make_operator(name, (1, 8, 8), {"angles": angles, "angle_unit": "degrees"})
        assert kept.angles_deg.tolist() == angles  # type: ignore[attr-defined]


@pytest.mark.parametrize("angles", [[0.0], [3.0], [0.0, 0.0], [0.0, 90.0]])
def test_degrees_stay(angles: list[float]) -> None:
    assert make_operator("tomography", (1, 8, 8), {"angles": angles}).angles_deg.tolist() == angles  # type: ignore[attr-defined]


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("turn", [180.0, 60.0])
def test_a_transposed_sinogram_is_recognised(noise: float, turn: float) -> None:
    x = blob(64, 64, 30, 40) + blob(64, 64, 40, 20)
    y = Tomography((1, 64, 64), angles_deg=np.arange(64) * turn / 64, detectors=64)(x)
    y = y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype)
    assert looks_transposed(y.mT)
    assert not looks_transposed(y)
    assert not looks_transposed(torch.ones(16, 16)) and not looks_transposed(torch.zeros(16, 16))
