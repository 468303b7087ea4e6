"""Formats of single fields, written by the library that defines each, read to the last bit, and written back."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from invdiff.cli import main
from invdiff.images import Ask, load_image, open_image
from invdiff.images.dicom import Dicom

H, W = 9, 12
RNG = np.random.default_rng(1)
FLOATS = RNG.random((H, W)).astype(np.float32)


def denoise(image: Path | str, out: Path, *more: str) -> int:
    fixed = ["--operator", "identity", "--noise", "0.001", "--prior", "gaussian", "--solver", "pinv", "--samples", "1"]
    return main(["reconstruct", str(image), *fixed, "--out", str(out), *more])


def gray(path: Path | str, **options: Any) -> Any:
    return load_image(path, **options)[0, 0].numpy()


def test_fits(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    header = fits.Header({"OBJECT": "M31", "CTYPE1": "RA---TAN", "CRPIX1": 4.5, "CRVAL1": 10.68, "BUNIT": "adu"})
    fits.PrimaryHDU(FLOATS * 3000, header).writeto(tmp_path / "x.fits")
    with pytest.raises(ValueError, match=r"got values up to .*--white-level"):
        load_image(tmp_path / "x.fits")
    assert np.allclose(gray(tmp_path / "x.fits", white=3000), FLOATS, atol=1e-7)
    fits.PrimaryHDU(FLOATS).writeto(tmp_path / "y.fits")
    assert np.array_equal(gray(tmp_path / "y.fits"), FLOATS)  # rows as in astropy
    for more in (("--white-level", "3000"), ("--measurement-scale", str(1 / 3000))):
        assert denoise(tmp_path / "x.fits", tmp_path / f"o{more[0]}", *more) == 0
        with fits.open(tmp_path / f"o{more[0]}" / "mean.fits") as hdus:
            assert np.allclose(hdus[0].data, FLOATS * 3000, rtol=1e-5)
            assert {k: hdus[0].header[k] for k in header} == dict(header)
        assert np.allclose(np.load(tmp_path / f"o{more[0]}" / "result.npz")["mean"][0], FLOATS, atol=1e-6)


def test_fits_of_unsigned_integers_and_a_cube(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    cube = RNG.integers(0, 65536, (4, H, W), dtype=np.uint16)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(cube)]).writeto(tmp_path / "c.fits")
    with pytest.raises(ValueError, match="got 4 slices"):
        load_image(tmp_path / "c.fits")
    assert np.array_equal(np.rint(gray(f"{tmp_path / 'c.fits'}#3") * 65535.0), cube[3])


def dicom(path: Path, frames: np.ndarray[Any, Any], **tags: Any) -> None:
    pydicom = pytest.importorskip("pydicom")
    data = pydicom.dataset.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data.SeriesInstanceUID = pydicom.uid.generate_uid()
    data.PatientName, data.Modality, data.PixelSpacing = "Doe^Jane", "CT", [0.7, 0.7]
    data.Rows, data.Columns = frames.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = int(frames.dtype.kind == "i")
    if frames.ndim == 3:
        data.NumberOfFrames = len(frames)
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = frames.tobytes()
    data.save_as(path, enforce_file_format=True)


def test_dicom_in_hounsfield_units(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    stored = RNG.integers(0, 4096, (H, W), dtype=np.uint16)
    dicom(tmp_path / "x.dcm", stored, RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    with pytest.raises(ValueError, match="--white-level"):
        load_image(tmp_path / "x.dcm")
    got = gray(tmp_path / "x.dcm", black=-1000, white=1000)
    assert np.allclose(got, (stored.astype(float) - 1024 + 1000) / 2000, atol=1e-6)
    assert denoise(tmp_path / "x.dcm", tmp_path / "o", "--black-level", "-1024", "--white-level", "3071") == 0
    back = pydicom.dcmread(tmp_path / "o" / "mean.dcm")
    assert np.array_equal(back.pixel_array, stored)
    assert (back.PatientName, back.PixelSpacing, back.RescaleIntercept) == ("Doe^Jane", [0.7, 0.7], -1024)
    assert back.SOPInstanceUID != pydicom.dcmread(tmp_path / "x.dcm").SOPInstanceUID
    assert list(back.ImageType) == ["DERIVED", "SECONDARY"]


def test_dicom_of_other_kinds(tmp_path: Path) -> None:
    stored = RNG.integers(0, 4096, (3, H, W), dtype=np.uint16)
    dicom(tmp_path / "m.dcm", stored, Modality="MR")
    with pytest.raises(ValueError, match="got 3 frames"):
        load_image(tmp_path / "m.dcm")
    assert np.array_equal(np.rint(gray(f"{tmp_path / 'm.dcm'}#1") * 4095.0), stored[1])
    dicom(tmp_path / "n.dcm", stored[0], Modality="DX", PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(np.rint(gray(tmp_path / "n.dcm") * 4095.0), 4095 - stored[0])
    (tmp_path / "n.dcm").rename(tmp_path / "IM0001")  # as on the discs of hospitals
    assert np.array_equal(np.rint(gray(tmp_path / "IM0001") * 4095.0), 4095 - stored[0])
    (tmp_path / "t.dcm").write_text("no image")
    with pytest.raises(ValueError, match="not a DICOM image that can be read"):
        load_image(tmp_path / "t.dcm")


def test_nifti(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = RNG.integers(0, 900, (H, W, 5), dtype=np.int16)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-10, 20, -30)
    nibabel.Nifti1Image(volume, affine).to_filename(tmp_path / "x.nii.gz")
    with pytest.raises(ValueError, match="got 5 slices"):
        load_image(tmp_path / "x.nii.gz")
    path = f"{tmp_path / 'x.nii.gz'}#3"
    with pytest.raises(ValueError, match=r"got int16 in .*--white-level"):
        load_image(path)
    assert np.array_equal(np.rint(gray(path, white=900) * 900.0), volume[..., 3])
    assert denoise(path, tmp_path / "o", "--white-level", "900") == 0
    back = nibabel.load(tmp_path / "o" / "mean.nii.gz")
    assert np.array_equal(np.rint(back.get_fdata()[..., 0]), volume[..., 3])
    assert np.allclose(back.affine @ [0, 0, 0, 1], affine @ [0, 0, 3, 1])


def test_hdf5_and_zarr(tmp_path: Path) -> None:
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    stack = RNG.random((4, H, W)).astype(np.float32)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry/data"], file["entry/flat"] = stack, FLOATS
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    for name, array in (("data", stack), ("flat", FLOATS)):
        group.require_group("entry").create_array(name, data=array)
    for name in ("x.h5", "x.zarr"):
        with pytest.raises(ValueError, match=r"expected the name of an array.*entry/data \(4, 9, 12\), entry/flat"):
            load_image(tmp_path / name)
        assert np.array_equal(gray(f"{tmp_path / name}#entry/flat"), FLOATS)
        assert np.array_equal(gray(f"{tmp_path / name}#entry/data#2"), stack[2])
        assert denoise(f"{tmp_path / name}#entry/data#2", tmp_path / f"o{name}") == 0
        assert np.array_equal(np.load(tmp_path / f"o{name}" / "result.npz")["mean"][0], stack[2])


def test_k_space_in_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    images = RNG.random((3, 12, 12))
    axes = (-2, -1)
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes), norm="ortho"), axes)
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"] = k.astype(np.complex64)
    np.save(tmp_path / "m.npy", np.ones((12, 12)))
    command = ["reconstruct", f"{tmp_path / 'k.h5'}#1", "--operator", f"mri:mask={tmp_path / 'm.npy'}", "--noise"]
    command += ["0.01", "--prior", "gaussian", "--solver", "pinv", "--samples", "1", "--out", str(tmp_path / "o")]
    assert main(command) == 0
    assert np.allclose(np.load(tmp_path / "o" / "result.npz")["mean"][0], images[1], atol=1e-5)


def test_heic(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    rgb = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    heif.encode("RGB", (64, 64), rgb.tobytes(), tmp_path / "x.heic", quality=-1, chroma=444, matrix_coefficients=0)
    assert np.array_equal(np.rint(load_image(tmp_path / "x.heic")[0].permute(1, 2, 0).numpy() * 255.0), rgb)


@pytest.mark.parametrize("pattern", ["rggb", "gbrg"])
def test_a_camera_raw_file(tmp_path: Path, pattern: str) -> None:
    pytest.importorskip("rawpy")
    sensor = RNG.integers(512, 4000, (64, 96), dtype=np.uint16)
    matrix = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]
    tags = [
        (50706, "B", 4, (1, 4, 0, 0), True), (50708, "s", 0, "Test", True), (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, tuple("rgb".index(c) for c in pattern), True),
        (50714, "H", 1, 512, True), (50717, "H", 1, 4095, True),
        (50721, "2i", 9, matrix, True), (50778, "H", 1, 21, True),
    ]  # fmt: skip
    tifffile.imwrite(tmp_path / "x.dng", sensor, photometric=32803, metadata=None, extratags=tags)
    loaded = open_image(tmp_path / "x.dng", mosaic=True)
    assert torch.allclose(
        loaded.image[0, 0].double() * (4095 - 512) + 512, torch.from_numpy(sensor).double(), atol=1e-3
    )
    assert f"black 512, white 4095, pattern {pattern}" in loaded.notes[0]
    assert load_image(tmp_path / "x.dng").shape == (1, 3, 64, 96)
    command = ["reconstruct", str(tmp_path / "x.dng"), "--operator", "demosaic", "--noise", "0.01", "--prior"]
    command += ["gaussian", "--solver", "pinv", "--samples", "1", "--out", str(tmp_path / "o")]
    assert main(command) == 0
    mean = np.load(tmp_path / "o" / "result.npz")["mean"]
    assert mean.shape == (3, 64, 96)
    corner = mean["rgb".index(pattern[0]), ::2, ::2] * (4095 - 512) + 512
    assert np.allclose(corner, sensor[::2, ::2], atol=0.01)  # as measured
    command[3] = f"demosaic:pattern={pattern[::-1]}"
    assert main([*command, "--overwrite"]) == 2


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    (tmp_path / "x.dcm").write_bytes(b"1")
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"is read by pydicom, which is missing; install invdiff\[science\]"):
        Dicom().read(tmp_path / "x.dcm", Ask())


def test_the_table_of_formats_is_that_of_the_classes() -> None:
    from invdiff.images import formats

    for name, entry in formats.entries().items():
        assert formats[name].suffixes == formats.facts(name).suffixes, entry


def test_a_format_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from invdiff.images import formats

    (tmp_path / "mine_format.py").write_text(
        "import numpy as np\nfrom invdiff.images import Content, Format\n"
        "class Mine(Format):\n    suffixes = ('.mine',)\n"
        "    def read(self, path, ask):\n        return Content(np.full((2, 3, 1), 0.25, np.float32))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(formats, "_table", dict(formats._table))
    formats.register("mine", "mine_format:Mine", "a test")
    (tmp_path / "a.mine").write_text("x")
    assert load_image(tmp_path / "a.mine").shape == (1, 1, 2, 3)
