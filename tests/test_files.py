"""Files of other programs, written by the library that defines the format: read at full depth, and written back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from invdiff.cli import main
from invdiff.images import load_image, load_mask, open_image, save_image
from invdiff.images.png import read_png16, write_png16
from invdiff.images.profiles import described

H, W = 9, 12
RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (H, W, 3), dtype=np.uint16)


def levels(x: torch.Tensor, white: int = 65535) -> Any:
    """Return the integers of an image, `(H, W, C)`."""
    return (x[0].permute(1, 2, 0).double() * white).round().numpy()


def denoise(image: Path | str, out: Path, *more: str) -> int:
    # A direct solver: it fits any size and channels, and its answer is the measurement.
    fixed = ["--operator", "identity", "--noise", "0.001", "--prior", "gaussian", "--solver", "pinv", "--samples", "1"]
    return main(["reconstruct", str(image), *fixed, "--out", str(out), *more])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"planarconfig": "separate"}])
def test_tiff_of_16_bit_colour_keeps_every_level(tmp_path: Path, options: dict[str, Any]) -> None:
    array = DEEP.transpose(2, 0, 1) if "planarconfig" in options else DEEP
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", **options)
    assert np.array_equal(levels(load_image(tmp_path / "x.tif")), DEEP)


@pytest.mark.parametrize("strategy", range(6))
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_png_of_another_writer(tmp_path: Path, strategy: int, channels: int) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    ramp = np.cumsum(RNG.integers(0, 700, (H, W, channels)), axis=1).astype(np.uint16)
    filters = [None, *imagecodecs.PNG.FILTER][strategy]  # libpng, each way of prediction
    data = imagecodecs.png_encode(ramp, **({} if filters is None else {"filter": filters}))
    (tmp_path / "x.png").write_bytes(data)
    assert np.array_equal(read_png16(tmp_path / "x.png"), ramp)


def test_png_of_16_bit_colour_keeps_every_level(tmp_path: Path) -> None:
    write_png16(DEEP, tmp_path / "x.png", {})
    # Another decoder reads the same: Pillow, with the upper 8 bits.
    assert np.abs(np.asarray(Image.open(tmp_path / "x.png")).astype(int) - (DEEP >> 8)).max() <= 1
    assert np.array_equal(read_png16(tmp_path / "x.png"), DEEP)
    assert np.array_equal(levels(load_image(tmp_path / "x.png")), DEEP)


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_16_bit_colour_is_written_and_read_to_the_last_bit(tmp_path: Path, name: str) -> None:
    x = torch.from_numpy(DEEP.astype(np.float32) / 65535).permute(2, 0, 1)[None]
    save_image(x, tmp_path / name, bits=16)
    assert torch.equal(load_image(tmp_path / name), x)


@pytest.mark.parametrize("channels", [1, 3])
def test_results_have_the_depth_of_the_file(tmp_path: Path, channels: int) -> None:
    tifffile.imwrite(tmp_path / "x.tif", DEEP[..., 0] if channels == 1 else DEEP)
    assert denoise(tmp_path / "x.tif", tmp_path / "o") == 0
    assert np.array_equal(levels(load_image(tmp_path / "o" / "mean.png")), DEEP[..., :channels])
    Image.fromarray((DEEP >> 8).astype(np.uint8)).save(tmp_path / "y.png")
    assert denoise(tmp_path / "y.png", tmp_path / "p") == 0
    assert open_image(tmp_path / "p" / "mean.png").kept.bits == 8


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), "photo"])
def test_a_mask_may_be_in_the_alpha_channel(tmp_path: Path, color: Any) -> None:
    known = RNG.random((H, W)) > 0.4
    rgb = (DEEP >> 8).astype(np.uint8) if color == "photo" else np.full((H, W, 3), color, np.uint8)
    Image.fromarray(np.dstack([rgb, 255 * known.astype(np.uint8)])).save(tmp_path / "m.png")
    assert np.array_equal(load_mask(tmp_path / "m.png").numpy(), known)
    assert np.array_equal(load_mask(tmp_path / "m.png", invert=True).numpy(), ~known)


def test_a_mask_of_black_and_white_with_transparent_parts_uses_both(tmp_path: Path) -> None:
    white, opaque = np.zeros((H, W), bool), np.ones((H, W), bool)
    white[:, :6], opaque[:4] = True, False
    Image.fromarray(np.dstack([255 * white, 255 * opaque]).astype(np.uint8), "LA").save(tmp_path / "m.png")
    assert np.array_equal(load_mask(tmp_path / "m.png").numpy(), white & opaque)


@pytest.mark.parametrize("kind", ["int16", "int32", "uint32", "int64", "uint64"])
def test_integers_of_any_width_need_a_white_level(tmp_path: Path, kind: str) -> None:
    array = RNG.integers(0, 1000, (H, W)).astype(kind)
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=rf"got {kind} in \[.*state the value of white with --white-level"):
        load_image(tmp_path / "x.npy")
    x = load_image(tmp_path / "x.npy", white=1000, black=100)
    assert np.allclose(x[0, 0].numpy(), (array.astype(float) - 100) / 900, atol=1e-7)
    # The brightness does not depend on the brightest pixel.
    array[0, 0] = 256
    np.save(tmp_path / "y.npy", array)
    assert torch.equal(load_image(tmp_path / "y.npy", white=1000, black=100)[0, 0, 1:], x[0, 0, 1:])


def test_black_and_white_level_on_the_command_line(tmp_path: Path) -> None:
    raw = RNG.integers(512, 4095, (H, W)).astype(np.uint16)  # a Bayer mosaic of 12 bits
    tifffile.imwrite(tmp_path / "x.tif", raw)
    assert denoise(tmp_path / "x.tif", tmp_path / "o", "--black-level", "512", "--white-level", "4095") == 0
    mean = np.load(tmp_path / "o" / "result.npz")["mean"][0]
    assert np.allclose(mean, (raw.astype(float) - 512) / (4095 - 512), atol=1e-6)
    record = json.loads((tmp_path / "o" / "result.json").read_text())["image"]
    assert (record["white_level"], record["black_level"]) == (4095, 512)


def test_a_white_level_below_black_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros((H, W)))
    assert denoise(tmp_path / "x.npy", tmp_path / "o", "--black-level", "5", "--white-level", "5") == 2
    assert "--white-level: expected more than the black level, 5" in capsys.readouterr().err


def test_floats_above_two_are_scaled_before_they_are_checked(tmp_path: Path) -> None:
    array = (RNG.random((H, W)) * 900).astype(np.float32)
    np.save(tmp_path / "x.npy", array)
    tifffile.imwrite(tmp_path / "x.tif", array)
    for name in ("x.npy", "x.tif"):
        with pytest.raises(ValueError, match=r"got values up to .*--white-level"):
            load_image(tmp_path / name)
        assert denoise(tmp_path / name, tmp_path / f"o{name}", "--measurement-scale", "0.001") == 0
        assert np.allclose(np.load(tmp_path / f"o{name}" / "result.npz")["mean"][0], array * 0.001, atol=1e-6)


def test_stacks_are_refused_or_chosen_from(tmp_path: Path) -> None:
    stack = RNG.integers(0, 65536, (3, H, W), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "z.tif", stack, photometric="minisblack")  # not a colour image
    tifffile.imwrite(tmp_path / "o.ome.tif", stack.reshape(1, 3, 1, H, W), metadata={"axes": "TZCYX"})
    tifffile.imwrite(tmp_path / "i.tif", stack, imagej=True)
    pages = [Image.fromarray((page >> 8).astype(np.uint8)) for page in stack]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:])
    for name, white in (("z.tif", 65535), ("o.ome.tif", 65535), ("i.tif", 65535), ("p.tif", 255), ("a.gif", 255)):
        with pytest.raises(ValueError, match=r"expected one picture, got 3 .*choose one, from .*#0 to .*#2"):
            load_image(tmp_path / name)
        x = load_image(f"{tmp_path / name}#1", mode="gray")
        got, want = levels(x, white)[..., 0], stack[1] if white == 65535 else stack[1] >> 8
        assert np.abs(got - want).max() <= (1 if name == "a.gif" else 0), name
        with pytest.raises(ValueError, match=r"expected a number of 3 .*got #3"):
            load_image(f"{tmp_path / name}#3")
    np.save(tmp_path / "s.npy", stack[:, None].repeat(2, 1).reshape(6, H, W))
    with pytest.raises(ValueError, match=r"got \(6, 9, 12\); choose one of 6 with"):
        load_image(tmp_path / "s.npy")
    assert np.array_equal(levels(load_image(f"{tmp_path / 's.npy'}#4"))[..., 0], stack[2])


def test_a_name_with_a_hash_is_still_a_name(tmp_path: Path) -> None:
    Image.fromarray((DEEP >> 8).astype(np.uint8)).save(tmp_path / "a#1.png")
    assert load_image(tmp_path / "a#1.png").shape == (1, 3, H, W)


def test_a_stack_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = RNG.integers(0, 65536, (4, H, W), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "z.tif", stack, photometric="minisblack")
    assert denoise(tmp_path / "z.tif", tmp_path / "o") == 2
    assert "got 4 slices; choose one" in capsys.readouterr().err
    assert denoise(f"{tmp_path / 'z.tif'}#2", tmp_path / "o") == 0
    assert np.array_equal(levels(load_image(tmp_path / "o" / "mean.png"))[..., 0], stack[2])


def adobe_rgb() -> bytes:
    """Return a profile with the primaries and the exponent of Adobe RGB (1998), of the smallest form."""
    xyz = {"r": (0.60974, 0.31111, 0.01947), "g": (0.20528, 0.62567, 0.06087), "b": (0.14919, 0.06322, 0.74457)}
    tags = {b"desc": b"desc" + bytes(4) + (10).to_bytes(4, "big") + b"Adobe RGB\0" + bytes(78)}
    for name, values in xyz.items():
        fixed = b"".join(round(v * 65536).to_bytes(4, "big", signed=True) for v in values)
        tags[f"{name}XYZ".encode()] = b"XYZ " + bytes(4) + fixed
        tags[f"{name}TRC".encode()] = b"curv" + bytes(4) + (1).to_bytes(4, "big") + (563).to_bytes(2, "big") + bytes(2)
    tags[b"wtpt"] = b"XYZ " + bytes(4) + b"".join(round(v * 65536).to_bytes(4, "big") for v in (0.9642, 1, 0.8249))
    tags[b"cprt"] = b"text" + bytes(4) + b"none\0\0\0\0"
    table, body, start = len(tags).to_bytes(4, "big"), b"", 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        table += key + (start + len(body)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    head = size.to_bytes(4, "big") + b"lcms" + b"\x02\x10\0\0" + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    white = b"".join(round(v * 65536).to_bytes(4, "big") for v in (0.9642, 1, 0.8249))
    return head + white + bytes(128 - len(head) - len(white)) + table + body


def test_a_profile_is_converted_as_littlecms_does_and_written_back(tmp_path: Path) -> None:
    icc = adobe_rgb()
    colors = RNG.integers(60, 200, (H, W, 3), dtype=np.uint8)
    colors[..., 0] = colors[..., 1] // 2 + colors[..., 0] // 2  # inside of sRGB
    colors[..., 2] = colors[..., 1] // 2 + colors[..., 2] // 2
    picture = Image.fromarray(colors)
    picture.save(tmp_path / "x.png", icc_profile=icc, dpi=(300, 300))
    want = ImageCms.profileToProfile(
        picture,
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    got = levels(load_image(tmp_path / "x.png"), 255)
    assert np.abs(got - colors).max() > 5  # ignoring the profile would show
    assert np.abs(got - np.asarray(want, dtype=float)).max() <= 1
    assert denoise(tmp_path / "x.png", tmp_path / "o") == 0
    with Image.open(tmp_path / "o" / "mean.png") as mean:
        assert mean.info["icc_profile"] == icc
        assert np.allclose(mean.info["dpi"], 300, atol=0.1)
        assert np.array_equal(np.asarray(mean), colors)


def test_a_profile_of_srgb_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert described(srgb, 3)[0] is None
    assert described(b"no profile", 3)[0] is None


def test_16_bit_colour_with_a_profile_comes_back(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", DEEP, photometric="rgb", iccprofile=adobe_rgb(), resolution=(300, 300))
    assert denoise(tmp_path / "x.tif", tmp_path / "o") == 0
    with Image.open(tmp_path / "o" / "mean.png") as mean:
        assert mean.info["icc_profile"] == adobe_rgb()
    off = np.abs(read_png16(tmp_path / "o" / "mean.png").astype(int) - DEEP)
    # Working values are float32: beside a bright channel a nearly black one keeps 13 bits.
    assert off[DEEP > 4096].max() <= 1 and off.max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.png", "d.png", "x.jpg", "x.tif", "d.tif"])
def test_orientation_is_applied_once(tmp_path: Path, orientation: int, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    deep = np.zeros((H, W, 3), np.uint16)
    deep[:3, :4], deep[:3, 8:], deep[6:, :4] = 65535, 40000, 20000
    if name == "d.png":
        write_png16(deep, tmp_path / name, {"exif": exif.tobytes()})
    elif name == "d.tif":
        tifffile.imwrite(tmp_path / name, deep, extratags=[(274, "H", 1, orientation, True)])
    else:
        Image.fromarray((deep >> 8).astype(np.uint8)).save(tmp_path / name, exif=exif)
    plain = Image.fromarray((deep >> 8).astype(np.uint8))
    plain.getexif()[0x0112] = orientation
    from PIL import ImageOps

    want = np.asarray(ImageOps.exif_transpose(plain), dtype=float)
    got = levels(load_image(tmp_path / name), 255)
    assert got.shape == want.shape
    assert np.abs(got - want).max() < (60 if name == "x.jpg" else 1)
    if orientation == 6 and name in ("x.png", "x.jpg", "d.png"):
        assert denoise(tmp_path / name, tmp_path / "o") == 0
        with Image.open(tmp_path / "o" / "mean.png") as mean:
            assert mean.size == (H, W)
            assert mean.getexif().get(0x0112, 1) == 1
            assert mean.getexif()[0x010F] == "Maker"


def test_nan_pixels_that_a_mask_covers(tmp_path: Path) -> None:
    array = RNG.random((H, W)).astype(np.float32)
    known = RNG.random((H, W)) > 0.3
    array[~known] = np.nan
    np.save(tmp_path / "x.npy", array)
    Image.fromarray(255 * known.astype(np.uint8)).save(tmp_path / "m.png")
    command = ["reconstruct", str(tmp_path / "x.npy"), "--operator", "inpainting", "--mask", str(tmp_path / "m.png")]
    command += ["--noise", "0.01", "--prior", "gaussian", "--samples", "1", "--solver", "pinv"]
    assert main([*command, "--out", str(tmp_path / "o")]) == 0
    mean = np.load(tmp_path / "o" / "result.npz")["mean"][0]
    assert np.isfinite(mean).all()
    assert np.allclose(mean[known], array[known], atol=1e-6)
    array[known.nonzero()[0][0], known.nonzero()[1][0]] = np.nan  # one that the mask calls known
    np.save(tmp_path / "x.npy", array)
    assert main([*command, "--out", str(tmp_path / "p")]) == 2


def test_a_square_sinogram_is_shown_up_to_its_largest_value(tmp_path: Path) -> None:
    sinogram = (RNG.random((12, 12)) * 50).astype(np.float32)
    for name in ("s.npy", "s.tif"):
        if name == "s.npy":
            np.save(tmp_path / name, sinogram)
        else:
            tifffile.imwrite(tmp_path / name, sinogram)
        out = tmp_path / f"o{name}"
        command = ["reconstruct", str(tmp_path / name), "--operator", "tomography", "--angles", "12", "--noise", "0.5"]
        command += ["--prior", "gaussian", "--solver", "pinv", "--samples", "1", "--out", str(out)]
        assert main(command) == 0
        shown = imageio.imread(out / "measurement.png")
        assert np.abs(shown - sinogram / sinogram.max() * 255).max() <= 1


@pytest.mark.parametrize("shape", [(12, 12), (1, 12, 12)])
def test_complex_k_space(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = RNG.random((12, 12))
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho")).reshape(shape)
    np.save(tmp_path / "k.npy", k.astype(np.complex64))
    np.save(tmp_path / "m.npy", np.ones((12, 12)))
    command = ["reconstruct", str(tmp_path / "k.npy"), "--operator", f"mri:mask={tmp_path / 'm.npy'}", "--noise"]
    command += ["0.01", "--prior", "gaussian", "--solver", "pinv", "--samples", "1"]
    assert main([*command, "--out", str(tmp_path / "o")]) == 0
    assert np.allclose(np.load(tmp_path / "o" / "result.npz")["mean"][0], image, atol=1e-5)


def test_gray_and_colour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgb = (DEEP >> 8).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "c.png")
    Image.fromarray(rgb[..., :1].repeat(3, 2)).save(tmp_path / "r.png")
    Image.fromarray(rgb[..., 0]).save(tmp_path / "g.png")

    def run(name: str, *more: str) -> int:
        fixed = ["--operator", "identity", "--noise", "0.01", "--solver", "pinv", "--samples", "1", "--overwrite"]
        return main(["reconstruct", str(tmp_path / name), *fixed, "--out", str(tmp_path / "o"), *more])

    def found() -> Any:
        return json.loads((tmp_path / "o" / "result.json").read_text())

    # A gray file with a colour prior: the prior is made one of gray images.
    assert run("g.png", "--prior", "photo") == 0
    assert found()["prior"] == "photo-gray"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o" / "mean.png")), rgb[..., 0])
    # A gray photograph in RGB with a gray prior: one channel.
    capsys.readouterr()
    assert run("r.png", "--prior", "ct") == 0
    assert "three equal channels, taken as one" in " ".join("".join(capsys.readouterr()).split())
    assert found()["image"]["shape"] == [1, H, W]
    # A colour file with a gray prior: the error names both ways out, and --gray is one.
    assert run("c.png", "--prior", "ct") == 2
    assert "take a colour prior such as photo, or add --gray" in " ".join(capsys.readouterr().err.split())
    assert run("c.png", "--prior", "ct", "--gray") == 0
    assert found()["image"]["shape"] == [1, H, W]


def test_pages_of_palettes_and_colours_of_print(tmp_path: Path) -> None:
    rgb = (DEEP >> 8).astype(np.uint8)
    pages = [Image.fromarray(np.roll(rgb, k, 0)).quantize(16) for k in range(2)]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    want = np.asarray(pages[1].convert("RGB"))
    assert np.array_equal(levels(load_image(f"{tmp_path / 'p.tif'}#1"), 255), want)
    tifffile.imwrite(tmp_path / "k.tif", np.dstack([DEEP, DEEP[..., :1]]), photometric="separated")
    with pytest.raises(ValueError, match="got SEPARATED; convert it to RGB"):
        load_image(tmp_path / "k.tif")


def test_what_is_done_with_a_profile_is_said(tmp_path: Path) -> None:
    rgb = Image.fromarray((DEEP >> 8).astype(np.uint8))
    rgb.save(tmp_path / "a.png", icc_profile=adobe_rgb())
    assert open_image(tmp_path / "a.png").notes == ("colours are converted from Adobe RGB to sRGB, and results back",)
    tables = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    rgb.save(tmp_path / "t.png", icc_profile=tables)
    assert "values are taken as they are" in open_image(tmp_path / "t.png").notes[0]
    rgb.save(tmp_path / "s.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert open_image(tmp_path / "s.png").notes == ()


def test_a_profile_of_colour_is_not_written_to_a_gray_result(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray((DEEP >> 8).astype(np.uint8)).save(tmp_path / "c.png", icc_profile=srgb)
    assert denoise(tmp_path / "c.png", tmp_path / "o") == 0
    assert open_image(tmp_path / "o" / "mean.png").kept.info["icc_profile"] == srgb
    assert denoise(tmp_path / "c.png", tmp_path / "p", "--gray") == 0
    assert "icc_profile" not in open_image(tmp_path / "p" / "mean.png").kept.info
