"""Every format of docs/files.md: written by a library that defines it, at each depth, and read to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from invdiff.images import Ask, formats, open_image
from invdiff.images.content import format_of
from invdiff.images.loading import read_content

H, W = 24, 32
Pixels = NDArray[Any]
Writer = Callable[[Path, Pixels], object]


def codecs(function: str, **options: Any) -> Writer:
    """Return a writer of imagecodecs, which wraps the reference libraries."""

    def write(path: Path, x: Pixels) -> None:
        path.write_bytes(getattr(pytest.importorskip("imagecodecs"), function)(x, **options))

    return write


def pillow(path: Path, x: Pixels) -> None:
    Image.fromarray(x).save(path)


def tiff(**options: Any) -> Writer:
    return lambda path, x: tifffile.imwrite(path, x, **options)


def pnm(path: Path, x: Pixels) -> None:
    white = {8: 255, 12: 4095, 16: 65535}[int(path.stem[-2:])]
    kind = "P6" if x.ndim == 3 else "P5"
    body = x.tobytes() if white == 255 else x.astype(">u2").tobytes()
    path.write_bytes(f"{kind}\n# comment\n{W} {H}\n{white}\n".encode() + body)


def pfm(path: Path, x: Pixels) -> None:
    path.write_bytes(f"Pf\n{W} {H}\n-1.0\n".encode() + x[::-1].astype("<f4").tobytes())


def npz(path: Path, x: Pixels) -> None:
    np.savez_compressed(path, x)


def fits(path: Path, x: Pixels) -> None:
    pytest.importorskip("astropy.io.fits").PrimaryHDU(x).writeto(path)


def nifti(path: Path, x: Pixels) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(x, np.eye(4), dtype=x.dtype)
    image.header.set_slope_inter(1, 0)
    image.to_filename(path)


def hdf5(path: Path, x: Pixels) -> None:
    with pytest.importorskip("h5py").File(path, "w") as file:
        file.create_dataset("data", data=x, compression="gzip", chunks=True)


def zarr(path: Path, x: Pixels) -> None:
    package = pytest.importorskip("zarr")
    if path.suffix != ".zip":
        package.create_array(path, data=x)
        return
    with package.storage.ZipStore(path, mode="w") as store:
        package.create_array(store, data=x)


def dicom(syntax: str = "", encode: str | None = None, **options: Any) -> Writer:
    def write(path: Path, x: Pixels) -> None:
        pydicom = pytest.importorskip("pydicom")
        data = pydicom.dataset.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.MRImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        data.Modality, data.Rows, data.Columns = "MR", *x.shape[:2]
        data.SamplesPerPixel = 3 if x.ndim == 3 else 1
        data.PhotometricInterpretation = "RGB" if x.ndim == 3 else "MONOCHROME2"
        if x.ndim == 3:
            data.PlanarConfiguration = 0
        data.BitsAllocated = data.BitsStored = 8 * x.itemsize
        data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(x.dtype.kind == "i")
        data.PixelData = x.tobytes()
        if syntax == "RLELossless":
            data.compress(pydicom.uid.RLELossless)
        elif encode is not None:
            x = x.view(np.uint16)
            data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
            packed = getattr(pytest.importorskip("imagecodecs"), encode)(x, **options)
            data.PixelData = pydicom.encaps.encapsulate([packed])
            data["PixelData"].VR = "OB"
        data.save_as(path, enforce_file_format=True)

    return write


def dng(path: Path, x: Pixels) -> None:
    pytest.importorskip("rawpy")
    matrix = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]
    tags = [
        (50706, "B", 4, (1, 4, 0, 0), True), (50708, "s", 0, "Test", True), (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, (0, 1, 1, 2), True), (50714, "H", 1, 0, True), (50717, "H", 1, 65535, True),
        (50721, "2i", 9, matrix, True), (50778, "H", 1, 21, True),
    ]  # fmt: skip
    tifffile.imwrite(path, np.tile(x, (4, 4)), photometric=32803, metadata=None, extratags=tags)


def heic(mode: str) -> Writer:
    def write(path: Path, x: Pixels) -> None:
        package = pytest.importorskip("pillow_heif")
        options = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
        package.encode(mode, (W, H), x.tobytes(), path, **options)

    return write


CASES: list[tuple[str, str, Writer, int, str]] = [
    # format, file, writer, value of white (0: floats), shape
    ("pillow", "g.png", pillow, 255, "gray"),
    ("pillow", "c.png", codecs("png_encode"), 255, "color"),
    ("pillow", "g16.png", codecs("png_encode"), 65535, "gray"),
    ("pillow", "c16.png", codecs("png_encode"), 65535, "color"),
    ("pillow", "c.bmp", codecs("bmp_encode"), 255, "color"),
    ("pillow", "g.gif", codecs("gif_encode"), 255, "gray"),
    ("pillow", "c.webp", codecs("webp_encode", lossless=True), 255, "color"),
    ("pillow", "c.avif", codecs("avif_encode", level=100), 255, "color"),
    ("pillow", "c10.avif", codecs("avif_encode", level=100, bitspersample=10), 1023, "color"),
    ("pillow", "c12.avif", codecs("avif_encode", level=100, bitspersample=12), 4095, "color"),
    ("pillow", "c.jp2", codecs("jpeg2k_encode", level=0, reversible=True), 255, "color"),
    ("pillow", "g16.jp2", codecs("jpeg2k_encode", level=0, reversible=True), 65535, "gray"),
    ("pillow", "c16.jp2", codecs("jpeg2k_encode", level=0, reversible=True), 65535, "color"),
    ("pillow", "c12.j2k", codecs("jpeg2k_encode", level=0, reversible=True, bitspersample=12, codecformat="j2k"),
     4095, "color"),
    ("pillow", "g08.pgm", pnm, 255, "gray"),
    ("pillow", "g16.pgm", pnm, 65535, "gray"),
    ("pillow", "c08.ppm", pnm, 255, "color"),
    ("pillow", "c12.ppm", pnm, 4095, "color"),
    ("pillow", "c16.ppm", pnm, 65535, "color"),
    ("pillow", "g.pfm", pfm, 0, "gray"),
    ("pillow", "c.tga", pillow, 255, "color"),
    ("tiff", "g.tif", tiff(), 255, "gray"),
    ("tiff", "c.tif", tiff(photometric="rgb", compression="lzw"), 255, "color"),
    ("tiff", "g16.tif", tiff(byteorder=">"), 65535, "gray"),
    ("tiff", "c16.tiff", tiff(photometric="rgb", compression="zlib", predictor=True, tile=(16, 16)), 65535, "color"),
    ("tiff", "g32.tif", tiff(), 2**32 - 1, "gray"),
    ("tiff", "f.tif", tiff(compression="deflate"), 0, "gray"),
    ("tiff", "cf.tif", tiff(photometric="rgb"), 0, "color"),
    ("tiff", "big.btf", tiff(bigtiff=True), 65535, "gray"),
    ("tiff", "o.ome.tif", tiff(ome=True, metadata={"axes": "YX"}), 65535, "gray"),
    ("tiff", "i.tif", tiff(imagej=True), 65535, "gray"),
    ("numpy", "g.npy", np.save, 255, "gray"),
    ("numpy", "c16.npy", np.save, 65535, "color"),
    ("numpy", "f.npy", np.save, 0, "color"),
    ("numpy", "f.npz", npz, 0, "gray"),
    ("fits", "f.fits", fits, 0, "gray"),
    ("fits", "g16.fits", fits, 65535, "gray"),  # stored with BZERO
    ("fits", "f.fits.gz", fits, 0, "gray"),
    ("dicom", "g.dcm", dicom(), 255, "gray"),
    ("dicom", "g16.dcm", dicom(), 65535, "gray"),
    ("dicom", "c.dcm", dicom(), 255, "color"),
    ("dicom", "rle.dcm", dicom("RLELossless"), 65535, "gray"),
    ("dicom", "j2k.dcm", dicom("JPEG2000Lossless", "jpeg2k_encode", level=0, reversible=True, codecformat="j2k"),
     65535, "gray"),
    ("dicom", "jls.dcm", dicom("JPEGLSLossless", "jpegls_encode"), 65535, "gray"),
    ("dicom", "jpeg.dcm", dicom("JPEGLosslessSV1", "ljpeg_encode"), 65535, "gray"),
    ("nifti", "f.nii", nifti, 0, "gray"),
    ("nifti", "g16.nii.gz", nifti, 65535, "gray"),
    ("hdf5", "g16.h5", hdf5, 65535, "gray"),
    ("hdf5", "f.nxs", hdf5, 0, "color"),
    ("zarr", "g16.zarr", zarr, 65535, "gray"),
    ("zarr", "f.zarr.zip", zarr, 0, "gray"),
    ("raw", "g16.dng", dng, 65535, "gray"),
    ("heif", "c.heic", heic("RGB"), 255, "color"),
    ("heif", "c10.heic", heic("RGB;10"), 1023, "color"),
    ("heif", "c12.heif", heic("RGB;12"), 4095, "color"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "write", "white", "kind"), CASES, ids=[c[1] for c in CASES])
def test_the_last_bit(name: str, file: str, write: Writer, white: int, kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    shape = (H, W) if kind == "gray" else (H, W, 3)
    if white == 0:
        stored: Pixels = rng.random(shape).astype(np.float32)
    else:
        depth = np.uint8 if white == 255 else np.uint16 if white <= 65535 else np.uint32
        stored = rng.integers(0, white, shape, dtype=depth, endpoint=True)
        stored.flat[:2] = 0, white
    path = tmp_path / file
    write(path, stored)
    found = format_of(path)
    assert (found[0] if found else "pillow") == name
    image = open_image(path, mosaic=name == "raw", white=white if white > 65535 else None).image
    if name == "raw":
        stored = np.tile(stored, (4, 4))
    want = stored if white == 0 else (stored / np.float64(white)).astype(np.float32)
    assert np.array_equal(image[0].permute(1, 2, 0).numpy(), want if want.ndim == 3 else want[..., None])


@pytest.mark.parametrize("syntax", ["JPEGLosslessSV1", "JPEGLSLossless"])
def test_compressed_dicom_of_signed_values_comes_back(tmp_path: Path, syntax: str) -> None:
    pydicom = pytest.importorskip("pydicom")
    stored = np.random.default_rng(0).integers(-1024, 3000, (H, W), dtype=np.int16)
    dicom(syntax, {"JPEGLosslessSV1": "ljpeg_encode", "JPEGLSLossless": "jpegls_encode"}[syntax])(
        tmp_path / "x.dcm", stored
    )
    content = read_content(tmp_path / "x.dcm", Ask(white=3000, black=-1024))
    assert np.array_equal(np.rint(content.kept.unscaled(content.pixels)[..., 0]), stored)
    formats["dicom"]().write(content.pixels, tmp_path / "y.dcm", content.kept)
    back = pydicom.dcmread(tmp_path / "y.dcm")
    assert np.array_equal(back.pixel_array, stored)
    assert back["PixelData"].VR == "OW" and not back.file_meta.TransferSyntaxUID.is_compressed


def test_no_format_is_left_out() -> None:
    assert {c[0] for c in CASES} == {*formats.entries(), "pillow"}


def test_jpeg_is_what_libjpeg_decodes(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    x = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    (tmp_path / "x.jpg").write_bytes(data := imagecodecs.jpeg8_encode(x, level=90))
    want = imagecodecs.jpeg8_decode(data) / np.float64(255)
    assert np.array_equal(open_image(tmp_path / "x.jpg").image[0].permute(1, 2, 0).numpy(), want.astype(np.float32))


def test_print_without_a_profile_is_said(tmp_path: Path) -> None:
    Image.new("CMYK", (W, H), (10, 20, 30, 40)).save(tmp_path / "x.jpg")
    assert "converted from CMYK to RGB without a profile" in open_image(tmp_path / "x.jpg").notes[0]


@pytest.mark.parametrize("start", [0, 30])
def test_damaged_deep_files(tmp_path: Path, start: int) -> None:
    x = np.random.default_rng(0).integers(0, 65536, (H, W, 3), dtype=np.uint16)
    pnm(tmp_path / "x16.ppm", x)
    data = (tmp_path / "x16.ppm").read_bytes()
    (tmp_path / "x16.ppm").write_bytes(data[: 60 + start])
    with pytest.raises(ValueError, match="cannot be read"):
        open_image(tmp_path / "x16.ppm")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("x.czi", "OME-TIFF"), ("x.exr", "TIFF with floating-point"), ("x.mat", "numpy.save"), ("x.nrrd", "NIfTI")],
)
def test_formats_that_are_not_read_have_a_remedy(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_bytes(b"ZISRAWFILE" + bytes(200))
    with pytest.raises(ValueError, match=rf"not an image that can be read; .*{remedy}"):
        open_image(tmp_path / name)
