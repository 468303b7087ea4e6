"""Pictures from JPEG as linear problems, and files that are restored with their own compression."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from skimage import data
from skimage.transform import resize

from invdiff import Problem, load_image, load_prior, reconstruct
from invdiff.cli import main
from invdiff.decompression import in_coefficients
from invdiff.metrics import psnr
from invdiff.noise import Gaussian, GaussianMap, Poisson, Quantized
from invdiff.operators import JPEG, Identity
from invdiff.operators.jpeg_coefficients import JPEGCoefficients
from invdiff.solvers import Auto
from invdiff.specs import parse_operator

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")


def small(name: str, side: int = 128) -> Image.Image:
    """Return the middle of a photograph of scikit-image, reduced."""
    image = getattr(data, name)()
    s = min(image.shape[:2])
    top, left = (image.shape[0] - s) // 2, (image.shape[1] - s) // 2
    reduced = resize(image[top : top + s, left : left + s], (side, side), anti_aliasing=True)
    return Image.fromarray((reduced * 255).round().astype(np.uint8))


def tensor(image: Image.Image) -> torch.Tensor:
    array = np.asarray(image) / 255
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)[None].float()


def compressed(image: Image.Image, quality: int, subsampling: str) -> torch.Tensor:
    file = io.BytesIO()
    image.save(file, "jpeg", quality=quality, subsampling=subsampling)
    with Image.open(file) as opened:
        return tensor(opened)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [10, 30])
def test_the_stored_coefficients_are_found_in_the_picture(subsampling: str, quality: int) -> None:
    image = small("chelsea")
    y = compressed(image, quality, subsampling)
    jpeg = JPEG((3, 128, 128), quality=quality, subsampling=subsampling)
    a = JPEGCoefficients(jpeg)
    middle = a(torch.full_like(y, 128 / 255))  # libjpeg takes 128 from the luma
    k, c = a.measured(y) - middle, a(tensor(image)) - middle
    assert float((k.round() == c.round()).double().mean()) > 0.998
    assert float((k - k.round()).square().mean().sqrt()) < 0.03
    near = (c - c.round()).abs() < 0.4
    assert float((k - c).abs()[near].quantile(0.999)) < 0.5


def test_noise_of_the_picture_is_that_of_the_coefficients() -> None:
    for shape, subsampling in (((3, 64, 48), "4:2:0"), ((3, 64, 48), "4:4:4"), ((1, 64, 48), "4:4:4")):
        a = JPEGCoefficients(JPEG(shape, quality=75, subsampling=subsampling))
        noise = 0.1 * torch.randn(60, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        seen, said = a(noise).square().mean(0).sqrt(), a.spread(0.1)
        ratio = (seen / said).reshape(-1, 64).mean(1)
        assert ratio.shape == (sum(a.blocks),)
        assert float((ratio - 1).abs().max()) < 0.1


def test_sides_that_are_no_whole_blocks_and_turned_files() -> None:
    image = small("coffee").crop((0, 0, 93, 75))
    y, x = compressed(image, 20, "4:2:0"), tensor(image)
    a = JPEGCoefficients(JPEG((3, 75, 93), quality=20, subsampling="4:2:0"))
    error = a.measured(y) - a(x)
    assert float(error.square().mean().sqrt()) < 0.2
    turned = JPEGCoefficients(JPEG((3, 93, 75), quality=20, subsampling="4:2:0", orientation=6))
    torch.testing.assert_close(turned(x.mT.flip(-1)), a(x))
    torch.testing.assert_close(turned.measured(y.mT.flip(-1)), a.measured(y))


def test_noise_of_any_model_and_other_operators() -> None:
    y = compressed(small("rocket"), 30, "4:2:0")
    jpeg = JPEG((3, 128, 128), quality=30, subsampling="4:2:0")
    assert in_coefficients(Problem(jpeg, Gaussian(0.001), y)).noise == Gaussian(0.15)
    assert in_coefficients(Problem(jpeg, Quantized(256), y)).noise == Gaussian(0.15)
    for law in (Gaussian(0.1), Poisson(100.0)):
        found = in_coefficients(Problem(jpeg, law, y)).noise
        assert isinstance(found, GaussianMap)
        assert 0.15 < float(found.std.min()) < float(found.std.max()) < 10
    other = Problem(Identity((3, 128, 128)), Gaussian(0.1), y)
    assert in_coefficients(other) is other


def test_auto_solves_for_the_coefficients_wherever_it_is_called() -> None:
    problem = Problem(
        JPEG((3, 24, 24), quality=20, subsampling="4:2:0"),
        Gaussian(0.001),
        compressed(small("coffee", 24), 20, "4:2:0"),
    )
    auto, prior = Auto(effort="fast", goal="estimate"), load_prior("photo")
    solved = in_coefficients(problem)
    assert auto.choose(problem, prior) == auto.choose(solved, prior)
    assert auto.declared_evaluations(problem, prior, 1) == auto.declared_evaluations(solved, prior, 1)
    torch.testing.assert_close(auto(problem, prior).mean, auto(solved, prior).mean, rtol=0, atol=0)


def test_repair_of_quality_10_gains_a_decibel() -> None:
    gains = []
    for name in PHOTOGRAPHS:
        image = small(name)
        x, y = tensor(image), compressed(image, 10, "4:2:0")
        problem = Problem(JPEG((3, 128, 128), quality=10, subsampling="4:2:0"), Gaussian(0.00113), y)
        result = reconstruct(problem, goal="estimate")
        assert result.status == "ok"
        gains.append(float(psnr(result.mean.clamp(0, 1), x) - psnr(y, x)))
    assert min(gains) > 0.6  # 0.8 of the fur of chelsea
    assert sum(gains) / len(gains) > 1.2  # 1.4; with the operator itself instead of its coefficients 0.1


def test_the_command_reads_the_compression_of_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image, path, out = small("coffee", 48), tmp_path / "a.jpg", tmp_path / "out"
    image.save(path, quality=10)
    command = ["reconstruct", str(path), "--operator", "jpeg:auto", "--goal", "estimate", "--out", str(out)]
    assert main([*command, "--samples", "1"]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "quality 10, libjpeg's tables, steps of 50 to 255 levels" in said
    assert "subsampling 4:2:0" in said
    record = json.loads((out / "result.json").read_text())
    assert record["operator"]["options"]["subsampling"] == "4:2:0"
    assert len(record["operator"]["options"]["tables"]) == 3
    assert record["noise"]["std"] == 0.00113
    assert record["status"] == "ok"
    x = tensor(image)
    assert float(psnr(load_image(out / "mean.png"), x) - psnr(load_image(path), x)) > 0.5


def test_the_values_of_the_file_are_not_converted_by_its_profile(tmp_path: Path) -> None:
    from invdiff.images import open_image

    path, image = tmp_path / "a.jpg", small("coffee", 48)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    changed = profile.replace(b"\x00\x00\x6f\xa2\x00\x00\x38\xf5", b"\x00\x00\x4f\xa2\x00\x00\x38\xf5")  # another red
    image.save(path, quality=10, icc_profile=changed)
    with Image.open(path) as opened:
        want = tensor(opened)
    got = open_image(path, stored=True)
    assert torch.equal(got.image, want)
    assert got.kept.profile is None
    assert got.kept.info["icc_profile"] == changed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["jpeg:auto", "--simulate", "--noise", "0.01"], "reads the compression of a measured JPEG file"),
        (["jpeg:auto,quality=10"], "leave auto out"),
        (["jpeg:auto=true,subsampling=4:1:1"], "subsampling"),
        (["jpeg"], "--noise"),
        (["jpeg", "--noise", "0.01"], "one of quality and tables"),
    ],
)
def test_unfit_requests(options: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small("coffee", 32).save(tmp_path / "a.jpg")
    assert main(["reconstruct", str(tmp_path / "a.jpg"), "--out", str(tmp_path / "o"), "--operator", *options]) == 2
    assert said in " ".join(capfd.readouterr().err.split())


def test_a_png_has_no_compression_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small("coffee", 32).save(tmp_path / "a.png")
    assert main(["reconstruct", str(tmp_path / "a.png"), "--out", str(tmp_path / "o"), "--operator", "jpeg:auto"]) == 2
    assert "got PNG; state the compression" in " ".join(capfd.readouterr().err.split())


def test_the_notation_of_auto() -> None:
    assert parse_operator("jpeg:auto").options == {"auto": True}
    assert str(parse_operator("jpeg:auto")) == "jpeg:auto"
    assert parse_operator("jpeg:auto,orientation=3").options == {"auto": True, "orientation": 3}
    with pytest.raises(ValueError, match="expected a value"):
        parse_operator("jpeg:automatic")
