"""Sheets of samples, and the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invdiff.benchmarks.studies.samplers import Row, contestants, to_markdown, two_modes
from invdiff.priors import GaussianPrior
from invdiff.samplers import SAMPLERS
from invdiff.samplers.command import default_shape, sample, sheet, write_sheet


def test_a_sheet_shows_each_image_where_it_belongs() -> None:
    x = torch.arange(5.0)[:, None, None, None].expand(5, 1, 2, 3) / 10
    pixels = np.asarray(sheet(x))
    assert pixels.shape == (2 * 2 + 1, 3 * 3 + 2)
    assert pixels[0, [0, 4, 8]].tolist() == [0, 26, 51]
    assert pixels[3, [0, 4]].tolist() == [77, 102]
    assert pixels[2, 0] == pixels[0, 3] == pixels[4, 10] == 255
    colour = np.asarray(sheet(torch.tensor([[[[-1.0]], [[0.5]], [[2.0]]]])))
    assert colour[0, 0].tolist() == [0, 128, 255]
    with pytest.raises(ValueError, match="1 or 3"):
        sheet(torch.zeros(2, 2, 4, 4))


def test_sheets_are_enlarged_by_whole_factors(tmp_path: Path) -> None:
    write_sheet(torch.rand(4, 1, 5, 5), tmp_path / "a.png", pixels=40)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (33, 33)
        pixels = np.asarray(image)
    assert bool((pixels[:3, :3] == pixels[0, 0]).all())


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_writes_a_sheet(name: str, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    result = sample("gaussian", name, steps=2, n=2, shape=(1, 8, 8), out=out)
    assert result.samples.shape == (2, 1, 8, 8)
    assert out.is_file()


def test_options_reach_the_sampler_and_unknown_ones_raise(tmp_path: Path) -> None:
    prior = GaussianPrior(torch.zeros(1, 2, 2), torch.eye(4))
    plain, noisy = (sample(prior, "ddim", steps=4, eta=eta, n=2).samples for eta in (0.0, 1.0))
    assert not torch.equal(plain, noisy)
    assert sample(prior, "annealed", steps=3, options={"inner": 2}, n=2).nfe == 3 * 2 + 2
    with pytest.raises(ValueError, match="did you mean 'heun'"):
        sample(prior, "huen")
    with pytest.raises(ValueError, match="eta"):
        sample(prior, "heun", eta=0.5, out=tmp_path / "no.png")
    assert not list(tmp_path.iterdir())


def test_sizes_that_a_prior_leaves_open() -> None:
    assert default_shape(GaussianPrior(torch.zeros(3, 2, 4), torch.eye(24))) == (3, 2, 4)
    from invdiff.priors import load_prior

    assert default_shape(load_prior("gaussian")) == (1, 64, 64)


def test_the_table_has_every_sampler() -> None:
    assert {type(s) for s in contestants(0.01, 5.0).values()} == set(SAMPLERS.values())
    assert all((s.sigma_min, s.sigma_max) == (0.01, 5.0) for s in contestants(0.01, 5.0).values())
    text = to_markdown([Row("a", 3, 0.12345, 0.7, 1.0)])
    assert text.splitlines()[2] == "| a | 3 | 0.1235 | 0.700 | 1.00 |"
    assert float(two_modes().weights[0]) == pytest.approx(0.7)


@pytest.mark.slow
def test_the_table_ranks_as_it_should() -> None:
    from invdiff.benchmarks.studies.samplers import compare

    rows = {r.sampler: r for r in compare(2000)}
    floor = rows["exact samples (floor)"].distance
    for label in ("ancestral (DDPM), 500", "Heun (EDM), 50", "adaptive ODE (scipy)", "predictor-corrector, VE, 100"):
        assert rows[label].distance < 2 * floor
    assert rows["Heun (EDM), 20"].distance < rows["Euler, 20"].distance
    assert rows["ULA from white noise, 1000"].distance > 5 * floor
