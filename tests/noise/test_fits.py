"""Noise whose variance grows with the value, found in images where it is known."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor

from invdiff.errors import UserError
from invdiff.noise import Gaussian, PoissonGaussian, fit_photons
from invdiff.operators import Demosaic
from invdiff.streams import generator

from .test_estimate import PHOTOGRAPHS, bilinear, photograph

D = torch.float64
LAWS = [(100, 0.05), (400, 0.02), (1000, 0.01)]


def ramp() -> Tensor:
    return torch.linspace(0.02, 0.98, 240, dtype=D).expand(1, 1, 240, 240)


@pytest.mark.parametrize(("photons", "std"), [*LAWS, (5000, 0.005)])
def test_a_ramp(photons: float, std: float) -> None:
    """The line's slope and offset, within some times their spread over seeds, 4 %."""
    found = fit_photons(PoissonGaussian(photons, std).sample(ramp(), generator(0)))
    assert found.photons == pytest.approx(photons, rel=0.15) and found.std == pytest.approx(std, rel=0.15)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize(("photons", "std"), LAWS)
def test_photographs(name: str, photons: float, std: float) -> None:
    """The standard deviation at dark and bright values; as white noise one of them would be wrong by 1.3 to 3 times."""
    law = PoissonGaussian(photons, std)
    found = fit_photons(law.sample(photograph(name), generator(0)))
    values = torch.tensor([0.1, 0.3, 0.6, 0.9], dtype=D)
    ratio = (found.variance(values) / law.variance(values)).sqrt()
    most = 1.6 if (name, photons) == ("cat", 1000) else 1.2  # its fur counts as read noise of 0.018
    assert bool(((ratio > 0.85) & (ratio < most)).all()), ratio


def test_a_mosaic() -> None:
    mosaic = Demosaic((3, 240, 240))(photograph("astronaut"))
    found = fit_photons(PoissonGaussian(200, 0.02).sample(mosaic, generator(0)), mosaic=True)
    assert found.photons == pytest.approx(200, rel=0.25) and found.std == pytest.approx(0.02, rel=0.35)


def test_clipped_levels_are_left_out() -> None:
    """Two fifths of the values were clipped; with these, bright parts would have least noise."""
    wide = torch.linspace(-0.2, 1.3, 240, dtype=D).expand(1, 1, 240, 240).clamp(min=0)
    y = PoissonGaussian(200, 0.03).sample(wide, generator(0)).clamp(0, 1)
    found = fit_photons(y)
    assert found.photons == pytest.approx(200, rel=0.2) and found.std == pytest.approx(0.03, rel=0.25)


def test_correlated_noise_counts_at_all_frequencies() -> None:
    clean = torch.linspace(0.05, 0.95, 240, dtype=D).expand(1, 1, 240, 240)
    error = bilinear(PoissonGaussian(200, 0.02).sample(clean, generator(0)) - clean)
    found = fit_photons(clean + error)
    for low, high in ((20, 60), (180, 220)):
        value = float(clean[..., low:high].mean())
        true = float(error[..., low:high].square().mean().sqrt())
        assert float(found.variance(torch.tensor(value))) ** 0.5 == pytest.approx(true, rel=0.25)


def test_refusals() -> None:
    with pytest.raises(UserError, match=r"expected noise that grows with the value, got 0\.0[45]"):
        fit_photons(Gaussian(0.05).sample(ramp(), generator(0)))
    with pytest.raises(UserError, match=re.escape("expected bright and dark parts")):
        fit_photons(Gaussian(0.05).sample(torch.full((1, 1, 100, 100), 0.5, dtype=D), generator(0)))
    with pytest.raises(UserError, match="at least 256 blocks"):
        fit_photons(torch.rand(1, 1, 20, 20, dtype=D))


def test_without_read_noise() -> None:
    """The law needs a positive read noise; what remains is small at every value."""
    found = fit_photons(PoissonGaussian(100, 1e-6).sample(ramp(), generator(0)))
    assert found.photons == pytest.approx(100, rel=0.1) and found.std < 0.3 * math.sqrt(0.5 / 100)
