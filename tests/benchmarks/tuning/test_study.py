"""Studies: what they search, that they go on, what they write, and that they never see a scored image."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from invdiff import registry
from invdiff.benchmarks.images import load_pictures
from invdiff.benchmarks.suite import Data, Suite, load_suite
from invdiff.benchmarks.tasks import make_task
from invdiff.benchmarks.tuning.spaces import space
from invdiff.benchmarks.tuning.study import Plan, tune, validation_pictures, with_outcomes
from invdiff.cli import main
from invdiff.images import save_image
from invdiff.priors import load_prior
from invdiff.solvers import DPS
from invdiff.solvers.base import parameters
from invdiff.solvers.common.search import Range

NAMES = [*registry.solvers, *registry.peers]
SPACES = {name: ranges for name in NAMES if (ranges := registry.solvers[name].search)}


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    suite = Suite(
        name="small",
        prior="gaussian",
        tasks=("denoising", "phase_retrieval"),
        solvers=("diffpir:steps=6",),
        samples=1,
        data=Data(images=1, size=32),
    )
    file = tmp_path / "small.toml"
    file.write_text(suite.to_toml())
    return file


@pytest.mark.parametrize("name", SPACES)
def test_every_declared_range_is_of_a_parameter_and_holds_its_default(name: str) -> None:
    assert name in NAMES
    known = parameters(registry.solvers[name])
    for key, r in SPACES[name].items():
        default = known[key].default
        assert isinstance(default, int | float)
        assert r.low <= default <= r.high, key
        assert "steps" not in key


def test_solvers_without_a_space_are_known() -> None:
    """A new solver declares its ranges, or stands here."""
    assert set(NAMES) - set(SPACES) == {"pinv", "repaint", "pixelwise", "rmps", "auto", "evidence", "fast_em"}


def test_ranges_are_read_and_refused() -> None:
    assert str(Range.parse("0.1:10:log")) == "0.1:10:log"
    assert Range.parse("-1:1") == Range(-1.0, 1.0)
    for text in ("1", "1:2:lin", "a:b", "1:2:log:3"):
        with pytest.raises(ValueError, match="range: expected low:high"):
            Range.parse(text)
    with pytest.raises(ValueError, match=r"low < high, got 2\.0 and 1\.0"):
        Range.parse("2:1")
    with pytest.raises(ValueError, match="a positive low end"):
        Range.parse("0:1:log")
    assert set(space("dps", DPS, {"eta": 1.0})) == {"scale"}
    with pytest.raises(ValueError, match="unknown parameter of DPS 'scal'; did you mean 'scale'"):
        space("dps", DPS, {}, {"scal": Range(0, 1)})
    with pytest.raises(ValueError, match="'scale' is fixed at 3 and has a range"):
        space("dps", DPS, {"scale": 3}, {"scale": Range(0, 1)})
    with pytest.raises(ValueError, match=r"no parameter with a range that is not fixed.*numbers are: steps"):
        space("dps", DPS, {"scale": 3.0, "eta": 1.0})


def plan(**changes: object) -> Plan:
    prior = load_prior("gaussian")
    options: dict[str, object] = {
        "solver": "diffpir",
        "tasks": {"denoising": make_task("denoising")},
        "images": load_pictures("validation", 2, size=32, channels=3, prior=prior),
        "prior": prior,
        "fixed": {"steps": 5},
    }
    return Plan(**{**options, **changes})  # type: ignore[arg-type]


def test_study_finds_better_parameters_and_its_number_is_that_of_the_solver(tmp_path: Path) -> None:
    """The best trial's figure is what the solver itself reaches with these parameters; the default is the first."""
    p = plan()
    (found,) = tune(p, 6, tmp_path / "s.sqlite")
    assert found.trials == 6 and found.failed == 0 and found.evaluations == 5
    assert set(found.parameters) == {"weight", "zeta"}

    def reached(**options: object) -> float:
        solver = registry.solvers["diffpir"](steps=5, **options)
        errors = []
        for image in p.images:
            problem = p.tasks["denoising"].problem(image.pixels[None], image=image.number, seed=0)
            mean = solver(problem, p.prior, samples=1, seed=0).mean.clamp(0, 1)
            errors.append(-10 * torch.log10((mean - image.pixels).square().mean()))
        return float(sum(errors) / len(errors))

    assert found.psnr == pytest.approx(reached(**found.parameters), abs=1e-3)
    assert found.default == pytest.approx(reached(), abs=1e-3)
    assert found.psnr >= found.default


def test_study_goes_on_where_it_was(tmp_path: Path) -> None:
    said: list[str] = []
    file = tmp_path / "s.sqlite"
    tune(plan(), 3, file, said.append)
    assert len(said) == 3
    (found,) = tune(plan(), 5, file, said.append)
    assert len(said) == 5 and found.trials == 5
    tune(plan(), 5, file, said.append)
    assert len(said) == 5
    tune(plan(seed=1), 1, file, said.append)  # another question, another study in the same file
    assert len(said) == 6


def test_killed_study_goes_on(tmp_path: Path, suite_file: Path) -> None:
    out = tmp_path / "tuned.toml"
    words = ["tune", str(suite_file), "--solver", "diffpir:steps=40", "--tasks", "denoising", "--budget", "200"]
    command = [sys.executable, "-m", "invdiff", *words, "--images", "1", "--out", str(out), "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        trials = 0
        while trials < 3:  # other programs may write to standard error, too
            line = process.stderr.readline()
            assert line, "ended before its third trial"
            trials += "trial" in line
        process.kill()
    assert not out.exists()
    words[words.index("200")] = "6"
    assert main([*words, "--images", "1", "--out", str(out)]) == 0
    study = load_suite(out).studies["denoising"]["diffpir:steps=40"]
    assert study["trials"] >= 6
    again = time.perf_counter()
    assert main([*words, "--images", "1", "--out", str(out), "--overwrite"]) == 0
    assert time.perf_counter() - again < 20
    assert load_suite(out).studies["denoising"]["diffpir:steps=40"] == study


def test_result_is_a_suite_that_has_the_parameters(
    tmp_path: Path, suite_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned.toml"
    words = ["tune", str(suite_file), "--budget", "3", "--images", "1", "--out", str(out)]
    assert main([*words, "--solver", "deepinv.ddrm:steps=6"]) == 0
    text = capsys.readouterr().out
    assert "not applicable: needs linear, svd" in text
    suite = load_suite(out)
    entry = next(e for e in suite.entries("denoising") if e.name == "deepinv.ddrm")
    assert set(entry.parameters) == {"steps", "eta", "eta_b", "sigma_max"}
    study = suite.studies["denoising"]["deepinv.ddrm:steps=6"]
    assert study["trials"] == 3 and study["psnr"] >= study["psnr_default"] and study["evaluations"] == 6
    assert "phase_retrieval" not in suite.studies
    # A second solver is added to the first, in the same file.
    assert main(["tune", str(out), *words[2:], "--solver", "diffpir:steps=6", "--tasks", "denoising"]) == 0
    suite = load_suite(out)
    assert set(suite.studies["denoising"]) == {"deepinv.ddrm:steps=6", "diffpir:steps=6"}
    assert suite.tasks == ("denoising", "phase_retrieval")


def test_together_is_one_study(tmp_path: Path) -> None:
    tasks = {n: make_task(n) for n in ("denoising", "box_inpainting")}
    p = plan(tasks=tasks, together=True)
    found = tune(p, 2, tmp_path / "s.sqlite")
    assert [o.tasks for o in found] == [("denoising", "box_inpainting")]
    suite = with_outcomes(load_suite("quick"), p, found)
    assert suite.parameters["denoising"]["diffpir:steps=5"] == suite.parameters["box_inpainting"]["diffpir:steps=5"]


def test_images_that_the_suite_scores_are_refused(tmp_path: Path) -> None:
    prior = load_prior("gaussian")
    scored = load_pictures("photographs", 2, size=64, channels=3, prior=prior)
    suite = load_suite("quick").changed(size=64)
    with pytest.raises(ValueError, match="'astronaut' is an image that suite 'quick' scores"):
        validation_pictures(suite, "photographs", 1, prior)
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(Path(__file__).parents[3] / "docs" / "demo.png", folder / "other.png")
    assert len(validation_pictures(suite, str(folder), 1, prior)) == 1
    save_image(scored[1].pixels[None], folder / "coffee.png")
    own = suite.changed(source=str(folder))
    with pytest.raises(ValueError, match="expected --images with another folder"):
        validation_pictures(own, None, 1, prior)
    with pytest.raises(ValueError, match=r"'coffee.png@\w+' is an image that suite 'quick' scores"):
        validation_pictures(own, str(folder), 1, prior)
    drawn = validation_pictures(suite.changed(source="prior", channels=1, size=16), None, 2, prior)
    mine = load_pictures("prior", 2, size=16, channels=1, prior=prior)
    assert all(float((a.pixels - b.pixels).abs().max()) > 0.01 for a in drawn for b in mine)


def test_trials_that_fail_are_counted_and_do_not_end_the_study(tmp_path: Path) -> None:
    (found,) = tune(plan(ranges={"zeta": Range(1.5, 2.0)}), 2, tmp_path / "s.sqlite")
    assert found.failed == found.trials == 2
    assert "no trial gave images" in found.reason


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--solver", "dpss"], "unknown solver 'dpss'; did you mean 'dps'"),
        (["--solver", "dps:step=3"], "unknown parameter of DPS 'step'; did you mean 'steps'"),
        (["--solver", "pinv"], "solver 'pinv' has no parameter with a range"),
        (["--solver", "dps", "--budget", "0"], "--budget: expected an integer >= 1, got 0"),
        (["--solver", "dps", "--tasks", "denoisin"], "did you mean 'denoising'"),
        (["--solver", "dps", "--range", "scale"], "--range: expected parameter=low:high"),
        (["--solver", "dps", "--images", "x:y"], "--images: expected a number, FOLDER or FOLDER:number"),
        (["--solver", "dps", "--out", "there.txt"], "--out: expected a file that ends in .toml"),
        (["--solver", "dps", "--out", "nowhere/a.toml"], "--out: no folder 'nowhere'"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], text: str, suite_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", str(suite_file), *words]) == 2
    said = capsys.readouterr()
    assert text in said.err and said.out == "" and len(said.err.splitlines()) == 1
    assert main(["tune", "standrd", "--solver", "dps"]) == 2


def test_file_that_holds_no_studies(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    file.write_text("no database")
    with pytest.raises(ValueError, match=r"s.sqlite' is no file of studies that can be written"):
        tune(plan(), 1, file)


def test_without_optuna(suite_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["tune", str(suite_file), "--solver", "dps", "--out", str(suite_file.parent / "a.toml")]) == 2
    assert "pip install 'invdiff[tune]'" in capsys.readouterr().err
