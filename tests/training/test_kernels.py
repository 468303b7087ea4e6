"""The drawn kernels that the prior `kernel` was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from invdiff.images import open_image
from invdiff.training.kernels import draw_kernel, main


def test_kernels_are_drawn_alike_and_in_range() -> None:
    kernels = [draw_kernel(i) for i in range(40)]
    assert all(k.shape == (32, 32) and k.min() >= 0 and 0.55 < k.max() <= 1 for k in kernels)
    assert all(np.array_equal(k, draw_kernel(i)) for i, k in enumerate(kernels[:5]))
    widths = [int((k > 0.1).any(0).sum()) for k in kernels]
    assert min(widths) <= 4
    assert max(widths) >= 15


def test_the_images_hold_the_kernels(tmp_path: Path) -> None:
    main(["--out", str(tmp_path / "kernels"), "--count", "2", "--first", "7"])
    files = sorted((tmp_path / "kernels").iterdir())
    assert [f.name for f in files] == ["000007.png", "000008.png"]
    np.testing.assert_allclose(open_image(files[0]).image[0, 0].numpy(), draw_kernel(7), atol=1e-6)
