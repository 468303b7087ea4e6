"""JPEG with subsampling and tables, against libjpeg."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from skimage import data

from invdiff.operators import JPEG
from invdiff.operators.builders.compression import read_compression
from invdiff.operators.builders.factory import make_operator


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image / 255).reshape(*image.shape[:2], -1).permute(2, 0, 1)[None].float()


def _decoded(file: io.BytesIO | Path) -> torch.Tensor:
    with Image.open(file) as opened:
        return _tensor(np.asarray(ImageOps.exif_transpose(opened)))


def _rms(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).square().mean().sqrt())


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [10, 50, 75, 95])
def test_photographs_are_pillows(name: str, subsampling: str, quality: int) -> None:
    image = getattr(data, name)()
    for h, w in ((image.shape[0], image.shape[1]), (127, 93), (122, 118)):  # sides of no whole blocks and cells
        part, file = image[:h, :w], io.BytesIO()
        Image.fromarray(part).save(file, "jpeg", quality=quality, subsampling=subsampling)
        got = JPEG((3, h, w), quality=quality, subsampling=subsampling)(_tensor(part))
        assert _rms(got, _decoded(file)) < 0.002  # .0011 at most; half a level is .002


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 5), (9, 2), (17, 33)])
@pytest.mark.parametrize("subsampling", ["4:2:2", "4:2:0"])
def test_small_pictures_are_pillows(size: tuple[int, int], subsampling: str) -> None:
    part, file = data.astronaut()[100 : 100 + size[0], 150 : 150 + size[1]], io.BytesIO()
    Image.fromarray(part).save(file, "jpeg", quality=60, subsampling=subsampling)
    got = JPEG((3, *size), quality=60, subsampling=subsampling)(_tensor(part))
    assert float((got - _decoded(file)).abs().max()) < 2.5 / 255


def test_subsampling_matters() -> None:
    part, file = data.astronaut()[100:228, 150:270], io.BytesIO()
    Image.fromarray(part).save(file, "jpeg", quality=90)  # Pillow subsamples unless it is told not to
    want = _decoded(file)
    rms = {s: _rms(JPEG((3, 128, 120), quality=90, subsampling=s)(_tensor(part)), want) for s in ("4:4:4", "4:2:0")}
    assert rms["4:2:0"] < 0.001 < 0.008 < rms["4:4:4"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_file_tells_its_tables_subsampling_and_orientation(orientation: int, tmp_path: Path) -> None:
    part, path = data.coffee()[100:187, 150:240], tmp_path / "a.jpg"
    luma, chroma = [3 + i % 29 for i in range(64)], [5 + i % 31 for i in range(64)]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(part).save(path, qtables=[luma, chroma], subsampling="4:2:2", exif=exif)
    found = read_compression(path)
    assert found.tables == (tuple(luma), tuple(chroma), tuple(chroma))
    assert (found.subsampling, found.orientation, found.quality) == ("4:2:2", orientation, None)
    shown, clean = _decoded(path), _tensor(part)
    turned = {5, 6, 7, 8}
    shape = (3, 90, 87) if orientation in turned else (3, 87, 90)
    with Image.open(path) as opened:
        turn = ImageOps.exif_transpose(Image.fromarray(part).copy())
        method = {
            2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }.get(orientation)  # fmt: skip
        clean = _tensor(np.asarray(turn if method is None else turn.transpose(method)))
        assert opened.size == (90, 87)
    got = make_operator("jpeg", shape, {"tables": str(path)})(clean)
    assert _rms(got, shown) < 0.001


def test_tables_of_a_quality_are_recognised(tmp_path: Path) -> None:
    for quality in (10, 50, 92):
        Image.fromarray(data.chelsea()[:64, :64]).save(tmp_path / "a.jpg", quality=quality)
        found = read_compression(tmp_path / "a.jpg")
        assert (found.quality, found.subsampling) == (quality, "4:2:0")
        assert f"quality {quality}" in found.describe()
        assert "4:2:0" in found.describe()
    Image.fromarray(data.camera()[:64, :64]).save(tmp_path / "g.jpg", quality=30)
    assert read_compression(tmp_path / "g.jpg").describe().endswith("gray")


def test_files_that_are_no_such_jpeg_are_refused(tmp_path: Path) -> None:
    picture = Image.fromarray(data.chelsea()[:64, :64])
    picture.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="got PNG; state the compression"):
        read_compression(tmp_path / "a.png")
    picture.convert("CMYK").save(tmp_path / "c.jpg")
    with pytest.raises(ValueError, match="expected gray or YCbCr, got CMYK"):
        read_compression(tmp_path / "c.jpg")
    picture.save(tmp_path / "r.jpg", keep_rgb=True)
    with pytest.raises(ValueError, match="got RGB"):
        read_compression(tmp_path / "r.jpg")
    picture.save(tmp_path / "w.jpg")
    stored = (tmp_path / "w.jpg").read_bytes()
    (tmp_path / "w.jpg").write_bytes(stored.replace(b"\x01\x22\x00", b"\x01\x41\x00", 1))  # 4:1:1
    with pytest.raises(ValueError, match=r"4:4:4.*got the factors 4x1"):
        read_compression(tmp_path / "w.jpg")
    (tmp_path / "d.jpg").write_bytes((tmp_path / "w.jpg").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"d\.jpg"):
        read_compression(tmp_path / "d.jpg")


def test_arguments_that_do_not_fit_are_refused() -> None:
    shape = (3, 16, 16)
    for options, match in (
        ({}, "one of quality and tables, got none"),
        ({"quality": 10, "tables": [[1] * 64]}, "got both"),
        ({"quality": 10, "subsampling": "420"}, "4:2:0"),
        ({"quality": 10, "orientation": 9}, "orientation"),
        ({"tables": [[1] * 63]}, "64 numbers"),
        ({"tables": [[0] * 64]}, "from 1 to 65535"),
        ({"tables": [[1] * 64] * 4}, "1 to 3 tables"),
    ):
        with pytest.raises(ValueError, match=match):
            JPEG(shape, **options)


@pytest.mark.parametrize("subsampling", ["4:2:2", "4:4:0", "4:2:0"])
def test_the_gradient_is_that_of_the_filters_alone(subsampling: str) -> None:
    a = JPEG((3, 16, 16), quality=10, subsampling=subsampling)
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64).requires_grad_()
    gray = torch.ones(1, 3, 16, 16, dtype=torch.float64)
    (grad,) = torch.autograd.grad((a(x) * gray).sum(), x)
    torch.testing.assert_close(grad, gray, atol=1e-4, rtol=0)  # gray has no chroma; the colours' matrix is in 16 bits
    w = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    (grad,) = torch.autograd.grad((a(x) * w).sum(), x)
    assert float((grad - w).norm() / w.norm()) > 0.1  # details of the colours are lost
