"""K-space in files of other programs."""

from pathlib import Path

import numpy as np
import pytest

from invdiff.cli import main


def _kspace() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:32, :32]
    image = 0.5 * ((rows - 15.5) ** 2 + (columns - 15.5) ** 2 < 120)
    mask = np.zeros((32, 32), bool)
    mask[:, ::3] = mask[:, 13:19] = True
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho")), mask


def run(path: Path, *more: str, operator: str = "mri") -> int:
    command = ["reconstruct", str(path), "--operator", operator, "--noise", "0.01", "--solver", "pnp:steps=2"]
    return main([*command, "--samples", "1", "--out", str(path.parent / "out"), "--overwrite", *more])


def test_frequency_zero_in_the_corner_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    k, mask = _kspace()
    np.save(tmp_path / "k.npy", k * mask)
    assert run(tmp_path / "k.npy") == 0
    np.save(tmp_path / "k.npy", np.fft.ifftshift(k * mask))
    assert run(tmp_path / "k.npy") == 2
    assert "the strongest one is [0, 0], in the corner" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize("channels", [1, 2])
def test_masks_with_channels(channels: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    k, mask = _kspace()
    np.save(tmp_path / "k.npy", k * mask)
    np.save(tmp_path / "m.npy", np.stack([mask] * channels))
    assert run(tmp_path / "k.npy", operator=f"mri:mask={tmp_path / 'm.npy'}") == 0
    capfd.readouterr()


def test_a_drawn_mask_of_a_measurement_is_said_to_be_the_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    k, mask = _kspace()
    np.save(tmp_path / "k.npy", k * mask)
    assert run(tmp_path / "k.npy", operator="mri:acceleration=3") == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "the mask is that of the file, its frequencies that are not zero; acceleration=3 draws one" in said
    assert f"{((k * mask) == 0).mean():.1%} of the pixels missing" in said
    assert run(tmp_path / "k.npy") == 0
    assert "draws one" not in " ".join(capfd.readouterr().err.split())
    np.save(tmp_path / "k.npy", k + 1e-6)
    assert run(tmp_path / "k.npy", operator="mri:acceleration=3") == 2
