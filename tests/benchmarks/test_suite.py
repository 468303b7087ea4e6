"""Suites: from TOML to cells, what is an error, and what the hash covers."""

import math
from pathlib import Path

import pytest
import torch

from invdiff.benchmarks.execution.runner import plan
from invdiff.benchmarks.images import load_pictures
from invdiff.benchmarks.suite import Data, Suite, built_in_suites, load_suite, parse_suite
from invdiff.benchmarks.tasks import make_task
from invdiff.images import save_image
from invdiff.priors import photograph_gaussian

TEXT = """
name = "mine"
prior = "gaussian"
tasks = ["denoising", "super_resolution: factor=2"]
solvers = ["pinv", "dps:steps=7", "dps:steps=9,scale=2"]
[data]
images = 1
size = 32
[parameters.denoising.dps]
scale = 0.25
eta = 0.5
[parameters.denoising."dps:steps=7"]
eta = 0.75
"""


def test_every_suite_of_the_package_has_cells_and_survives_its_own_toml() -> None:
    assert built_in_suites() == ["ct", "exact", "fashion", "quick", "standard"]
    for name in built_in_suites():
        suite = load_suite(name)
        assert suite.name == name and parse_suite(suite.to_toml()) == suite
    assert len([s for s in load_suite("quick").solvers if s not in ("measurement", "pinv")]) >= 12
    assert len(load_suite("quick").tasks) == 3 and load_suite("quick").data.images == 2


def test_parameters_of_a_task_come_under_those_of_the_entry() -> None:
    suite = parse_suite(TEXT)
    _, seven, nine = suite.entries("denoising")
    assert seven.parameters == {"steps": 7, "scale": 0.25, "eta": 0.75}
    assert nine.parameters == {"steps": 9, "scale": 2, "eta": 0.5}
    assert [e.parameters for e in suite.entries("super_resolution:factor=2")] == [
        {},
        {"steps": 7},
        {"steps": 9, "scale": 2},
    ]
    assert seven.build() == type(seven.build())(steps=7, scale=0.25, eta=0.75)  # type: ignore[call-arg]
    assert parse_suite(suite.to_toml()) == suite


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mine"', 'nam = "mine"', "unknown key 'nam'; did you mean 'name'"),
        ('prior = "gaussian"', "", "prior: expected in every suite, got none"),
        ("images = 1", "imagse = 1", r"unknown key of \[data\] 'imagse'; did you mean 'images'"),
        ("images = 1", "images = 0", "images: expected an integer >= 1, got 0"),
        ('"denoising"', '"denoisign"', "unknown task 'denoisign'; did you mean 'denoising'"),
        ("factor=2", "factr=2", "unknown parameter of SuperResolution 'factr'; did you mean 'factor'"),
        ('"pinv"', '"pniv"', "unknown solver 'pniv'; did you mean 'pinv'"),
        ("steps=7", "step=7", "unknown parameter of DPS 'step'; did you mean 'steps'"),
        ("scale = 0.25", "scael = 0.25", "unknown parameter of DPS 'scael'; did you mean 'scale'"),
        ("[parameters.denoising.dps]", "[parameters.noise.dps]", "unknown task 'noise'"),
        ('solvers = ["pinv"', 'metrics = ["psnrr"]\nsolvers = ["pinv"', "unknown metric 'psnrr'; did you mean 'psnr'"),
        ('"mine"', '"mine', "expected TOML"),
        ("tasks = [", "seeds = 0\ntasks = [", "seeds: expected an integer >= 1, got 0"),
        ("tasks = [", "samples = true\ntasks = [", "samples: expected an integer >= 1, got True"),
    ],
)
def test_what_is_wrong_with_a_suite(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(ValueError, match=message):
        parse_suite(TEXT.replace(old, new), where="mine.toml")


def test_suites_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown suite 'quik'; did you mean 'quick'"):
        load_suite("quik")
    with pytest.raises(ValueError, match="no such file"):
        load_suite(tmp_path / "none.toml")
    (tmp_path / "mine.toml").write_text(TEXT)
    assert load_suite(tmp_path / "mine.toml").name == "mine"


def test_the_hash_covers_what_cells_share_and_no_more() -> None:
    suite = parse_suite(TEXT)
    assert suite.hash == "fcd30d4dba4f"  # results on disk are found by it: change RULES if this must change
    same = suite.changed(images=3, seeds=2, solvers=("pinv",), tasks=("denoising",), prior="photo")
    assert same.hash == suite.hash
    others = {suite.changed(**{k: v}).hash for k, v in {"size": 16, "samples": 2, "source": "phantoms"}.items()}
    assert len(others | {suite.hash}) == 4


def test_a_longer_run_has_the_cells_of_a_shorter_one() -> None:
    suite = parse_suite(TEXT)
    short, long = (plan(s) for s in (suite, suite.changed(images=2, seeds=2, solvers=("ddrm", *suite.solvers))))
    assert {j.cell.key for j in short} < {j.cell.key for j in long}
    assert len(short) == 2 * 3 and len({j.cell.key for j in long}) == len(long) == 2 * 2 * 2 * 4


def test_pictures_do_not_depend_on_how_many_are_asked_for(tmp_path: Path) -> None:
    prior = photograph_gaussian()
    for source in ("photographs", "validation", "phantoms", "prior"):
        for channels in (1, 3):
            few, many = (load_pictures(source, n, size=24, channels=channels, prior=prior) for n in (1, 6))
            assert torch.equal(few[0].pixels, many[0].pixels) and few[0].name == many[0].name
            assert len({p.name for p in many}) == 6 and len({p.number for p in many}) == 6
            assert all(p.pixels.shape == (channels, 24, 24) for p in many)
            if source != "prior":  # the Gaussian knows no bounds
                assert all(p.pixels.min() >= 0 and p.pixels.max() <= 1 for p in many)
                assert all(p.pixels.std() > 0.02 for p in many)
    scored, tuned = (load_pictures(s, 20, size=24, channels=1, prior=prior) for s in ("photographs", "validation"))
    assert not {p.name.split("-")[0] for p in scored} & {p.name.split("-")[0] for p in tuned}


def test_a_folder_of_images(tmp_path: Path) -> None:
    prior = photograph_gaussian()
    with pytest.raises(ValueError, match=f"unknown source '{tmp_path}/none'"):
        load_pictures(f"{tmp_path}/none", None, size=8, channels=1, prior=prior)
    with pytest.raises(FileNotFoundError, match="found none"):
        load_pictures(str(tmp_path), None, size=8, channels=1, prior=prior)
    for i, name in enumerate("cb"):
        save_image(torch.full((1, 3, 10, 14), 0.25 * (i + 1)), tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    first, second = load_pictures(str(tmp_path), None, size=8, channels=1, prior=prior)
    assert first.name.startswith("b.png@") and first.pixels.shape == (1, 8, 8)
    save_image(torch.zeros(1, 3, 10, 14), tmp_path / "a.png")
    found = {p.name: p.number for p in load_pictures(str(tmp_path), None, size=None, channels=3, prior=prior)}
    assert len(found) == 3
    again = load_pictures(str(tmp_path), 3, size=8, channels=1, prior=prior)[1:]
    assert [(p.name, p.number) for p in again] == [(p.name, p.number) for p in (first, second)]
    save_image(torch.ones(1, 3, 10, 14), tmp_path / "b.png")
    changed = load_pictures(str(tmp_path), 3, size=8, channels=1, prior=prior)[1]
    assert changed.name != first.name and changed.name.startswith("b.png@")
    with pytest.raises(ValueError, match="expected at least 4 images, found 3"):
        load_pictures(str(tmp_path), 4, size=8, channels=1, prior=prior)


def test_a_prior_that_does_not_fit_is_told_before_anything_is_solved() -> None:
    suite = Suite(
        name="s", prior="fashion", tasks=("denoising",), solvers=("pinv",), data=Data(images=1, size=32, channels=1)
    )
    with pytest.raises(ValueError, match="takes images of 1 x 28 x 28, got 'astronaut' of 1 x 32 x 32"):
        plan(suite)


def test_task_names_have_options() -> None:
    assert make_task("motion_blur:size=9").noise == 0.025


def test_any_name_and_any_number_survive_toml(tmp_path: Path) -> None:
    folder = tmp_path / 'cats \U0001f63a "quoted" \\ back'
    folder.mkdir()
    suite = Suite(
        name="mine", prior="gaussian", tasks=("denoising",), solvers=("dps:steps=5",), description="two\nlines",
        data=Data(source=str(folder), images=1),
        parameters={"denoising": {"dps:steps=5": {"scale": 1e-7}, "langevin": {"steps": 3}}},
        studies={"denoising": {"dps:steps=5": {"psnr": math.inf, "images": ["a", "b"]}}},
    )  # fmt: skip
    file = tmp_path / "mine.toml"
    file.write_text(suite.to_toml(), encoding="utf-8")
    assert load_suite(file) == suite
