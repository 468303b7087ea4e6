"""Training with a noise level for each pixel: what is drawn, what is refused, and where a larger network begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invdiff.commands.train import train
from invdiff.priors.network import NetworkPrior
from invdiff.training.config import TrainConfig
from invdiff.training.data import Pack
from invdiff.training.loop import fit
from invdiff.training.noise_maps import NoiseMapConfig
from invdiff.training.state import TrainState

CPU = torch.device("cpu")
LOW = np.full(64, 0.05)


def pack() -> Pack:
    greys = np.random.default_rng(0).integers(20, 236, 64).astype(np.uint8)
    sizes = np.full((64, 2), 8, dtype=np.int64)
    return Pack(np.repeat(greys, 64), np.arange(64, dtype=np.int64) * 64, sizes, 1)


def config(
    network: dict[str, object] | None = None, maps: dict[str, float] | None = None, **run: object
) -> TrainConfig:
    plain = {"widths": [8, 16], "encoder": [1, 1], "decoder": [1], "embedding": 16}
    return TrainConfig.from_mapping(
        {
            "run": {"name": "tiny", "steps": 20, "warmup": 5, "precision": "float32", "evaluate_images": 4, **run},
            "data": {"crop": 8, "batch": 16, "channels": 1},
            "augment": {"scale_share": 0.0, "contrast": 0.0, "brightness": 0.0},
            "noise": {"sigma_min": 0.05, "sigma_max": 1.0, "centre": 0.2, "spread": 0.6},
            "noise_maps": maps or {},
            "network": plain | (network or {}),
        }
    )


def test_maps_have_the_forms_that_are_asked_for() -> None:
    def draw(**shares: float) -> np.ndarray:
        maps = NoiseMapConfig(**shares).draw(LOW, 2.0, 16, np.random.default_rng(0))
        assert maps.shape == (64, 1, 16, 16) and maps.dtype == np.float32
        assert maps.min() >= 0.05 * (1 - 1e-6) and maps.max() <= 2.0 * (1 + 1e-6)
        return maps[:, 0]

    assert np.unique(draw()).size == 1
    for shares in ({"pixels": 1.0}, {"boxes": 1.0}):
        levels = [np.unique(m) for m in draw(**shares)]
        assert all(len(v) <= 2 for v in levels) and sum(len(v) == 2 for v in levels) > 50
        missing = np.mean([v[-1] == np.float32(2.0) for v in levels if len(v) == 2])
        assert 0.15 < missing < 0.55  # 0.35, of 64
    box = next(m for m in draw(boxes=1.0) if m[0, 0] == m[-1, -1] == np.float32(0.05) and m.max() > m.min())
    rows, columns = (np.flatnonzero((box > box.min()).any(axis)) for axis in (1, 0))
    assert (box[np.ix_(rows, columns)] == box.max()).all()
    smooth = draw(smooth=1.0)
    steps = np.abs(np.diff(np.log(smooth), axis=-1)).max() / np.log(2.0 / 0.05)
    assert np.unique(smooth[0]).size > 100 and steps < 0.5
    mixed = draw(pixels=0.3, boxes=0.2, smooth=0.1)
    assert 10 < sum(np.unique(m).size == 1 for m in mixed) < 42  # 0.4 of 64
    assert np.array_equal(draw(pixels=0.5), draw(pixels=0.5))


def test_a_run_with_maps_learns_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    def files(steps: int, *names: str) -> list[Path | None]:
        settings = config({"noise_maps": True}, {"pixels": 0.4, "boxes": 0.4}, steps=steps)
        folders = [tmp_path / name for name in names]
        for folder in folders:
            folder.mkdir(exist_ok=True)
        return [fit(settings, pack(), pack(), folder, device=CPU) for folder in folders]

    settings = config({"noise_maps": True}, {"pixels": 0.4, "boxes": 0.4}, steps=150)
    (tmp_path / "b").mkdir()
    assert fit(settings, pack(), pack(), tmp_path / "b", device=CPU, stop_after=3) is None
    straight, resumed = files(150, "a", "b")
    assert straight is not None and resumed is not None
    assert straight.read_bytes() == resumed.read_bytes()
    prior = NetworkPrior.load(straight)
    x = torch.from_numpy(pack().pixels.reshape(64, 1, 8, 8) / 255.0).float()
    levels = torch.full((64, 1, 8, 8), 0.1)
    levels[..., :4] = 1.0
    y = x + levels * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    right, *wrong = (float((prior.denoise(y, s) - x).square().mean()) for s in (levels, 0.1, 0.3, 1.0))
    assert right < 0.5 * min(wrong)


@pytest.mark.parametrize(
    ("network", "maps", "run", "message"),
    [
        (
            {},
            {"pixels": 0.2},
            {},
            "noise_maps: expected network.noise_maps = true and run.objective = 'edm', got False",
        ),
        ({"noise_maps": True}, {"boxes": 0.2}, {"objective": "noise"}, "got True and 'noise'; set both, or leave"),
        ({"noise_maps": True}, {"pixels": 0.8, "boxes": 0.3}, {}, "expected shares >= 0 that sum to at most 1"),
        ({"noise_maps": True}, {"pixels": -0.1}, {}, "expected shares >= 0"),
        ({}, {"boxs": 0.1}, {}, "did you mean 'boxes'"),
    ],
)
def test_what_cannot_be_is_refused(
    network: dict[str, object], maps: dict[str, float], run: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config(network, maps, **run)


LARGER = {"encoder": [2, 2], "decoder": [2], "noise_maps": True}


def test_a_larger_network_begins_as_the_same_denoiser(tmp_path: Path) -> None:
    first = fit(config(steps=30), pack(), pack(), tmp_path, device=CPU)
    assert first is not None
    small, large = NetworkPrior.load(first), config(LARGER, {"pixels": 0.5})
    large = dataclasses.replace(large, noise=dataclasses.replace(large.noise, sigma_max=5.0))
    state = TrainState.fresh(large, small.scaling, CPU, first)
    prior = NetworkPrior(state.network, (1, None, None), state.scaling, stride=large.network.stride)
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for sigma in (0.05, 0.3, 1.0):
        torch.testing.assert_close(prior.denoise(x, sigma), small.denoise(x, sigma))
    levels = torch.full((1, 1, 8, 8), 0.3)
    levels[..., :2] = 0.5
    mean = float(levels.log().mean().exp())
    f_map, f_mean = (state.network(x - 0.5, s.log()) for s in (levels, torch.tensor([mean])))
    torch.testing.assert_close(f_map, f_mean)  # the map's own weights are zero at first
    assert (prior.sigma_min, prior.sigma_max) == (0.05, 5.0)


@pytest.mark.parametrize("smaller", [{}, {"encoder": [2, 2], "decoder": [2]}, {**LARGER, "widths": [8, 24]}])
def test_a_network_that_is_no_part_of_it_is_refused(smaller: dict[str, object], tmp_path: Path) -> None:
    first = fit(config(LARGER, steps=1), pack(), pack(), tmp_path, device=CPU)
    with pytest.raises(ValueError, match="holds another network than the configuration, and no part of it"):
        TrainState.fresh(config(smaller), NetworkPrior.load(str(first)).scaling, CPU, first)


def test_the_command_refuses_it_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "images").mkdir()
    Image.new("L", (20, 20)).save(tmp_path / "images" / "a.png")
    first = fit(config(LARGER, steps=1), pack(), pack(), tmp_path / "first", device=CPU)
    with pytest.raises(ValueError, match="holds another network than the configuration"):
        train(tmp_path / "images", tmp_path / "run", recipe="ct", init=first, device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_recipe_continues_photo() -> None:
    recipe, photo = TrainConfig.from_recipe("photo-maps"), TrainConfig.from_recipe("photo")
    assert recipe.noise_maps.used and recipe.network.noise_maps
    assert TrainConfig.from_mapping(recipe.to_mapping()) == recipe
    plain = dataclasses.replace(recipe.network, encoder=photo.network.encoder, noise_maps=False)
    assert plain == photo.network
    assert all(a >= b for a, b in zip(recipe.network.encoder, photo.network.encoder, strict=True))
