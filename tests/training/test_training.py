"""A tiny run learns, resumes bit for bit, and exports what loads."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invdiff.commands.train import train
from invdiff.priors.network import NetworkPrior
from invdiff.priors.training_images import read, trained_on
from invdiff.training.config import TrainConfig
from invdiff.training.data import Batches, load_pack, split_pack
from invdiff.training.loop import fit
from invdiff.training.optim import orthogonalise
from invdiff.training.state import learning_rate_factor

CPU = torch.device("cpu")
TINY = """
[run]
name = "tiny"
steps = 60
warmup = 5
precision = "float32"
evaluate_images = 4
[data]
crop = 16
batch = 8
[network]
widths = [8, 16]
encoder = [1, 1]
decoder = [1]
embedding = 16
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of smooth coloured pictures, one file broken."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(12):
        coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
        coarse.resize((40 + i, 32), Image.Resampling.BICUBIC).save(folder / f"{i:02d}.png")
    (folder / "broken.jpg").write_bytes(b"not an image")
    return folder


def config(**run: object) -> TrainConfig:
    import tomllib

    table = tomllib.loads(TINY)
    table["run"] |= run
    return TrainConfig.from_mapping(table)


def test_command_learns_and_exports(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    file = train(photos, tmp_path / "run", config=tmp_path / "tiny.toml", device="cpu", progress=False)
    prior = NetworkPrior.load(file)
    pack = load_pack(photos, 3, tmp_path / "cache")
    x = torch.from_numpy(pack[3][:32, :40].copy()).permute(2, 0, 1)[None].float() / 255
    y = x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    linear = prior.scaling.mean + prior.std**2 / (prior.std**2 + 0.04) * (y - prior.scaling.mean)
    assert (prior.denoise(y, 0.2) - x).square().mean() < 0.6 * (linear - x).square().mean()
    log = (tmp_path / "run" / "train.log").read_text()
    assert "skipped broken.jpg" in log
    assert "1 skipped" in capsys.readouterr().err
    assert (tmp_path / "run" / "sheet.png").is_file()
    assert set(json.loads((tmp_path / "run" / "quality.jsonl").read_text().splitlines()[-1])) >= {
        "step",
        "15",
        "25",
        "50",
    }
    assert prior.card["training"]["crops"] == 60 * 8
    files = sorted(photos.glob("*.png"))
    seen = trained_on(prior, [*files, Path(__file__)])
    assert 0 < len(seen) < len(files) and set(seen) < set(files)  # some were held out


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_resumes_bit_for_bit(photos: Path, tmp_path: Path, optimizer: str) -> None:
    c = config(steps=8)
    c = dataclasses.replace(c, optimizer=dataclasses.replace(c.optimizer, name=optimizer))
    train_set, held_out = split_pack(load_pack(photos, 3, tmp_path / "cache"), 0.2)
    straight = fit(c, train_set, held_out, _folder(tmp_path / "a"), device=CPU)
    assert fit(c, train_set, held_out, _folder(tmp_path / "b"), device=CPU, stop_after=3) is None
    resumed = fit(c, train_set, held_out, tmp_path / "b", device=CPU)
    assert straight is not None
    assert resumed is not None
    assert straight.read_bytes() == resumed.read_bytes()


def test_two_workers_train_one_network(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.replace("steps = 60", "steps = 3"))
    file = train(
        photos, tmp_path / "run", config=tmp_path / "tiny.toml", device="cpu", workers=2, threads=2, progress=False
    )
    assert NetworkPrior.load(file).card["training"]["steps"] == 3
    with pytest.raises(ValueError, match="multiple of the 3 workers"):
        train(photos, tmp_path / "run", config=tmp_path / "tiny.toml", workers=3)


def test_a_batch_depends_on_its_number_alone(photos: Path, tmp_path: Path) -> None:
    c = config()
    pack = load_pack(photos, 3, tmp_path / "cache")
    one, two = (Batches(pack, c.data, c.augment, seed=0) for _ in range(2))
    one(0)
    assert torch.equal(one(5), two(5))
    assert not torch.equal(one(5), one(6))
    assert one(5).shape == (8, 3, 16, 16)
    assert 0.0 <= float(one(5).min()) <= float(one(5).max()) <= 1.0


def test_starts_from_an_exported_prior(photos: Path, tmp_path: Path) -> None:
    c = config(steps=1)
    train_set, held_out = split_pack(load_pack(photos, 3, tmp_path / "cache"), 0.2)
    first = fit(c, train_set, held_out, _folder(tmp_path / "a"), device=CPU)
    second = fit(c, held_out, train_set, _folder(tmp_path / "b"), device=CPU, init=first)
    assert first is not None and second is not None
    assert len(read(second)) == 12 > len(read(first))
    other = dataclasses.replace(c, network=dataclasses.replace(c.network, widths=(8, 8)))
    with pytest.raises(ValueError, match="another network"):
        fit(other, train_set, held_out, _folder(tmp_path / "c"), device=CPU, init=first)
    with pytest.raises(ValueError, match="another network or optimizer"):
        fit(other, train_set, held_out, tmp_path / "a", device=CPU)


def test_packs_are_read_again_when_the_folder_changes(photos: Path, tmp_path: Path) -> None:
    source = tmp_path / "images"
    source.mkdir()
    Image.new("RGB", (20, 18)).save(source / "a.png")
    assert len(load_pack(source, 1, tmp_path / "cache")) == 1
    Image.new("L", (16, 16), 255).save(source / "b.png")
    pack = load_pack(source, 1, tmp_path / "cache")
    assert [pack[i].shape for i in range(2)] == [(18, 20, 1), (16, 16, 1)]
    assert pack[1].min() == 255


def test_reads_idx_files(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    header = np.array([2051, 2, 3, 4], dtype=">i4").tobytes()
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(header + images.tobytes()))
    pack = load_pack(file, 1, tmp_path / "cache")
    assert np.array_equal(pack[1][..., 0], images[1])


def test_user_errors(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        train(tmp_path / "nothing", tmp_path / "run", recipe="photo")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="found none"):
        train(tmp_path / "empty", tmp_path / "run", recipe="photo")
    (tmp_path / "empty" / "x.png").write_bytes(b"no")
    with pytest.raises(ValueError, match="none of the 1 images"):
        train(tmp_path / "empty", tmp_path / "run", recipe="photo")
    with pytest.raises(ValueError, match="did you mean 'photo'"):
        train(photos, tmp_path / "run", recipe="fhoto")
    with pytest.raises(FileNotFoundError, match="TOML"):
        train(photos, tmp_path / "run", config=tmp_path / "no.toml")
    with pytest.raises(ValueError, match="--device: expected auto"):
        train(photos, tmp_path / "run", device="tpu")
    with pytest.raises(FileNotFoundError, match="held-out data"):
        train(photos, tmp_path / "run", held_out=tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="found none"):
        train(photos, tmp_path / "run", init=tmp_path / "nothing")
    with pytest.raises(NotADirectoryError, match="--out"):
        train(photos, tmp_path / "empty" / "x.png")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"optimiser": {}}, "did you mean 'optimizer'"),
        ({"optimizer": {"lrr": 1.0}}, "optimizer.lrr: no such key; did you mean 'lr'"),
        ({"run": {"steps": "many"}}, "run.steps: expected int, got 'many'"),
        ({"run": 3}, "run: expected a table"),
        ({"data": {"crop": 20}}, "multiple of the network's stride 16"),
        ({"optimizer": {"name": "sgd"}}, "'muon' or 'adamw'"),
    ],
)
def test_wrong_configurations_are_named(table: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_mapping(table)


@pytest.mark.parametrize("name", ["photo", "photo-finish", "ct", "ct-finish", "fashion", "mri", "cells", "kernel"])
def test_recipes_are_valid_and_survive_a_round_trip(name: str) -> None:
    recipe = TrainConfig.from_recipe(name)
    assert recipe.run.name == name.removesuffix("-finish")
    assert recipe.network == TrainConfig.from_recipe(recipe.run.name).network  # --init needs the same
    assert TrainConfig.from_mapping(recipe.to_mapping()) == recipe


def test_learning_rate_is_a_trapezoid() -> None:
    c = config(steps=100, warmup=10, decay=0.5)
    factors = [learning_rate_factor(k, c) for k in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10:50] == [1.0] * 40
    assert factors[75] == pytest.approx(0.5)
    assert factors[100] == 0.0


@pytest.mark.parametrize("shape", [(16, 40), (40, 16)])
def test_muon_steps_are_nearly_orthogonal(shape: tuple[int, int]) -> None:
    g = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    s = torch.linalg.svdvals(orthogonalise(g, 5))
    assert s.min() > 0.5
    assert s.max() < 1.4


def test_noise_levels_stay_in_range_and_cover_it() -> None:
    noise = config().noise
    sigma = noise.draw(4000, np.random.default_rng(0))
    assert noise.sigma_min <= sigma.min() < 2 * noise.sigma_min
    assert noise.sigma_max / 2 < sigma.max() <= noise.sigma_max
    assert np.median(sigma) == pytest.approx(noise.centre, rel=0.2)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
