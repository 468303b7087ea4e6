"""A training run by any objective: it learns, exports, and what loads denoises."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from invdiff.priors.conversions import OUTPUTS
from invdiff.priors.network import NetworkPrior, Preconditioning
from invdiff.training.config import TrainConfig
from invdiff.training.data import Pack
from invdiff.training.loop import fit
from invdiff.training.objectives import OBJECTIVES
from invdiff.training.objectives.configured import output_of

CPU = torch.device("cpu")


def pack() -> Pack:
    """Images of one grey each: a denoiser that averages over the image does far better than a linear one by pixel."""
    greys = np.random.default_rng(0).integers(20, 236, 64).astype(np.uint8)
    sizes = np.full((64, 2), 8, dtype=np.int64)
    return Pack(np.repeat(greys, 64), np.arange(64, dtype=np.int64) * 64, sizes, 1)


def config(**run: object) -> TrainConfig:
    return TrainConfig.from_mapping(
        {
            "run": {"name": "tiny", "steps": 150, "warmup": 5, "precision": "float32", "evaluate_images": 4, **run},
            "data": {"crop": 8, "batch": 16, "channels": 1},
            "augment": {"scale_share": 0.0, "contrast": 0.0, "brightness": 0.0},
            "noise": {"sigma_min": 0.05, "sigma_max": 1.0, "centre": 0.2, "spread": 0.6},
            "network": {"widths": [8, 16], "encoder": [1, 1], "decoder": [1], "embedding": 16},
        }
    )


QUICK = ("velocity", "sliced")


@pytest.mark.parametrize(
    "name",
    # The implicit one takes a backward pass for each pixel, and has a test of its own.
    [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in OBJECTIVES if n != "implicit"],
)
def test_every_objective_trains_a_prior(name: str, tmp_path: Path) -> None:
    steps = 400 if name == "previous" else 150  # whose network of zeros is not the best linear denoiser
    file = fit(config(objective=name, steps=steps), pack(), pack(), tmp_path, device=CPU)
    assert file is not None
    prior = NetworkPrior.load(file)
    assert prior.scaling.output == output_of(name)
    x = torch.from_numpy(pack().pixels.reshape(64, 1, 8, 8) / 255.0).float()
    y = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    m, v = prior.scaling.mean, prior.std**2
    linear = m + v / (v + 0.09) * (y - m)
    assert float((prior.denoise(y, 0.3) - x).square().mean()) < 0.7 * float((linear - x).square().mean())


def test_implicit_score_matching_trains_a_prior(tmp_path: Path) -> None:
    """By the exact divergence, a backward pass for each pixel: images of 4 x 4 pixels are denoised in the end."""
    settings = config(objective="implicit", steps=120)
    settings = dataclasses.replace(settings, data=dataclasses.replace(settings.data, crop=4))
    data = pack()
    small = Pack(data.pixels[: 64 * 16], np.arange(64, dtype=np.int64) * 16, np.full((64, 2), 4, dtype=np.int64), 1)
    small.pixels[:] = np.repeat(data.pixels[::64], 16)
    file = fit(settings, small, small, tmp_path, device=CPU)
    assert file is not None
    prior = NetworkPrior.load(file)
    assert prior.scaling.output == output_of("implicit")
    x = torch.from_numpy(small.pixels.reshape(64, 1, 4, 4) / 255.0).float()
    y = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    m, v = prior.scaling.mean, prior.std**2
    linear = m + v / (v + 0.09) * (y - m)
    assert float((prior.denoise(y, 0.3) - x).square().mean()) < 0.7 * float((linear - x).square().mean())


def test_another_objective_does_not_resume_a_run(tmp_path: Path) -> None:
    fit(config(), pack(), pack(), tmp_path, device=CPU, stop_after=1)
    with pytest.raises(ValueError, match="which estimates 'noise'"):
        fit(config(objective="noise"), pack(), pack(), tmp_path, device=CPU)
    with pytest.raises(ValueError, match="did you mean 'noise'"):
        config(objective="noize")
    with pytest.raises(ValueError, match="did you mean 'noise'"):
        Preconditioning(output="noize")


@pytest.mark.parametrize("name", OUTPUTS)
def test_factors_are_those_of_the_output(name: str) -> None:
    sigma = torch.tensor([0.1, 0.5], dtype=torch.float64)
    c_skip, c_out, _, _ = Preconditioning(0.4, 0.3, output=name).factors(sigma)
    a, b = OUTPUTS[name](mean=0.4, std=0.3).coefficients(sigma)
    torch.testing.assert_close(c_skip, a)
    torch.testing.assert_close(c_out, b)
