"""`invdiff calibrate`, and the intervals of `invdiff reconstruct` that use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from invdiff import Reconstruction
from invdiff.calibration import Calibration, Misses, Widening, half_width, misses
from invdiff.cli import main
from invdiff.images import load_image, load_mask, save_image
from invdiff.priors import photograph_gaussian, training_images
from invdiff.priors.network import NetworkPrior, Preconditioning
from invdiff.priors.unet import UNet, UNetConfig
from invdiff.streams import generator

SOLVER = ["--prior", "gaussian", "--solver", "mmps:steps=4", "--samples", "3"]
TASK = ["--operator", "identity", "--noise", "0.1"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 30 draws of the prior, of 16 x 16."""
    folder = tmp_path_factory.mktemp("clean")
    for i in range(30):
        save_image(photograph_gaussian().sample(1, (3, 16, 16), generator(i))[0], folder / f"{i:02d}.png")
    return folder


def order(clean: Path, out: Path, *more: str) -> list[str]:
    return ["calibrate", "--images", str(clean), *TASK, *SOLVER, "--size", "16", "--out", str(out), *more]


@pytest.fixture(scope="module")
def calibration(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calibrated") / "identity.json"
    assert main(order(clean, out)) == 0
    return out


def test_the_intervals_are_widened_and_hold_the_truth(
    clean: Path, calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reconstruct", str(clean / "03.png"), "--simulate", *TASK, *SOLVER, "--seed", "9"]
    assert main([*command, "--out", str(tmp_path / "own")]) == 0
    assert "not calibrated" in capsys.readouterr().out
    assert main([*command, "--out", str(tmp_path / "wide"), "--calibration", str(calibration)]) == 0
    assert "with confidence 0.9, at least 90 % of the pixels of a new image lie inside" in capsys.readouterr().out
    own, wide = (json.loads((tmp_path / n / "result.json").read_text())["interval"] for n in ("own", "wide"))
    factor = json.loads(calibration.read_text())["factor"]
    assert (own["calibrated"], wide["calibrated"]) == (False, True)
    assert wide["factor"] == factor and wide["mean_half_width"] == pytest.approx(factor * own["mean_half_width"])
    with np.load(tmp_path / "wide" / "result.npz") as arrays:
        inside = (arrays["clean"] >= arrays["lower"]) & (arrays["clean"] <= arrays["upper"])
        np.testing.assert_allclose((arrays["lower"] + arrays["upper"]) / 2, arrays["mean"], atol=1e-6)
        lower = np.clip(arrays["lower"], 0, 1)
    assert inside.mean() > 0.8
    assert (
        json.loads((tmp_path / "wide" / "result.json").read_text())["metrics"]["mean"]["coverage_90"] == inside.mean()
    )
    shown = load_image(tmp_path / "wide" / "lower.png")[0].numpy()
    assert np.abs(shown - lower).max() < 1 / 255


def test_groups_of_pixels_have_factors_and_an_interrupted_run_goes_on(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, halted = tmp_path / "whole.json", tmp_path / "halted.json"
    more = ["--groups", "2", "--confidence", "0"]
    assert main(order(clean, whole, *more)) == 0
    assert "Factors of the groups, from small to large half-widths, on 8 images" in capsys.readouterr().out
    made = Calibration.load(whole)
    assert made.images == 22 and made.widening is not None and len(made.widening.factors) == 2
    called = 0

    def halting(*arguments: Any, **options: Any) -> list[Misses]:
        nonlocal called
        called += 1
        if called == 3:
            raise KeyboardInterrupt
        return misses(*arguments, **options)

    monkeypatch.setattr("invdiff.commands.calibration.misses", halting)
    with pytest.raises(SystemExit):
        main(order(clean, halted, *more))
    assert "10 of 30 images are in" in capsys.readouterr().err
    assert main(order(clean, halted, *more)) == 0
    assert Calibration.load(halted) == made
    command = ["reconstruct", str(clean / "03.png"), "--simulate", *TASK, *SOLVER, "--out", str(tmp_path / "out")]
    assert main([*command, "--calibration", str(whole)]) == 0
    with np.load(tmp_path / "out" / "result.npz") as arrays:
        half, samples = torch.as_tensor(arrays["upper"] - arrays["lower"]) / 2, torch.as_tensor(arrays["samples"])
    ratio = (half / made.factor / half_width(Reconstruction(samples[None]), 0.9)[0]).flatten()
    assert sorted({round(float(r), 2) for r in ratio}) == sorted({round(f, 2) for f in made.widening.factors})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (["--noise", "0.15"], "noise gaussian:std=0.1 against gaussian:std=0.15"),
        (["--operator", "blur:sigma=1"], "operator identity against blur:sigma=1"),
        (["--samples", "4"], "samples 3 against 4"),
        (["--solver", "mmps:steps=5"], "solver mmps"),
        (["--prior", "photo"], "prior gaussian"),
    ],
)
def test_another_setting_is_refused_before_any_work(
    clean: Path, calibration: Path, tmp_path: Path, change: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reconstruct", str(clean / "03.png"), "--simulate", *TASK, *SOLVER, *change]
    assert main([*command, "--out", str(tmp_path / "out"), "--calibration", str(calibration)]) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_noise_of_nearly_the_same_level_is_taken(clean: Path, calibration: Path, tmp_path: Path) -> None:
    command = ["reconstruct", str(clean / "03.png"), "--simulate", *TASK, *SOLVER, "--noise", "0.105"]
    assert main([*command, "--out", str(tmp_path / "out"), "--calibration", str(calibration)]) == 0


def test_an_interrupted_calibration_is_continued(
    clean: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, count, real = tmp_path / "again.json", 0, misses

    def interrupted(result: Reconstruction, truth: Tensor, level: float, widening: Widening | None) -> list[Misses]:
        nonlocal count
        count += 1
        if count == 12:
            raise KeyboardInterrupt
        return real(result, truth, level, widening)

    monkeypatch.setattr("invdiff.commands.calibration.misses", interrupted)
    with pytest.raises(SystemExit) as stop:
        main(order(clean, out))
    assert stop.value.code == 130 and not out.exists()
    assert "11 of 30 images are in" in capsys.readouterr().err
    assert main(order(clean, out)) == 0
    assert "11 images of an earlier run" in capsys.readouterr().err and count == 12 + 19
    assert json.loads(out.read_text()) == json.loads(calibration.read_text())
    assert not out.with_name("again.json.partial").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--level", "1.2"], "level: expected a probability in (0, 1), got 1.2"),
        (["--count", "9"], "expected at least 25 images for level 0.9 with confidence 0.9, got 9"),
        (["--level", "0.99"], "images for level 0.99 with confidence 0.9, got 30"),
        (["--count", "31"], "--count: expected at most 30"),
        (["--size", "17"], "expected at least 17 x 17 pixels, got 16 x 16"),
        (["--solver", "pnp"], "expected one that gives samples"),
        (["--noise", "auto"], "clean images need a number"),
        (["--samples", "1"], "--samples"),
        (["--operator", "blurr"], "did you mean 'blur'"),
    ],
)
def test_bad_input_is_one_line(
    clean: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.json"
    assert main(order(clean, out, *more)) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1] and len([line for line in error if "error" in line]) == 1
    assert not out.exists()


def test_images_of_the_priors_training_are_refused(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = UNetConfig(channels=3, widths=(8, 16), encoder=(1, 1), decoder=(1,))
    prior = NetworkPrior(UNet(config), (3, None, None), Preconditioning(), stride=config.stride)
    weights = prior.save(tmp_path / "mine")
    training_images.write(weights, [training_images.digest(clean / "07.png")])
    out = tmp_path / "c.json"
    assert main([*order(clean, out), "--prior", str(weights)]) == 2
    error = capsys.readouterr().err
    assert "trained on 1 of these 30, 07.png among them" in " ".join(error.split())
    assert list(tmp_path.glob("c.json*")) == []


def test_an_existing_file_is_kept(clean: Path, calibration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = calibration.read_text()
    assert main(order(clean, calibration)) == 2
    assert "--overwrite" in capsys.readouterr().err and calibration.read_text() == before


def test_one_image_has_no_interval(
    clean: Path, calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [
        "reconstruct",
        str(clean / "03.png"),
        "--simulate",
        *TASK,
        "--prior",
        "gaussian",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*base, "--calibration", str(calibration), "--samples", "1"]) == 2
    assert main([*base, "--calibration", str(calibration), "--goal", "estimate"]) == 2
    assert "widens the intervals of samples" in capsys.readouterr().err
    assert main([*base, "--goal", "estimate"]) == 0
    record = json.loads((tmp_path / "o" / "result.json").read_text())
    assert record["interval"] is None and record["solver"]["name"] == "auto"
    assert torch.equal(*(load_image(tmp_path / "o" / f"{n}.png") for n in ("mean", "sample_0")))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--goal", "mean"], "--goal: unknown value 'mean'"),
        (["--effort", "bset"], "--effort: unknown value 'bset'; did you mean 'best'?"),
        (["--effort", "best", "--solver", "dps"], "--effort: chooses a solver, got --solver dps too"),
        (["--goal", "estimate", "--solver", "dps"], "--goal: chooses a solver, got --solver dps too"),
    ],
)
def test_goal_and_effort_go_with_the_default_solver(
    clean: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconstruct", str(clean / "03.png"), *TASK, "--out", str(tmp_path / "o"), *more]) == 2
    assert message in capsys.readouterr().err


def test_a_calibration_in_hounsfield_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "slices"
    folder.mkdir()
    for i in range(25):
        values = 2000 * photograph_gaussian().sample(1, (1, 16, 16), generator(i))[0, 0].float().numpy() - 1000
        np.save(folder / f"{i:02d}.npy", values)
    units = "units=(HU + 1000) / 2000"
    GaussianPriorFile.write(tmp_path / "g.py", units)
    prior = ["--prior", f"{tmp_path / 'g.py'}:prior", "--solver", "ddrm:steps=5", "--samples", "3", "--gray"]
    fixed = ["--operator", "identity", *prior]
    command = ["calibrate", "--images", str(folder), *fixed, "--size", "16", "--out"]
    assert main([*command, str(tmp_path / "hu.json"), "--noise", "200", "--units", "HU"]) == 0
    made = json.loads((tmp_path / "hu.json").read_text())
    assert made["setting"]["noise"] == "gaussian:std=0.1"
    # The same images in the prior's values, and their noise, give the same factor.
    for file in folder.glob("*.npy"):
        np.save(file, (np.load(file) + 1000) / 2000)
    assert main([*command, str(tmp_path / "values.json"), "--noise", "0.1"]) == 0
    same = json.loads((tmp_path / "values.json").read_text())
    assert same["factor"] == pytest.approx(made["factor"], rel=0.01) and same["setting"] == made["setting"]
    capsys.readouterr()
    assert main([*command, str(tmp_path / "no.json"), "--noise", "200", "--units", "HU"]) == 2
    assert "expected Hounsfield units" in " ".join(capsys.readouterr().err.split())
    assert main([*command, str(tmp_path / "no.json"), "--noise", "200", "--units", "inch"]) == 2


class GaussianPriorFile:
    """A prior of gray slices in a file of one's own."""

    @staticmethod
    def write(path: Path, units: str) -> None:
        stated = units.partition("=")[2]
        path.write_text(
            "from invdiff.priors import photograph_gaussian\nfrom invdiff.priors.gray import GrayPrior\n"
            f"def prior():\n    p = photograph_gaussian()\n    p.units = {stated!r}\n    return GrayPrior(p)\n"
        )


def test_the_mask_is_read_once(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from invdiff.commands import calibration as module

    mask = np.full((16, 16), 255, np.uint8)
    mask[4:8] = 0
    Image.fromarray(mask).save(tmp_path / "m.png")
    calls = 0

    def counted(*given: Any, **options: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return load_mask(*given, **options)

    monkeypatch.setattr(module, "load_mask", counted)
    masked = ["--operator", "inpainting", "--mask", str(tmp_path / "m.png")]
    out = tmp_path / "c.json"
    assert main([*order(clean, out), *masked, "--mask-invert"]) == 0 and calls == 1
    base = ["reconstruct", str(clean / "03.png"), "--simulate", *TASK, *SOLVER, *masked, "--out", str(tmp_path / "o")]
    assert main([*base, "--calibration", str(out)]) == 2  # another mask
    assert main([*base, "--mask-invert", "--calibration", str(out)]) == 0


@pytest.mark.parametrize(
    ("stated", "holds"),
    [
        (["--operator", "ct:angles=[0,60,120],pixel_size=0.1"], True),
        (["--operator", "ct", "--angles", "0:180:60", "--pixel-size", "0.1"], True),
        (["--operator", "ct:angle_unit=degrees", "--angles", "0:180:60", "--pixel-size", "0.1"], False),
        (["--operator", "ct", "--angles", "0:180:60", "--pixel-size", "0.2"], False),
        (["--operator", "ct", "--angles", "0:180:60"], False),
        (["--operator", "ct", "--angles", "0:90:30", "--pixel-size", "0.1"], False),
        (["--operator", "ct", "--angles", "0:180:60", "--pixel-size", "0.1", "--convention", "skimage"], False),
    ],
)
def test_the_geometry_of_a_calibration_counts(
    stated: list[str], holds: bool, geometry: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, made = geometry
    fixed = ["--noise", "0.1", "--prior", "gaussian", "--solver", "mmps:steps=2", "--samples", "2", "--gray"]
    base = ["reconstruct", str(folder / "03.png"), "--simulate", *stated, *fixed, "--out", str(tmp_path / "o")]
    assert main([*base, "--calibration", str(made)]) == (0 if holds else 2)
    assert holds or "operator tomography:angles=" in " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def geometry(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the clean images and a calibration of three projections of them, with angles from a file."""
    folder = tmp_path_factory.mktemp("geometry")
    np.save(folder / "angles.npy", np.array([0.0, 60.0, 120.0]))
    command = ["calibrate", "--images", str(clean), "--operator", f"ct:angles={folder / 'angles.npy'},pixel_size=0.1"]
    command += ["--noise", "0.1", "--prior", "gaussian", "--solver", "mmps:steps=2", "--samples", "2", "--gray"]
    assert main([*command, "--size", "16", "--out", str(folder / "c.json")]) == 0
    return clean, folder / "c.json"
