"""Middle squares, and the pictures of a folder."""

from pathlib import Path

import pytest
import torch

from invdiff.images import middle_square
from invdiff.images.folders import picture_files


def test_the_middle_square() -> None:
    x = torch.arange(5 * 8.0).reshape(1, 5, 8)
    assert torch.equal(middle_square(x), x[:, :, 1:6])
    assert torch.equal(middle_square(x, 2), x[:, 1:3, 3:5])
    assert middle_square(x[None], 5).shape == (1, 1, 5, 5)
    with pytest.raises(ValueError, match="expected at least 6 x 6 pixels, got 8 x 5"):
        middle_square(x, 6)


def test_the_pictures_of_a_folder(tmp_path: Path) -> None:
    names = ["b.PNG", "a.dcm", "c.nii.gz", "d.fits", ".hidden.png", "e.txt", "f.h5", "g.heic", "readme"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    assert [f.name for f in picture_files(tmp_path)] == ["a.dcm", "b.PNG", "c.nii.gz", "d.fits", "g.heic"]
