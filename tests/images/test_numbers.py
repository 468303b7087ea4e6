"""Arrays in files of several, and stacks that are stored as colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from invdiff.commands.reconstruction.sinograms import read_angles
from invdiff.images import load_array, open_image
from invdiff.images.numbers import read_numbers
from invdiff.operators.builders.files import kernel_from_file, mask_from_file

H, W = 9, 12
RNG = np.random.default_rng(0)
STACK = RNG.random((2, 3, H, W)).astype(np.float32)


@pytest.fixture(params=["x.npy", "x.npz#data", "x.h5#data", "x.zarr#data"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the name of a stack of 2 x 3 pictures in one format."""
    name: str = request.param
    file = tmp_path / name.partition("#")[0]
    if name == "x.npy":
        np.save(file, STACK)
    elif name == "x.npz#data":
        np.savez(file, data=STACK, dark=STACK[0])
    elif name == "x.h5#data":
        with pytest.importorskip("h5py").File(file, "w") as opened:
            opened["data"], opened["dark"] = STACK, STACK[0]
    else:
        group = pytest.importorskip("zarr").open_group(file, mode="w")
        for key, array in (("data", STACK), ("dark", STACK[0])):
            group.create_array(key, data=array)
    return str(tmp_path / name)


def test_all_readers_of_arrays_count_alike(stored: str) -> None:
    fourth, want = f"{stored}#3", STACK[1, 0]
    assert np.array_equal(load_array(fourth), want)
    assert np.array_equal(open_image(fourth).image[0, 0].numpy(), want)
    assert np.array_equal(kernel_from_file(fourth, normalize=False)[0].numpy(), want)
    assert np.array_equal(mask_from_file(fourth).numpy(), want)
    assert np.array_equal(load_array(stored), STACK)
    with pytest.raises(ValueError, match=r"expected a number of 6 slices, from 0 to 5, got #6"):
        load_array(f"{stored}#6")


def test_k_space_of_two_parts_stays_together(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", parts := RNG.random((5, 2, H, W)))
    assert np.array_equal(load_array(f"{tmp_path / 'k.npy'}#4", complex_valued=True), parts[4].astype(np.float32))
    np.save(tmp_path / "c.npy", k := RNG.random((5, 2, H, W)) + 1j * RNG.random((5, 2, H, W)))  # two coils
    got = load_array(f"{tmp_path / 'c.npy'}#9", complex_valued=True)
    assert np.array_equal(got, np.stack([k[4, 1].real, k[4, 1].imag]).astype(np.float32))


def test_angles_of_every_array_file(tmp_path: Path) -> None:
    angles = np.linspace(0, 170, 18)
    np.savez(tmp_path / "a.npz", angles=angles, other=angles + 1)
    np.save(tmp_path / "a.npy", np.stack([angles + 1, angles]))
    np.savetxt(tmp_path / "a.dat", angles)
    for name in ("a.npz#angles", "a.npy#1", "a.dat"):
        assert read_angles(str(tmp_path / name)) == pytest.approx(tuple(angles))


def test_complex_numbers_are_no_kernel(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.ones((3, 3)) * 1j)
    with pytest.raises(ValueError, match="expected real numbers, got complex128"):
        kernel_from_file(str(tmp_path / "k.npy"))


def test_text_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two")
    with pytest.raises(ValueError, match="expected numbers, in text or an array"):
        read_numbers(tmp_path / "a.txt")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planes", [3, 4])
def test_a_stack_that_is_stored_as_colours_is_said_and_chosen_from(tmp_path: Path, planes: int, kind: Any) -> None:
    top = 1 if kind is np.float32 else np.iinfo(kind).max
    stack = (RNG.random((planes, H, W)) * top).astype(kind)
    # What tifffile writes without photometric=, up to versions of 2026.
    opacity: dict[str, Any] = {"extrasamples": ["unassalpha"]} if planes == 4 else {}
    tifffile.imwrite(tmp_path / "z.tif", stack, photometric="rgb", planarconfig="separate", **opacity)
    loaded = open_image(tmp_path / "z.tif")
    assert loaded.image.shape[1] == 3 and f"{planes} planes are taken as red, green" in loaded.notes[0]
    for number in range(planes):
        one = open_image(f"{tmp_path / 'z.tif'}#{number}")
        want = stack[number] if top == 1 else (stack[number] / np.float64(top)).astype(np.float32)
        assert np.array_equal(one.image[0, 0].numpy(), want)
        assert not one.notes
    with pytest.raises(ValueError, match=rf"expected a number of {planes} planes"):
        open_image(f"{tmp_path / 'z.tif'}#{planes}")


def test_three_planes_of_an_array_are_said(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", STACK[0])
    loaded = open_image(tmp_path / "x.npy")
    assert loaded.image.shape == (1, 3, H, W) and "three planes are taken as red, green and blue" in loaded.notes[0]
    assert np.array_equal(open_image(f"{tmp_path / 'x.npy'}#2").image[0, 0].numpy(), STACK[0, 2])
    np.save(tmp_path / "y.npy", STACK[0].transpose(1, 2, 0))
    assert not open_image(tmp_path / "y.npy").notes
