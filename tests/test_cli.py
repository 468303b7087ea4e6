from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import coffee
from skimage.transform import radon

import invdiff
from invdiff.cli import main
from invdiff.commands import terminal
from invdiff.commands.reconstruction.results import staged
from invdiff.commands.reconstruction.sinograms import read_angles
from invdiff.images import load_image
from invdiff.noise import PoissonGaussian, estimate_noise, fit_photons
from invdiff.registry import operators
from invdiff.solvers import DPS

H, W = 33, 47
FAST = ["--solver", "dps:steps=4,scale=5", "--samples", "2", "--threads", "1", "--device", "cpu"]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(coffee()).resize((W, H)).save(path)
    return path


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `invdiff reconstruct`, expect exit code 0, and return result.json with the printed text."""

    def reconstruct(image: Path, *options: str, out: str = "out", code: int = 0) -> dict[str, Any]:
        arguments = ["reconstruct", str(image), *FAST, "--out", str(tmp_path / out), *options]
        assert main(arguments) == code, capsys.readouterr().err
        printed = capsys.readouterr()
        record: dict[str, Any] = json.loads((tmp_path / out / "result.json").read_text())
        assert {p.name for p in (tmp_path / out).iterdir()} == set(record["files"])
        return {**record, "out": printed.out, "err": printed.err, "folder": tmp_path / out}

    return reconstruct


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"invdiff {invdiff.__version__}\n"
    for words in (["--help"], ["reconstruct", "-h"], ["demo", "--help"], ["list", "--help"]):
        assert main(words) == 0
        assert "Usage: invdiff" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("operator", "in_shape"),
    [
        ("identity", (3, H, W)),
        ("blur:sigma=1.5", (3, H, W)),
        ("blur:kernel=uniform,size=5,border=valid", (3, H + 4, W + 4)),
        ("downsample:factor=2", (3, 2 * H, 2 * W)),
        ("downsample:factor=3,kernel=average", (3, 3 * H, 3 * W)),
        ("inpainting:box=true", (3, H, W)),
    ],
)
def test_a_photograph_of_odd_size_is_the_measurement(
    run: Run, photo: Path, operator: str, in_shape: tuple[int, ...]
) -> None:
    got = run(photo, "--operator", operator, "--noise", "0.02")
    assert got["status"] in ("ok", "misfit")
    assert got["operator"]["in_shape"] == list(in_shape)
    assert got["operator"]["out_shape"] == [3, H, W]
    assert got["metrics"] == {}
    mean = load_image(got["folder"] / "mean.png")
    assert mean.shape == (1, *in_shape)
    assert not (got["folder"] / "clean.png").exists()
    assert "PSNR" not in got["out"]


@pytest.mark.parametrize(
    "operator",
    ["identity", "inpainting:box=true", "blur:sigma=1", "downsample:factor=4", "tomography:angles=9"],
)
def test_simulate_with_each_operator(run: Run, photo: Path, operator: str) -> None:
    got = run(photo, "--operator", operator, "--noise", "0.02", "--simulate")
    assert "PSNR" in got["out"]
    assert "SSIM" in got["out"]
    assert {"mean", "average sample"} < set(got["metrics"])
    # The figures are those of the arrays that were written.
    arrays = np.load(got["folder"] / "result.npz")
    assert arrays["samples"].shape == (2, 3, H, W)
    assert np.allclose(arrays["samples"].mean(0), arrays["mean"], atol=1e-6)
    assert np.allclose(arrays["samples"].std(0, ddof=1), arrays["std"], atol=1e-5)
    error = np.clip(arrays["mean"], 0, 1) - arrays["clean"]
    assert got["metrics"]["mean"]["psnr"] == pytest.approx(-10 * np.log10(np.mean(error.astype(float) ** 2)), abs=1e-4)
    assert 0 <= got["metrics"]["mean"]["coverage_90"] <= 1


def test_the_record_says_all(run: Run, photo: Path) -> None:
    got = run(photo, "--operator", "blur:sigma=1", "--noise", "0.02", "--seed", "5")
    assert (got["solver"]["name"], got["solver"]["class"]) == ("dps", "DPS")
    assert got["solver"]["options"] == dataclasses.asdict(DPS(steps=4, scale=5.0))
    assert got["noise"] == {"name": "Gaussian", "std": 0.02, "estimated": False}
    assert got["nfe_per_sample"] == 4
    assert (got["seed"], got["samples"], got["threads"], got["device"]) == (5, 2, 1, "cpu")
    assert got["versions"]["torch"] == torch.__version__
    assert got["versions"]["invdiff"] == invdiff.__version__
    assert got["seconds"] > 0
    pictures = {
        f"{n}.png" for n in ("comparison", "lower", "mean", "measurement", "sample_0", "sample_1", "std", "upper")
    }
    assert set(got["files"]) == pictures | {"result.json", "result.npz"}
    std = load_image(got["folder"] / "std.png") * got["white_level"]["std.png"]
    exact = np.load(got["folder"] / "result.npz")["std"]
    assert np.abs(std[0].numpy() - exact).max() < 0.5 * exact.max()
    assert np.median(np.abs(std[0].numpy() - exact)) < got["white_level"]["std.png"] / 255


def test_the_same_seed_gives_the_same_bits(run: Run, photo: Path) -> None:
    options = ["--operator", "inpainting:random=0.5", "--noise", "0.05", "--simulate"]
    first, again, other = (
        np.load(run(photo, *options, "--seed", seed, out=out)["folder"] / "result.npz")
        for seed, out in (("0", "a"), ("0", "b"), ("1", "c"))
    )
    for name in ("measurement", "samples"):
        assert np.array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_gray_and_sixteen_bit_images_have_one_channel(run: Run, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (H, W), dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "gray.png")
    got = run(tmp_path / "gray.png", "--operator", "identity", "--noise", "0.1")
    assert got["operator"]["in_shape"] == [1, H, W]
    assert np.allclose(np.load(got["folder"] / "result.npz")["measurement"][0], levels / 65535, atol=1e-6)


def hole() -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    missing = np.zeros((H, W), bool)
    missing[4:9, 10:30] = True
    return missing


@pytest.mark.parametrize("how", ["mask", "inverted mask", "transparent", "marker"])
def test_missing_pixels(run: Run, photo: Path, tmp_path: Path, how: str) -> None:
    missing, pixels = hole(), np.asarray(Image.open(photo)).copy()
    options: list[str] = []
    image = tmp_path / "holed.png"
    Image.fromarray(pixels).save(image)
    if how == "transparent":
        Image.fromarray(np.dstack([pixels, np.where(missing, 0, 255).astype(np.uint8)])).save(image)
    elif how == "marker":
        pixels[missing] = (255, 0, 255)
        Image.fromarray(pixels).save(image)
        options = ["--missing-color", "#ff00ff"]
    else:
        bright = missing if how == "inverted mask" else ~missing
        Image.fromarray(bright).save(tmp_path / "mask.png")
        options = ["--mask", str(tmp_path / "mask.png")] + ["--mask-invert"] * (how == "inverted mask")
    got = run(image, "--operator", "inpainting", "--noise", "0", *options)
    share = missing.mean()
    assert f"{share:.1%} of the pixels missing" in got["err"]
    arrays = np.load(got["folder"] / "result.npz")
    assert np.array_equal(
        arrays["measurement"] == 0, np.broadcast_to(missing, (3, H, W)) | (arrays["measurement"] == 0)
    )
    # What was written is again a measurement, by its transparency.
    written = run(got["folder"] / "measurement.png", "--operator", "inpainting", "--noise", "0", out="again")
    assert np.array_equal(np.load(written["folder"] / "result.npz")["samples"], arrays["samples"])


def test_a_mask_corrupts_a_clean_image(run: Run, photo: Path, tmp_path: Path) -> None:
    Image.fromarray(~hole()).save(tmp_path / "mask.png")
    got = run(photo, "--operator", "inpainting", "--mask", str(tmp_path / "mask.png"), "--noise", "0.01", "--simulate")
    arrays = np.load(got["folder"] / "result.npz")
    assert (arrays["measurement"][:, hole()] == 0).all()
    assert np.abs(arrays["measurement"] - arrays["clean"])[:, ~hole()].std() < 0.02
    assert (arrays["clean"][:, hole()] > 0).any()


def test_transparency_is_reported_where_it_is_ignored(run: Run, photo: Path, tmp_path: Path) -> None:
    opaque = np.where(hole(), 0, 255).astype(np.uint8)
    Image.fromarray(np.dstack([np.asarray(Image.open(photo)), opaque])).save(tmp_path / "alpha.png")
    got = run(tmp_path / "alpha.png", "--operator", "blur:sigma=1", "--noise", "0.01")
    assert "the image's transparency is ignored" in got["err"]
    assert "note" not in run(photo, "--operator", "blur:sigma=1", "--noise", "0.01", out="opaque")["err"]


def test_sinograms(run: Run, photo: Path, tmp_path: Path) -> None:
    gray = tmp_path / "gray.png"
    Image.open(photo).convert("L").resize((W, W)).save(gray)
    made = run(gray, "--operator", "tomography", "--angles", "0:180:20", "--noise", "0.1", "--simulate", out="made")
    assert made["operator"]["out_shape"][:2] == [1, 9]
    sinogram = np.load(made["folder"] / "result.npz")["measurement"]
    np.save(tmp_path / "s.npy", sinogram[0])
    size = f"tomography:image_size={W}"
    array = run(tmp_path / "s.npy", "--operator", size, "--angles", "9", "--noise", "0.1", out="array")
    np.savetxt(tmp_path / "angles.txt", np.arange(9) * 20)
    white = made["white_level"]["measurement.png"]
    picture = run(
        made["folder"] / "measurement.png", "--operator", size, "--angles", str(tmp_path / "angles.txt"),
        "--noise", "0.1", "--measurement-scale", str(white), out="picture",
    )  # fmt: skip
    truth = np.load(made["folder"] / "result.npz")
    for got in (array, picture):
        assert got["operator"]["in_shape"] == [1, W, W]
        read = np.load(got["folder"] / "result.npz")["measurement"]
        assert np.abs(read - np.clip(truth["measurement"], 0 if got is picture else None, None)).max() <= white / 255
    assert np.allclose(np.load(array["folder"] / "result.npz")["samples"], truth["samples"], atol=1e-4)
    half = run(
        tmp_path / "s.npy", "--operator", size, "--angles", "9", "--pixel-size", "0.5", "--noise", "0.1", out="half"
    )
    assert half["operator"]["pixel_size"] == 0.5


def test_sinograms_of_skimage_and_in_radians_are_those_of_invdiff(run: Run, tmp_path: Path) -> None:
    size = 16
    rows, columns = np.mgrid[:size, :size]
    disc = np.hypot(rows - 6, columns - 10) < 3.5
    np.save(tmp_path / "theirs.npy", radon(disc.astype(float), np.arange(0, 180, 180 / size)))
    np.save(tmp_path / "radians.npy", np.pi * np.arange(size) / size)
    options = ["--noise", "0.1", "--solver", "pinv"]
    theirs = run(
        tmp_path / "theirs.npy", "--operator", "tomography", "--angles", str(size), "--convention", "skimage", *options
    )
    assert (theirs["operator"]["convention"], theirs["operator"]["transpose"]) == ("skimage", False)
    found = np.load(theirs["folder"] / "result.npz")
    assert np.unravel_index(found["mean"][0].argmax(), disc.shape) in {tuple(p) for p in np.argwhere(disc)}
    assert np.corrcoef(found["mean"].ravel(), disc.ravel())[0, 1] > 0.95
    np.save(tmp_path / "ours.npy", found["measurement"][0])
    for name, operator, extra in (
        ("rows", "tomography:angle_unit=radians,convention=skimage", ["--transpose"]),
        ("columns", "tomography:angle_unit=radians", ["--convention", "skimage"]),
    ):
        image = tmp_path / ("ours.npy" if name == "rows" else "theirs.npy")
        angles = ["--angles", str(tmp_path / "radians.npy")]
        got = run(image, "--operator", operator, *angles, *extra, *options, out=name)
        again = np.load(got["folder"] / "result.npz")
        np.testing.assert_array_equal(again["measurement"], found["measurement"])
        np.testing.assert_allclose(again["mean"], found["mean"], atol=1e-4)


def test_the_mask_of_measured_frequencies_is_that_of_the_file(run: Run, tmp_path: Path) -> None:
    k = np.random.default_rng(0).standard_normal((2, 16, 16)).astype(np.float32)
    k[:, :, ::3] = 0
    np.save(tmp_path / "k.npy", k)
    got = run(tmp_path / "k.npy", "--operator", "mri:acceleration=4", "--noise", "0.1", "--solver", "pinv")
    np.testing.assert_array_equal(np.load(got["folder"] / "result.npz")["measurement"], k)
    assert "37.5% of the pixels missing" in got["err"]


def test_fan_beam(run: Run, photo: Path, tmp_path: Path) -> None:
    made = run(photo, "--operator", "fan_beam", "--angles", "9", "--noise", "0.1", "--simulate", out="made")
    size = f"fan_beam:image_size=[{H},{W}]"
    back = run(made["folder"] / "result.npz", "--operator", size, "--angles", "0:360:40", "--noise", "0.1", out="back")
    assert back["operator"]["in_shape"] == [3, H, W]
    assert "measurement.png" in back["files"]


def test_photographic_operators_exist() -> None:
    photographic = {
        "identity", "inpainting", "blur", "downsample", "space_varying_blur", "nonlinear_blur", "grayscale",
        "demosaic", "high_dynamic_range", "gamma_curve", "jpeg",
    }  # fmt: skip
    facts = {name: operators.facts(name) for name in operators}
    assert {name for name in facts if facts[name].photographic} == photographic
    assert {name for name in facts if facts[name].sinogram} == {"tomography", "fan_beam"}


def test_an_operator_in_a_file(run: Run, photo: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "from invdiff.operators import LinearOperator\n"
        "class Dim(LinearOperator):\n"
        "    def __init__(self, in_shape, gain=1.0):\n"
        "        self.in_shape = self.out_shape = in_shape\n"
        "        self.gain = gain\n"
        "    def forward(self, x):\n"
        "        return self.gain * x\n"
    )
    got = run(photo, "--operator", f"{source}:Dim:gain=0.5", "--noise", "0.01", "--simulate")
    assert got["operator"]["options"] == {"gain": 0.5}
    arrays = np.load(got["folder"] / "result.npz")
    assert np.abs(arrays["measurement"] - arrays["clean"] / 2).std() < 0.02


@pytest.mark.parametrize(
    ("noise", "record"),
    [
        ("gaussian:std=0.1", {"name": "Gaussian", "std": 0.1}),
        ("gaussian:std=MAP", {"name": "GaussianMap"}),
        ("poisson:photons=50", {"name": "Poisson", "photons": 50}),
        ("poisson:photons=50,approximate=true", {"name": "Poisson", "photons": 50, "gaussian_approximation": True}),
        ("poisson_gaussian:photons=50,std=0.01", {"name": "PoissonGaussian", "photons": 50, "std": 0.01}),
        ("quantized:levels=16", {"name": "Quantized", "levels": 16, "std": 0}),
    ],
)
def test_noise_models(run: Run, photo: Path, tmp_path: Path, noise: str, record: dict[str, object]) -> None:
    if "MAP" in noise:
        np.save(tmp_path / "map.npy", np.linspace(0.01, 0.2, W, dtype=np.float32)[None, None])
        noise = noise.replace("MAP", str(tmp_path / "map.npy"))
        record = {**record, "std": str(tmp_path / "map.npy")}
    got = run(photo, "--operator", "identity", "--noise", noise, "--simulate")
    assert got["noise"] == {**record, "estimated": False}
    weighted = "DPS weights its squares by the Gaussian noise nearest to this one" in got["err"]
    assert weighted == (not {"approximate", "gaussian"} & set(re.split("[:,=]", noise)))
    assert ("approximate" in noise) == ("by the variance of what was measured" in got["err"])
    error = np.load(got["folder"] / "result.npz")
    spread = float((error["measurement"] - error["clean"]).std())
    assert 0.02 < spread < 0.2 or "quantized" in noise


def test_few_photons_behind_a_body(run: Run, tmp_path: Path) -> None:
    disc = np.hypot(*np.mgrid[-1:1:24j, -1:1:24j]) < 0.8
    Image.fromarray((disc * 200).astype(np.uint8)).save(tmp_path / "disc.png")
    options = ["--operator", "tomography:angles=30,pixel_size=0.2", "--simulate", "--solver", "diffpir:steps=5"]
    law = "transmission:photons=2000"
    got = run(tmp_path / "disc.png", *options, "--noise", f"{law},approximate=true", out="ct")
    assert got["noise"]["name"] == "TransmissionPoisson"
    assert got["metrics"]["mean"]["psnr"] > 18


def test_noise_is_estimated(run: Run, tmp_path: Path) -> None:
    smooth = np.linspace(0.2, 0.8, 120)[None, :, None] * np.linspace(0.5, 1, 90)[:, None, None]
    y = smooth + 0.03 * np.random.default_rng(0).standard_normal((90, 120, 3))
    known = torch.ones(90, 120, dtype=torch.bool)
    known[20:50, 30:60] = False
    x = torch.from_numpy(y).permute(2, 0, 1)[None]
    for pixels, mask in ((x, None), (x * known, known)):
        # The median of n dependent windows: about 0.03 / sqrt(n / 9).
        assert estimate_noise(pixels, mask) == pytest.approx(0.03, abs=0.002)
    np.save(tmp_path / "y.npy", y.astype(np.float32))
    got = run(tmp_path / "y.npy", "--operator", "identity", "--noise", "auto")
    assert got["noise"] == {"name": "Gaussian", "std": estimate_noise(x), "estimated": True}
    assert "estimated from the image" in got["err"]


def test_correlated_noise_is_named(run: Run, tmp_path: Path) -> None:
    """An enlarged picture: the record and a note have both levels, and the larger one is used."""
    small = torch.randn(1, 1, 80, 80, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = 0.5 + 0.05 * torch.nn.functional.interpolate(small, scale_factor=2, mode="bicubic")
    np.save(tmp_path / "y.npy", y[0].numpy())
    got = run(tmp_path / "y.npy", "--operator", "identity", "--noise", "auto")
    noise, std = got["noise"], float((y - 0.5).std())
    assert noise["correlated"] and noise["std_at_all_frequencies"] == pytest.approx(std, rel=0.15)
    assert noise["std"] > 1.2 * std
    said = " ".join(got["err"].split())
    assert "correlated, as after JPEG, demosaicing, enlarging" in said and f"white noise of {noise['std']:g}" in said


def test_photon_noise_is_found(run: Run, tmp_path: Path) -> None:
    law = PoissonGaussian(200, 0.02)
    y = law.sample(torch.linspace(0, 1, 96).expand(1, 1, 96, 96), torch.Generator().manual_seed(0))
    np.save(tmp_path / "y.npy", y[0].numpy())
    options = ["--operator", "identity", "--solver", "mgdm:steps=3", "--samples", "1"]
    got = run(tmp_path / "y.npy", *options, "--noise", "auto:poisson_gaussian")
    found = fit_photons(y)
    assert got["noise"] == {
        "name": "PoissonGaussian", "photons": found.photons, "std": found.std, "estimated": True
    }  # fmt: skip
    assert found.photons == pytest.approx(200, rel=0.3)
    assert "estimated from the image" in got["err"]


def test_hot_columns_are_found(run: Run, tmp_path: Path) -> None:
    std = torch.where(torch.arange(48) == 20, 0.3, 0.03)
    y = 0.5 + std * torch.randn(1, 60, 48, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "y.npy", y.numpy())
    got = run(tmp_path / "y.npy", "--operator", "identity", "--solver", "pnp", "--noise", "auto:columns")
    noise = got["noise"]
    assert noise["name"] == "GaussianMap" and noise["along"] == "columns" and noise["estimated"]
    assert len(noise["std"][0]) == 48 and max(noise["std"][0]) == noise["std"][0][20] == pytest.approx(0.3, rel=0.35)
    assert "1 of 48 have more than twice as much" in " ".join(got["err"].split())


def test_a_mosaic_is_taken_apart(run: Run, tmp_path: Path) -> None:
    """Colours of different brightness are not noise."""
    y = torch.tensor([[0.8, 0.4], [0.4, 0.1]]).repeat(40, 40)
    y = y + 0.02 * torch.randn(80, 80, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "y.npy", y[None].numpy())
    got = run(tmp_path / "y.npy", "--operator", "demosaic", "--noise", "auto", "--prior", "photo")
    assert got["noise"]["std"] == pytest.approx(0.02, rel=0.1)


def test_angles(tmp_path: Path) -> None:
    assert read_angles("4") == (0, 45, 90, 135)
    assert len(read_angles("0:180:0.1")) == 1800
    assert read_angles("90:0:-30") == (90, 60, 30)
    np.save(tmp_path / "a.npy", [1, 2.5])
    (tmp_path / "a.csv").write_text("1,2.5\n")
    assert read_angles(str(tmp_path / "a.npy")) == read_angles(str(tmp_path / "a.csv")) == (1, 2.5)


def test_a_single_sample_and_a_solver_without_samples(run: Run, photo: Path) -> None:
    one = run(photo, "--operator", "identity", "--noise", "0.1", "--samples", "1", "--simulate", out="one")
    assert "single sample has no spread" in one["out"]
    assert "coverage_90" not in one["metrics"]["mean"]
    floor = run(photo, "--operator", "identity", "--noise", "0.1", "--solver", "pinv", "--simulate", out="pinv")
    assert "All samples are equal" in floor["out"]
    assert floor["metrics"]["mean"]["psnr"] == pytest.approx(floor["metrics"]["measurement"]["psnr"])


def test_divergence_is_reported(run: Run, photo: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "import torch\n"
        "from invdiff.solvers import Solver\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Exploding(Solver):\n"
        "    gain: float = 1.0\n"
        "    lower: ClassVar[str] = 'gain'\n"
        "    def levels(self, problem, prior):\n"
        "        return torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)\n"
        "    def step(self, run, x, i):\n"
        "        return self.gain * x\n"
    )
    solver = ["--solver", f"{source}:Exploding:gain=1e9"]
    got = run(photo, "--operator", "blur:sigma=1", "--noise", "0.1", *solver, code=3)
    assert got["status"] == "diverged"
    assert "lower gain=1000000000.0" in got["message"]
    assert got["err"].splitlines()[-1] == f"invdiff: error: diverged: {got['message']}"
    assert got["solver"]["options"] == {"gain": 1e9}


def test_samples_that_do_not_explain_the_measurement_are_a_misfit(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--operator", "blur:sigma=1", "--noise", "1e-4", "--simulate", "--solver", "dps:steps=2"]
    got = run(photo, *options)  # exit code 0
    assert got["status"] == "misfit"
    assert got["message"].startswith("DPS: the residual of the samples is ")
    assert got["err"].splitlines()[-1] == f"invdiff: warning: misfit: {got['message']}"
    assert "take more steps, a lower last noise level or another solver" in got["err"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal.warning("far from the data")
    assert capsys.readouterr().err == "\x1b[33minvdiff: warning: far from the data\x1b[0m\n"
    close = run(photo, *options[:-1], "diffpir:steps=20", out="close")
    assert close["status"] == "ok" and "warning" not in close["err"]


def test_a_linear_solve_that_stopped_early_is_reported(run: Run, photo: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "import torch\n"
        "from invdiff.operators import LinearOperator\n"
        "class Fading(LinearOperator):\n"
        "    def __init__(self, in_shape):\n"
        "        self.in_shape = self.out_shape = in_shape\n"
        "        self.gain = torch.logspace(0, -4, in_shape[1] * in_shape[2]).reshape(in_shape[1:])\n"
        "    def forward(self, x):\n"
        "        return self.gain.to(x) * x\n"
    )
    got = run(photo, "--operator", f"{source}:Fading", "--noise", "0.01", "--simulate", "--solver", "mcg:steps=3")
    assert got["status"] == "ok"
    assert "stopped at its limit of 20 iterations with a relative residual of" in got["message"]
    assert f"Note: {got['message']}" in got["out"].splitlines()


def test_earlier_results(run: Run, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--operator", "identity", "--noise", "0.1"]
    folder = run(photo, *options, "--samples", "3")["folder"]
    before = (folder / "result.json").read_text()
    (folder / "notes.txt").write_text("mine")
    assert main(["reconstruct", str(photo), *FAST, *options, "--out", str(folder)]) == 2
    assert "holds an earlier result; add --overwrite" in capsys.readouterr().err
    assert (folder / "result.json").read_text() == before
    assert main(["reconstruct", str(photo), *FAST, *options, "--out", str(folder), "--overwrite"]) == 0
    names = {p.name for p in folder.iterdir()}
    assert "notes.txt" in names
    assert "sample_1.png" in names
    assert "sample_2.png" not in names, "a sample of the earlier result is left"


def test_results_are_whole_or_not_there(tmp_path: Path) -> None:
    def write(error: BaseException | None) -> None:
        with staged(tmp_path / "a" / "b") as folder:
            (folder / "mean.png").write_text(repr(error))
            if error is not None:
                raise error
            (folder / "result.json").write_text(json.dumps({"files": ["mean.png", "result.json"]}))

    with pytest.raises(KeyboardInterrupt):
        write(KeyboardInterrupt())
    assert not list(tmp_path.iterdir())
    write(None)
    with pytest.raises(OSError, match="full"):
        write(OSError("disk full"))
    assert {p.name for p in (tmp_path / "a" / "b").iterdir()} == {"mean.png", "result.json"}
    assert (tmp_path / "a" / "b" / "mean.png").read_text() == "None"


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from invdiff.commands import demo
    from invdiff.specs import Spec

    monkeypatch.chdir(tmp_path)
    whole = demo.photograph()
    assert whole.shape == (1, 3, 256, 256)
    monkeypatch.setattr(demo, "photograph", lambda: whole[:, :, 100:148, 100:148])
    monkeypatch.setattr(demo, "SOLVERS", dict.fromkeys(demo.TASKS, Spec("dps", {"steps": 10})))
    for _ in range(2):  # a second run replaces the first
        assert main(["demo", "--threads", "1", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "PSNR" in printed
    assert "inpainting" in printed
    assert "deblurring" in printed
    record = json.loads(Path("invdiff-demo/result.json").read_text())
    assert {p.name for p in Path("invdiff-demo").iterdir()} == set(record["files"])
    assert record["tasks"]["inpainting"]["metrics"]["mean"]["psnr"] > 15
    # The command that it ends with works.
    words = next(line for line in printed.splitlines() if line.startswith("  invdiff ")).split()[1:]
    assert main([*words, "--threads", "1", "--solver", "dps:steps=5"]) == 0
    assert Path("result/mean.png").exists()


def test_check_operator_and_train_are_wired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "operator", "blur:sigma=1", "--shape", "1", "6", "7"]) == 0
    assert "every check passed" in capsys.readouterr().out
    assert main(["check", "operatr", "blur"]) == 2
    assert "did you mean 'operator'" in capsys.readouterr().err
    assert main(["train", "--data", str(tmp_path / "nope"), "--out", str(tmp_path / "run")]) == 2
    assert "nope does not exist" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
