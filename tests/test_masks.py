"""Masks that grow over the antialiased edges of text and scratches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from invdiff.cli import main
from invdiff.images import grow_mask, load_mask
from invdiff.operators.inpainting import random_mask

H, W = 40, 64
INK = (255, 0, 255)


def lettered() -> tuple[Any, Any]:
    """Return a gradient, `(H, W, 3)`, and the same with antialiased text and a scratch."""
    y, x = np.mgrid[:H, :W]
    clean = np.stack([x * 3, y * 5, 120 - x], -1).astype(np.uint8)
    wide = Image.new("L", (8 * W, 8 * H))
    draw = ImageDraw.Draw(wide)
    draw.text((30, 20), "Ag", fill=255, font_size=220)
    draw.line((20, 300, 490, 40), fill=255, width=24)
    ink = np.asarray(wide, np.float64).reshape(H, 8, W, 8).mean((1, 3))[..., None] / 255
    return clean, np.rint(clean * (1 - ink) + np.array(INK) * ink).astype(np.uint8)


def test_a_grown_mask_is_that_of_distances() -> None:
    known = random_mask((30, 41), missing=0.02, seed=3)
    missing = (~known).nonzero().double()
    places = torch.ones(30, 41).nonzero().double()
    away = torch.cdist(places, missing).min(1).values.reshape(30, 41)
    for n in (1, 2, 3):
        assert torch.equal(grow_mask(known, n), away > n + 0.5)
    assert torch.equal(grow_mask(known, 0), known)
    one = torch.ones(5, 5, dtype=torch.bool)
    one[2, 2] = False
    assert int((~grow_mask(one, 1)).sum()) == 9  # the eight neighbours, those on the diagonals too
    whole = torch.ones(2, 5, 5, dtype=torch.bool)
    whole[1] = one
    assert torch.equal(grow_mask(whole, 1)[0], whole[0]) and torch.equal(grow_mask(whole, 1)[1], grow_mask(one, 1))
    assert bool(grow_mask(torch.ones(4, 4, dtype=torch.bool), 3).all())
    with pytest.raises(ValueError, match="got none after it was grown by 4; grow it by less"):
        grow_mask(one, 4)
    with pytest.raises(ValueError, match="grow_mask: pixels"):
        grow_mask(one, -1)


def run(tmp_path: Path, *more: str, operator: str = "inpainting") -> int:
    fixed = ["reconstruct", str(tmp_path / "x.png"), "--operator", operator, "--noise", "0.01", "--prior", "gaussian"]
    fixed += ["--solver", "pinv", "--samples", "1", "--out", str(tmp_path / "o"), "--overwrite"]
    return main([*fixed, *more])


def known_of_result(tmp_path: Path) -> Any:
    return np.asarray(Image.open(tmp_path / "o" / "measurement.png"))[..., 3] > 0


def test_no_ink_is_left_among_the_known_pixels(tmp_path: Path) -> None:
    clean, inked = lettered()
    Image.fromarray(inked).save(tmp_path / "x.png")
    left = []
    for grow in (0, 1, 2):
        assert run(tmp_path, "--missing-color", "#ff00ff", "--mask-grow", str(grow)) == 0
        known = known_of_result(tmp_path)
        left.append(int((inked[known] != clean[known]).any(-1).sum()))
        assert known.mean() > 0.5
    assert left[0] > 300 and left[1] < 30 and left[2] == 0
    assert json.loads((tmp_path / "o" / "result.json").read_text())["operator"]["mask_grow"] == 2


def test_a_mask_file_grows(tmp_path: Path) -> None:
    clean, inked = lettered()
    Image.fromarray(clean).save(tmp_path / "x.png")
    mask = (inked == np.array(INK)).all(-1)
    Image.fromarray(np.where(mask, 0, 255).astype(np.uint8)).save(tmp_path / "m.png")
    assert run(tmp_path, "--mask", str(tmp_path / "m.png"), "--mask-grow", "2") == 0
    wanted = grow_mask(torch.from_numpy(~mask), 2)
    assert np.array_equal(known_of_result(tmp_path), wanted.numpy())
    assert torch.equal(load_mask(tmp_path / "m.png", grow=2), wanted)
    # One page of a stack of masks.
    stack = np.stack([np.zeros((H, W)), np.where(mask, 0, 1)]).astype(np.float32)
    np.save(tmp_path / "m.npy", stack)
    assert run(tmp_path, "--mask", f"{tmp_path / 'm.npy'}#1", "--mask-grow", "2") == 0
    assert np.array_equal(known_of_result(tmp_path), wanted.numpy())


@pytest.mark.parametrize(
    ("more", "operator", "message"),
    [
        (("--mask-grow", "1"), "inpainting:box=true", "--mask-grow: expected a mask, but no pixel"),
        (("--simulate", "--mask-grow", "1"), "inpainting:box=true", "got one of the operator's options; give --mask"),
        (("--mask-grow", "1"), "identity", "--mask-grow: goes with --operator inpainting"),
        (("--mask-grow", "-1"), "inpainting", "--mask-grow: expected"),
    ],
)
def test_nothing_to_grow(
    tmp_path: Path, more: tuple[str, ...], operator: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(lettered()[0]).save(tmp_path / "x.png")
    assert run(tmp_path, *more, operator=operator) == 2
    assert message in " ".join(capsys.readouterr().err.split())
