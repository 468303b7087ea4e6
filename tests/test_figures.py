from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invdiff.figures import Panel, comparison, heat, sheet, write_sheet


def test_small_images_are_enlarged_by_whole_factors() -> None:
    x = torch.rand(1, 33, 47, generator=torch.Generator().manual_seed(0))
    figure = np.asarray(comparison([[Panel("x", x)]]))[..., 0]
    levels = (x[0] * 255).round().byte().numpy()
    k = 400 // 47
    enlarged = levels.repeat(k, axis=0).repeat(k, axis=1)
    found = np.lib.stride_tricks.sliding_window_view(figure[:60], (1, enlarged.shape[1]))
    assert (found[:, :, 0] == enlarged[0]).all(-1).any(), "the first row of pixels is not in the figure as it is"


def test_any_mixture_of_sizes_and_channels() -> None:
    rows = [
        [
            Panel("a", torch.rand(3, 501, 299), "caption"),
            Panel("b", torch.rand(1, 40, 169)),
            Panel("c", torch.rand(3, 9, 5)),
        ],
        [Panel("std", torch.rand(501, 299), white=0.5), Panel("zero", torch.zeros(1, 501, 299), white=0.0)],
    ]
    figure = comparison(rows, title="title " * 30, subtitle="words")
    assert figure.mode == "RGB"
    assert figure.height > 2 * 400
    with pytest.raises(ValueError, match="expected at least one panel"):
        comparison([])


def test_colours_of_magnitudes_grow_lighter() -> None:
    ramp = heat(np.linspace(0, 1, 50)[None])[0].astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(ramp) > 0).all()
    assert np.array_equal(heat(np.array([[-1.0, 2.0]])), heat(np.array([[0.0, 1.0]])))


def test_a_sheet_shows_each_image_where_it_belongs() -> None:
    x = torch.arange(5.0)[:, None, None, None].expand(5, 1, 2, 3) / 10
    pixels = np.asarray(sheet(x))
    assert pixels.shape == (2 * 2 + 1, 3 * 3 + 2)
    assert pixels[0, [0, 4, 8]].tolist() == [0, 26, 51]
    assert pixels[3, [0, 4]].tolist() == [77, 102]
    assert pixels[2, 0] == pixels[0, 3] == pixels[4, 10] == 255
    colour = np.asarray(sheet(torch.tensor([[[[-1.0]], [[0.5]], [[2.0]]]])))
    assert colour[0, 0].tolist() == [0, 128, 255]
    with pytest.raises(ValueError, match="1 or 3"):
        sheet(torch.zeros(2, 2, 4, 4))


def test_sheets_are_enlarged_by_whole_factors(tmp_path: Path) -> None:
    write_sheet(torch.rand(4, 1, 5, 5), tmp_path / "a.png", pixels=40)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (33, 33)
        pixels = np.asarray(image)
    assert bool((pixels[:3, :3] == pixels[0, 0]).all())
