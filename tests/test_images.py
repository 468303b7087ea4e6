from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from invdiff.atomic import atomic_path
from invdiff.images import load_array, load_image, load_image_and_mask, load_mask, save_image

H, W = 7, 5
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (H, W, 3), dtype=np.uint8)
GRAY = RGB[..., 0].copy()


def test_color_and_gray(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "c.png")
    Image.fromarray(GRAY).save(tmp_path / "g.png")
    color, gray = load_image(tmp_path / "c.png"), load_image(tmp_path / "g.png")
    assert color.shape == (1, 3, H, W)
    assert color.dtype == torch.float32
    assert np.array_equal((color[0].permute(1, 2, 0) * 255).round().numpy(), RGB)
    assert gray.shape == (1, 1, H, W)
    assert load_image(tmp_path / "g.png", mode="rgb").shape == (1, 3, H, W)
    as_gray = load_image(tmp_path / "c.png", mode="gray")[0, 0].numpy() * 255
    assert np.abs(as_gray - np.asarray(Image.fromarray(RGB).convert("L"), dtype=float)).max() < 1
    with pytest.raises(ValueError, match="mode: expected 'gray', 'rgb' or None"):
        load_image(tmp_path / "c.png", mode="L")  # type: ignore[arg-type]


def test_sixteen_bits_keep_all_levels(tmp_path: Path) -> None:
    levels = RNG.integers(0, 65536, (H, W), dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(levels).save(tmp_path / name)
        x = load_image(tmp_path / name)
        assert np.array_equal((x[0, 0].double() * 65535).round().numpy(), levels)
        save_image(x, tmp_path / f"b{name}", bits=16)
        assert torch.equal(load_image(tmp_path / f"b{name}"), x)


def test_tiff_that_pillow_does_not_know(tmp_path: Path) -> None:
    pixels = RNG.random((H, W, 3)).astype(np.float32)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb")
    x = load_image(tmp_path / "x.tif")
    assert np.array_equal(x[0].permute(1, 2, 0).numpy(), pixels)
    (tmp_path / "y.tif").write_text("no image")
    with pytest.raises(ValueError, match="not a TIFF that can be read"):
        load_image(tmp_path / "y.tif")


def test_eight_bits_survive_a_round_trip(tmp_path: Path) -> None:
    x = (torch.arange(256, dtype=torch.float32) / 255).reshape(1, 1, 16, 16)
    save_image(x, tmp_path / "x.png")
    assert torch.equal(load_image(tmp_path / "x.png"), x)


def test_values_are_clipped_and_rounded_to_the_nearest_level(tmp_path: Path) -> None:
    save_image(torch.tensor([[-0.3, 0.0, 1.4, 10.4 / 255, 10.6 / 255]]), tmp_path / "x.png")
    assert np.asarray(Image.open(tmp_path / "x.png")).tolist() == [[0, 0, 255, 10, 11]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F"])
def test_every_mode_of_pillow(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.tif"
    if mode in ("I", "I;16", "F"):
        array = {"I": GRAY.astype(np.int32) * 257, "I;16": GRAY.astype(np.uint16) * 257, "F": GRAY / np.float32(255)}
        Image.fromarray(np.asarray(array[mode])).save(path)
    else:
        picture = Image.fromarray(RGB)
        via = {"LA": "L", "PA": "P"}.get(mode)
        picture = (picture.convert(via) if via else picture).convert(mode)
        path = tmp_path / ("x.jpg" if mode in ("CMYK", "YCbCr") else "x.tif" if mode != "P" else "x.png")
        picture.save(path)
    x = load_image(path)
    assert x.shape[1] == (1 if mode in ("1", "L", "LA", "I", "I;16", "F") else 3)
    assert x.shape[-2:] == (H, W)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    assert float(x.max()) > 0.5


def test_a_palette_of_grays_is_gray(tmp_path: Path) -> None:
    Image.fromarray(GRAY).convert("P").save(tmp_path / "p.png")
    assert load_image(tmp_path / "p.png").shape == (1, 1, H, W)


def test_orientation_of_cameras(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=exif)
    x = load_image(tmp_path / "x.png")
    assert x.shape == (1, 3, W, H)
    turned = np.rot90(RGB, k=-1)
    assert np.array_equal((x[0].permute(1, 2, 0) * 255).round().numpy(), turned)


def test_transparency_is_a_mask(tmp_path: Path) -> None:
    alpha = np.full((H, W), 255, np.uint8)
    alpha[2, 3], alpha[0, 0], alpha[1, 1] = 0, 127, 128
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / "a.png")
    image, known = load_image_and_mask(tmp_path / "a.png")
    assert known is not None
    assert (~known).nonzero().tolist() == [[0, 0], [2, 3]]
    assert image.shape == (1, 3, H, W)
    Image.fromarray(RGB).save(tmp_path / "b.png")
    assert load_image_and_mask(tmp_path / "b.png")[1] is None
    Image.fromarray(np.dstack([RGB, 0 * alpha])).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match="expected some known pixels, got none"):
        load_image_and_mask(tmp_path / "c.png")


def test_the_transparent_entry_of_a_palette_is_a_mask(tmp_path: Path) -> None:
    picture = Image.fromarray(RGB).quantize(8)
    index = np.asarray(picture)
    picture.info["transparency"] = int(index[0, 0])
    picture.save(tmp_path / "p.png", transparency=int(index[0, 0]))
    known = load_image_and_mask(tmp_path / "p.png")[1]
    assert known is not None
    assert np.array_equal(~known.numpy(), index == index[0, 0])


def test_a_marker_colour_is_a_mask(tmp_path: Path) -> None:
    marked = RGB // 2
    marked[1:3, 2] = (255, 0, 255)
    marked[4, 4] = (253, 2, 255)
    Image.fromarray(marked).save(tmp_path / "m.png")
    for color, tolerance, count in (("#ff00ff", 0, 2), ("magenta", 0, 2), ("rgb(255,0,255)", 2, 3)):
        known = load_image_and_mask(tmp_path / "m.png", missing_color=color, tolerance=tolerance)[1]
        assert known is not None
        assert int((~known).sum()) == count
    with pytest.raises(ValueError, match=r"no pixel has the colour 'lime'; the nearest is #.* levels off"):
        load_image_and_mask(tmp_path / "m.png", missing_color="lime")
    with pytest.raises(ValueError, match="expected a colour such as '#ff00ff'"):
        load_image_and_mask(tmp_path / "m.png", missing_color="pinkish")


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (6, 250)])
def test_masks_mean_what_they_look_like(tmp_path: Path, values: tuple[int, int]) -> None:
    want = GRAY > 100
    Image.fromarray(np.where(want, values[1], values[0]).astype(np.uint8)).save(tmp_path / "m.png")
    assert np.array_equal(load_mask(tmp_path / "m.png").numpy(), want)
    assert np.array_equal(load_mask(tmp_path / "m.png", invert=True).numpy(), ~want)
    np.save(tmp_path / "m.npy", want)
    assert np.array_equal(load_mask(tmp_path / "m.npy").numpy(), want)


def test_a_mask_without_known_pixels_is_an_error(tmp_path: Path) -> None:
    Image.fromarray(0 * GRAY).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match="expected some known pixels, got none; paint known pixels white"):
        load_mask(tmp_path / "m.png")
    assert load_mask(tmp_path / "m.png", invert=True).all()


def test_arrays(tmp_path: Path) -> None:
    x = RNG.random((3, H, W)).astype(np.float32)
    for array in (x, x[None], x.transpose(1, 2, 0), x.astype(np.float64)):
        np.save(tmp_path / "x.npy", array)
        assert np.allclose(load_image(tmp_path / "x.npy")[0].numpy(), x)
    np.save(tmp_path / "x.npy", RGB.astype(np.int64))  # no white level of its own
    assert np.allclose(load_image(tmp_path / "x.npy", white=255)[0].permute(1, 2, 0).numpy(), RGB / 255, atol=1e-6)
    for whole, top in ((RGB, 255), (RGB.astype(np.uint16) * 257, 65535)):
        np.save(tmp_path / "x.npy", whole)
        assert np.allclose(load_image(tmp_path / "x.npy")[0].permute(1, 2, 0).numpy(), whole / top, atol=1e-6)
    np.savez(tmp_path / "x.npz", x)
    assert np.allclose(load_image(tmp_path / "x.npz")[0].numpy(), x)
    np.savez(tmp_path / "x.npz", measurement=x, other=x)
    assert np.allclose(load_array(tmp_path / "x.npz"), x)
    np.savez(tmp_path / "x.npz", first=x, other=x)
    with pytest.raises(ValueError, match="expected one array, or one called 'measurement'"):
        load_array(tmp_path / "x.npz")
    save_image(torch.from_numpy(x) - 1, tmp_path / "y.npy")
    assert np.allclose(np.load(tmp_path / "y.npy"), x - 1)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.array([[0.1, np.nan], [np.inf, 0.2]]),
            r"expected finite values, got 2 NaN or infinite, the first at \(0, 1",
        ),
        (np.array([[0.0, 255.0]]), r"expected intensities in \[0, 1\], got values up to 255"),
        (np.array([[0, 70000]]), r"expected floats, or integers of 8 or 16 bits, got int64 in \[0, 70000\]"),
        (np.array([[1j, 0]]), "got complex128"),
        (np.array([["a"]]), "got <U1"),
        (np.zeros((2, 3, 4, 5)), r"expected shape \(H, W\).*got \(2, 3, 4, 5\)"),
        (np.zeros((0, 4)), r"got \(0, 4"),
        (np.zeros(4), r"got \(4,\)"),
    ],
)
def test_arrays_that_are_no_image(
    tmp_path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], message: str
) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=message):
        load_image(tmp_path / "x.npy")


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read as a numpy array"):
        load_image(tmp_path / "x.npy")


def test_files_that_are_no_image(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(IsADirectoryError, match="expected an image file, got a folder"):
        load_image(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"empty \(0 bytes\)"):
        load_image(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match="not an image that can be read"):
        load_image(tmp_path / "text.png")
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(ValueError, match="cannot be read as a numpy array"):
        load_image(tmp_path / "text.npy")
    Image.fromarray(np.tile(RGB, (20, 20, 1))).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:400])
    with pytest.raises(ValueError, match=r"cut.png: .*damaged"):
        load_image(tmp_path / "cut.png")


def test_images_beyond_pillows_limit_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", H * W - 1)
    assert load_image(tmp_path / "x.png").shape == (1, 3, H, W)  # up to twice the limit is a warning, which is ignored
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8)
    with pytest.raises(ValueError, match="too large"):
        load_image(tmp_path / "x.png")


def test_save_refuses(tmp_path: Path) -> None:
    x = torch.zeros(1, 3, H, W)
    with pytest.raises(ValueError, match="expected a name that ends in"):
        save_image(x, tmp_path / "x.foo")
    with pytest.raises(ValueError, match="16 are for images in png or tif"):
        save_image(x, tmp_path / "x.jpg", bits=16)
    with pytest.raises(ValueError, match="expected finite pixels, got 1"):
        save_image(torch.tensor([[float("nan"), 0.0]]), tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"got \(2, 3, 7, 5\)"):
        save_image(x.expand(2, 3, H, W), tmp_path / "x.png")
    with pytest.raises(TypeError, match="expected a torch tensor, got list"):
        save_image([[0.0]], tmp_path / "x.png")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="no folder"):
        save_image(x, tmp_path / "none" / "x.png")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_pixels_in_any_order_of_memory_are_written_at_16_bits(tmp_path: Path) -> None:
    x = torch.rand(1, 1, 8, 9).mT  # columns first
    save_image(x, tmp_path / "x.png", bits=16)
    assert torch.allclose(load_image(tmp_path / "x.png"), x, atol=1e-5)
