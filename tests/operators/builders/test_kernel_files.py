"""Kernels, masks and angles from every format of files that images come in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from invdiff.cli import main
from invdiff.operators import Blur, Inpainting
from invdiff.operators.builders.factory import make_operator

RNG = np.random.default_rng(0)
STACK = RNG.integers(1, 4000, (4, 5, 7)).astype(np.float32)  # counts of four stars


def _tiff(file: Path, stack: Any) -> None:
    tifffile.imwrite(file, stack, photometric="minisblack")


def _fits(file: Path) -> None:
    pytest.importorskip("astropy.io.fits").PrimaryHDU(STACK).writeto(file)


def _hdf5(file: Path) -> None:
    with pytest.importorskip("h5py").File(file, "w") as opened:
        opened["psf/stars"] = STACK


def _nifti(file: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(STACK.transpose(1, 2, 0), np.eye(4)), file)


STACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "k.npy": (lambda f: np.save(f, STACK), "#2"),
    "k.npz": (lambda f: np.savez(f, image=STACK), "#2"),
    "k.tif": (lambda f: _tiff(f, STACK), "#2"),
    "u.tiff": (lambda f: _tiff(f, STACK.astype(np.uint16)), "#2"),
    "k.fits": (_fits, "#2"),
    "k.h5": (_hdf5, "#psf/stars#2"),
    "k.nii.gz": (_nifti, "#2"),
}


@pytest.mark.parametrize("name", STACKS)
def test_a_kernel_from_a_stack(tmp_path: Path, name: str) -> None:
    write, part = STACKS[name]
    write(tmp_path / name)
    file = f"{tmp_path / name}{part}"
    operator = make_operator("blur", (1, 16, 16), {"kernel": file})
    assert isinstance(operator, Blur)
    counts = torch.from_numpy(STACK[2].astype(np.float64))
    torch.testing.assert_close(operator.kernel[0], counts / counts.sum())
    (note,) = operator.notes
    assert f"{file} is divided by its sum, {float(counts.sum()):.6g}; normalize=false keeps it" in note
    kept = make_operator("blur", (1, 16, 16), {"kernel": file, "normalize": False})
    assert isinstance(kept, Blur) and kept.notes == ()
    torch.testing.assert_close(kept.kernel[0], counts)
    # Without a number no kernel is chosen in silence.
    with pytest.raises(ValueError, match=r"blur: kernel: .*(choose one|got shape \(4, 5, 7\); choose)"):
        make_operator("blur", (1, 16, 16), {"kernel": file.removesuffix("#2")})


def test_images_of_kernels_keep_their_levels(tmp_path: Path) -> None:
    counts = STACK[0].astype(np.uint16)
    Image.fromarray(counts).save(tmp_path / "k.png")
    Image.fromarray((counts % 256).astype(np.uint8)).save(tmp_path / "e.png")
    tifffile.imwrite(tmp_path / "f.tif", STACK[0] / STACK[0].sum())
    for name, values in (("k.png", counts), ("e.png", counts % 256), ("f.tif", STACK[0] / STACK[0].sum())):
        kept = make_operator("blur", (1, 16, 16), {"kernel": str(tmp_path / name), "normalize": False})
        assert isinstance(kept, Blur)
        torch.testing.assert_close(kept.kernel[0], torch.from_numpy(values.astype(np.float64)))
    assert make_operator("blur", (1, 16, 16), {"kernel": str(tmp_path / "f.tif")}).notes == ()  # of sum one already


def test_a_kernel_of_nan(tmp_path: Path) -> None:
    bad = STACK[0].copy()
    bad[1, 1] = np.nan
    np.save(tmp_path / "k.npy", bad)
    with pytest.raises(ValueError, match=r"kernel: expected finite values in .*, got 1 NaN or infinite; replace them"):
        make_operator("blur", (1, 16, 16), {"kernel": str(tmp_path / "k.npy")})


@pytest.mark.parametrize("name", STACKS)
def test_a_mask_from_a_stack(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = (RNG.random(STACK.shape) > 0.4).astype(np.float32)
    monkeypatch.setitem(globals(), "STACK", masks)
    write, part = STACKS[name]
    write(tmp_path / name)
    operator = make_operator("inpainting", (3, 5, 7), {"mask": f"{tmp_path / name}{part}"})
    assert isinstance(operator, Inpainting)
    assert torch.equal(operator.mask[0], torch.from_numpy(masks[2] > 0))


def test_a_mask_in_the_alpha_channel_of_an_option(tmp_path: Path) -> None:
    known = RNG.random((5, 7)) > 0.4
    rgba = np.dstack([np.full((5, 7, 3), 90, np.uint8), (255 * known).astype(np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "m.png")
    operator = make_operator("inpainting", (3, 5, 7), {"mask": str(tmp_path / "m.png")})
    assert isinstance(operator, Inpainting) and torch.equal(operator.mask[0], torch.from_numpy(known))


def test_the_notes_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _tiff(tmp_path / "k.tif", STACK[:, :4, :4])
    Image.fromarray((RNG.random((12, 12)) * 255).astype(np.uint8)).save(tmp_path / "x.png")
    fixed = [
        "--noise",
        "0.02",
        "--prior",
        "gaussian",
        "--solver",
        "pinv",
        "--samples",
        "1",
        "--out",
        str(tmp_path / "o"),
    ]

    def run(operator: str) -> Any:
        assert main(["reconstruct", str(tmp_path / "x.png"), "--operator", operator, *fixed, "--overwrite"]) == 0
        return " ".join("".join(capsys.readouterr()).split())

    told = run(f"blur:kernel={tmp_path / 'k.tif'}#3")
    assert "is divided by its sum" in told and "an even size: its centre is pixel [2, 2]" in told
    told = run(f"deblur:kernel={tmp_path / 'k.tif'}#3,center=centroid")
    assert "is divided by its sum" in told and "even size" not in told
    assert main(["check", "operator", f"blur:kernel={tmp_path / 'k.tif'}#0"]) == 0
    assert "Note: the kernel in" in capsys.readouterr().out
