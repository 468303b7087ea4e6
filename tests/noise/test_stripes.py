"""Columns and rows of known noise."""

from __future__ import annotations

import pytest
import torch

from invdiff import Problem, reconstruct
from invdiff.errors import UserError
from invdiff.noise import GaussianMap, fit_columns
from invdiff.operators import Demosaic, Identity

from .test_estimate import normal, photograph

D = torch.float64
HOT = torch.full((240,), 0.03, dtype=D)
HOT[[17, 18, 90, 200]] = torch.tensor([0.2, 0.12, 0.3, 0.1], dtype=D)


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
@pytest.mark.parametrize("rows", [False, True])
def test_hot_columns(name: str, rows: bool) -> None:
    x = photograph(name)
    std = HOT[:, None] if rows else HOT
    found = fit_columns(x + std * normal(x), rows=rows).std
    assert found.shape == ((3, 240, 1) if rows else (3, 1, 240))
    ratio = found.reshape(3, 240) / HOT
    assert bool(((ratio > 0.6) & (ratio < 2.6)).all()), (ratio.min(), ratio.max())
    assert bool(((ratio[:, HOT > 0.05] > 0.7) & (ratio[:, HOT > 0.05] < 1.4)).all())


def test_levels_of_all_columns() -> None:
    std = 0.02 + 0.06 * torch.rand(240, generator=torch.Generator().manual_seed(1), dtype=D)
    x = torch.linspace(0, 1, 240, dtype=D)[:, None].expand(1, 1, 240, 240)
    found = fit_columns(x + std * normal(x)).std[0, 0]
    assert float((found / std).log().std()) < 0.13 < float(std.log().std()) / 2


def test_equal_columns_stay_equal() -> None:
    """The scatter of the estimates of 240 columns is not taken for levels."""
    found = fit_columns(0.5 + 0.05 * normal(torch.empty(1, 1, 240, 240))).std
    assert float(found.log().std()) < 0.05 and float(found.median()) == pytest.approx(0.05, rel=0.05)


def test_stripes_count_as_noise_of_their_column() -> None:
    x = photograph("coffee")
    stripes = torch.zeros(240, dtype=D)
    stripes[[50, 120]] = torch.tensor([0.1, -0.15], dtype=D)
    found = fit_columns(x + stripes + 0.01 * normal(x)).std[:, 0]
    assert found[:, 50].tolist() == pytest.approx([0.1] * 3, rel=0.25)
    assert found[:, 120].tolist() == pytest.approx([0.15] * 3, rel=0.25)
    assert float(found.median()) < 0.03


def test_mosaics_and_unknown_pixels() -> None:
    mosaic = Demosaic((3, 240, 240))(photograph("astronaut"))
    y = mosaic + HOT * normal(mosaic)
    known = torch.ones(240, 240, dtype=torch.bool)
    known[60:100, 80:100] = False
    y[..., ~known] = 7.0
    ratio = fit_columns(y, known, mosaic=True).std[0, 0] / HOT
    assert bool(((ratio[HOT > 0.05] > 0.7) & (ratio[HOT > 0.05] < 1.5)).all()) and float(ratio.median()) < 1.6


def test_solvers_trust_hot_columns_less() -> None:
    x = photograph("coffee")[..., :64, :64].float()
    y = x + HOT[10:74].float() * normal(x).float()
    hot = HOT[10:74] > 0.05
    y_problem = Problem(Identity((3, 64, 64)), fit_columns(y.double()), y)
    even = Problem(Identity((3, 64, 64)), GaussianMap(torch.full((1,), 0.03)), y)
    errors = [
        float((reconstruct(p, prior="gaussian", solver="pnp", seed=0).mean - x)[..., hot].square().mean())
        for p in (y_problem, even)
    ]
    assert errors[0] < errors[1] / 2


def test_refusals() -> None:
    with pytest.raises(UserError, match="expected a picture"):
        fit_columns(torch.zeros(1, 40))
    with pytest.raises(UserError, match="at least 24 pixels along each line"):
        fit_columns(torch.zeros(1, 1, 20, 40))
