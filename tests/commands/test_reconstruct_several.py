"""`invdiff reconstruct` with several pictures."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from invdiff import load_prior, simulate
from invdiff.batches import joined, room, solve_together
from invdiff.cli import main
from invdiff.commands.reconstruction.pictures import name_of
from invdiff.commands.reconstruction.prepare import Tables
from invdiff.noise import Poisson
from invdiff.operators import Identity, Inpainting
from invdiff.solvers import DPS

CPU = torch.device("cpu")
FAST = ["--operator", "blur:sigma=1", "--noise", "0.1", "--prior", "gaussian", "--solver", "dps:steps=4,scale=5"]
FAST += ["--samples", "2", "--threads", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("a", (12, 16, 3)), ("b", (12, 16, 3)), ("c", (14, 10, 3)), ("d", (12, 16, 3))):
        Image.fromarray(rng.integers(60, 200, shape, dtype=np.uint8)).save(f"in/{name}.png")


def record(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "result.json").read_text())
    return found


def samples(folder: str) -> np.ndarray[Any, Any]:
    return np.asarray(np.load(Path(folder, "result.npz"))["samples"])


def denoised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each call of the solver adds its number of images."""
    sizes: list[int] = []
    solve: Callable[..., Any] = DPS.__call__

    def counted(self: DPS, problem: Any, prior: Any, **options: Any) -> Any:
        sizes.append(len(problem))
        return solve(self, problem, prior, **options)

    monkeypatch.setattr(DPS, "__call__", counted)
    return sizes


def test_each_picture_of_a_folder_has_the_result_it_has_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = denoised(monkeypatch)
    assert main(["reconstruct", "in", *FAST, "--out", "out"]) == 0
    assert sorted(sizes) == [1, 3]  # one of another size
    assert sorted(p.name for p in Path("out").iterdir()) == ["a", "b", "c", "d", "summary.json"]
    for name in "abcd":
        assert main(["reconstruct", f"in/{name}.png", *FAST, "--out", f"alone/{name}"]) == 0
        np.testing.assert_allclose(samples(f"out/{name}"), samples(f"alone/{name}"), atol=1e-5)
        together, alone = record(f"out/{name}"), record(f"alone/{name}")
        assert together["settings"] == alone["settings"]
        assert together["fit"]["samples"] == pytest.approx(alone["fit"]["samples"], rel=1e-4)
        assert (together["status"], together["nfe_per_sample"]) == (alone["status"], alone["nfe_per_sample"])


def test_a_result_does_not_depend_on_the_other_pictures() -> None:
    assert main(["reconstruct", "in", *FAST, "--out", "all"]) == 0
    assert main(["reconstruct", "in/d.png", "in/b.png", *FAST, "--out", "two"]) == 0
    np.testing.assert_allclose(samples("all/d"), samples("two/d"), atol=1e-5)


def test_a_failure_is_listed_and_not_fatal_and_done_ones_are_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in/bad.png").write_text("no image")
    words = ["reconstruct", "in", *FAST, "--out", "out"]
    assert main(words) == 4
    error = capsys.readouterr().err
    assert "5/5  c  " in error  # of another size than the others
    assert "bad: failed: in/bad.png: not an image that can be read" in error
    assert "1 of 5 pictures failed; the same command tries them again" in error
    rows = json.loads(Path("out/summary.json").read_text())["pictures"]
    assert [r["name"] for r in rows if r["status"] == "failed"] == ["bad"]
    sizes = denoised(monkeypatch)
    Image.fromarray(np.full((12, 16, 3), 99, np.uint8)).save("in/bad.png")
    before = Path("out/a/result.json").stat().st_mtime_ns
    assert main(words) == 0
    assert "4 were done before" in capsys.readouterr().out
    assert Path("out/a/result.json").stat().st_mtime_ns == before
    assert record("out/bad")["status"] in ("ok", "misfit")
    sizes.clear()
    assert main(words) == 0
    assert sizes == []


def test_results_of_other_settings_are_refused_or_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", "in", *FAST, "--out", "out"]) == 0
    Image.fromarray(np.full((12, 16, 3), 99, np.uint8)).save("in/b.png")
    changed = ["reconstruct", "in", *FAST, "--out", "out"]
    assert main(changed) == 2
    assert "holds 1 results of other settings (b: image file " in capsys.readouterr().err
    old, other = samples("out/a"), samples("out/b")
    assert main([*changed, "--overwrite"]) == 0
    assert "3 were done before" in capsys.readouterr().out
    assert np.array_equal(samples("out/a"), old)
    assert not np.array_equal(samples("out/b"), other)
    assert main([*changed, "--seed", "7"]) == 2
    assert "holds 4 results of other settings (a: seed 0 then, 7 now)" in capsys.readouterr().err


def test_files_of_each_picture_by_its_name() -> None:
    Path("masks").mkdir()
    for i, name in enumerate("abc"):
        with Image.open(f"in/{name}.png") as picture:
            mask = np.full((picture.height, picture.width), 255, np.uint8)
        mask[: i + 2, :5] = 0
        Image.fromarray(mask).save(f"masks/{name}.png")
    words = ["reconstruct", "in", *FAST, "--operator", "inpainting", "--mask", "masks/{name}.png", "--out", "out"]
    assert main(words) == 4  # there is none for d
    for i, name in enumerate("abc"):
        with Image.open(f"out/{name}/measurement.png") as shown:
            assert int((np.asarray(shown)[..., 3] == 0).sum()) == 5 * (i + 2)
    rows = {r["name"]: r for r in json.loads(Path("out/summary.json").read_text())["pictures"]}
    assert rows["d"]["message"] == "masks/d.png: no such file"


def test_all_pictures_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    stack = np.random.default_rng(1).random((3, 9, 8)).astype(np.float32)
    tifffile.imwrite("stack.tif", stack, photometric="minisblack")
    assert main(["reconstruct", "stack.tif#all", *FAST, "--out", "out"]) == 0
    for i in range(3):
        np.testing.assert_allclose(np.load(f"out/stack-{i}/result.npz")["measurement"][0], stack[i], atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["in", "a.npy"], "in/a.png and a.npy: expected a name of its own for each result, got 'a' for both"),
        (["in", "none.png"], "none.png: no such file"),
        (["in", "--solver", "dsp"], "unknown solver 'dsp'"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("a.npy", np.zeros((9, 9)))
    assert main(["reconstruct", words[0], *FAST, *words[1:], "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("invdiff: error:") == 1
    assert not Path("out").exists()


def test_a_folder_with_the_result_of_one_picture_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", "in/a.png", *FAST, "--out", "out"]) == 0
    assert main(["reconstruct", "in", *FAST, "--out", "out"]) == 2
    assert "'out' holds the result of one picture" in capsys.readouterr().err


def test_a_full_disk_ends_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    words = ["reconstruct", "in", *FAST, "--out", "out"]
    with monkeypatch.context() as patch:
        patch.setattr("numpy.savez", full)
        assert main(words) == 2
    assert (
        "invdiff: error: out/a: cannot be written: No space left on device; make room, and the same command goes on\n"
    ) in capsys.readouterr().err
    assert not list(Path().rglob("result.json"))
    assert main(words) == 0


def test_names_of_results() -> None:
    assert name_of(Path("x/head.nii.gz#12")) == "head-12"
    assert name_of(Path("scan.h5#entry/data#3")) == "scan-entry-data-3"


def test_each_of_several_has_its_own_fit() -> None:
    prior = load_prior("gaussian")
    x = torch.full((3, 1, 8, 8), 0.5)
    clean = simulate(Identity((1, 8, 8)), x, 0.1, seed=0)
    problems = [clean[0], clean[1], clean[2]]
    object.__setattr__(problems[1], "measurement", problems[1].measurement + 40)
    solver = DPS(steps=1, scale=0.0)  # goes nowhere
    found = solve_together(solver, problems, prior)
    alone = [solver(p, prior) for p in problems]
    for a, b in zip(found, alone, strict=True):
        assert (a.status, a.message) == (b.status, b.message)
        assert torch.allclose(a.samples, b.samples, atol=1e-5)
        assert torch.allclose(a.trace["chi_square"], b.trace["chi_square"], rtol=1e-4)


def test_what_is_solved_together() -> None:
    y = simulate(Identity((1, 8, 8)), torch.full((2, 1, 8, 8), 0.5), 0.1)
    assert joined([y[1], y[0]]).image_index == (1, 0)
    assert room(y[0], samples=4, batch_size=9, device=CPU) == 2
    assert room(y[0], samples=4, batch_size=2, device=CPU) == 1
    assert room(y[0], samples=4, batch_size=None, device=torch.device("cuda")) == 2**16
    assert room(y[0], samples=4, batch_size=None, device=CPU) == 2**10
    photons = simulate(Identity((1, 8, 8)), torch.full((1, 1, 8, 8), 0.5), Poisson(30.0))
    assert room(photons, samples=1, batch_size=None, device=CPU) == 1


def test_pictures_share_the_operator_on_every_device() -> None:
    tables, meta, operator = Tables(), torch.device("meta"), Inpainting(torch.ones(8, 8))
    assert tables.placed(operator, meta) is tables.placed(operator, meta) is not operator
    assert tables.placed(operator, CPU) is operator
