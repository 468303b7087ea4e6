from __future__ import annotations

import numpy as np
import pytest
import torch

from invdiff.figures import Panel, comparison, heat


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
