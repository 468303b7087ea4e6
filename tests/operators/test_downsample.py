from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from invdiff.operators import Downsample


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize(
    ("kernel", "resample"), [("bicubic", Image.Resampling.BICUBIC), ("average", Image.Resampling.BOX)]
)
def test_equals_pillow(factor: int, kernel: str, resample: Image.Resampling) -> None:
    h, w = 5 * factor, 7 * factor
    x = torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(0))
    a = Downsample((1, h, w), factor=factor, kernel=kernel)  # type: ignore[arg-type]
    want = np.asarray(Image.fromarray(x[0, 0].numpy()).resize((7, 5), resample))
    np.testing.assert_allclose(a(x)[0, 0].numpy(), want, atol=1e-5)


def test_partial_blocks_average_the_pixels_that_exist() -> None:
    x = torch.arange(7.0).reshape(1, 1, 1, 7)
    y = Downsample((1, 1, 7), factor=3, kernel="average")(x)
    torch.testing.assert_close(y.flatten(), torch.tensor([1.0, 4.0, 6.0]))


@pytest.mark.parametrize("kernel", ["bicubic", "average", torch.tensor([1.0, 1.0])])
@pytest.mark.parametrize("size", [(7, 9), (1, 5), (13, 2)])
@pytest.mark.parametrize("factor", [2, 3, 9])
def test_keeps_constants_at_any_size(kernel: str, size: tuple[int, int], factor: int) -> None:
    a = Downsample((2, *size), factor=factor, kernel=kernel)  # type: ignore[arg-type]
    assert a.out_shape == (2, -(-size[0] // factor), -(-size[1] // factor))
    y = a(torch.full((1, 2, *size), 0.3, dtype=torch.float64))
    torch.testing.assert_close(y, torch.full_like(y, 0.3))


def test_own_kernels() -> None:
    x = torch.rand(1, 1, 8, 8)
    box = Downsample((1, 8, 8), factor=2, kernel=torch.ones(2, 2))
    torch.testing.assert_close(box(x), Downsample((1, 8, 8), factor=2, kernel="average")(x))
    pick = Downsample((1, 9, 9), factor=3, kernel=torch.ones(1))
    x = torch.rand(1, 1, 9, 9)
    torch.testing.assert_close(pick(x), x[..., 1::3, 1::3])


def test_kernels_that_are_no_product() -> None:
    k = torch.eye(3)
    x = torch.rand(1, 1, 9, 9)
    got = Downsample((1, 9, 9), factor=3, kernel=k)(x)
    want = torch.stack([x[..., i::3, i::3] for i in range(3)]).mean(0)
    torch.testing.assert_close(got, want)
    almost = torch.outer(torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 3.0, 1.0])).double()
    bent = almost.clone()
    bent[0, 0] += 1e-3  # no product any more, but nearly the same
    for size in ((8, 11), (1, 5)):
        x = torch.rand(2, 1, *size, dtype=torch.float64)
        one, two = (Downsample((1, *size), factor=2, kernel=kernel) for kernel in (almost, bent))
        assert one.svd is not None
        assert two.svd is None
        torch.testing.assert_close(one(x), two(x), rtol=0, atol=1e-3)


def test_average_has_a_closed_form_at_any_size() -> None:
    assert Downsample((1, 2, 3000), factor=4, kernel="average").svd is not None
    assert Downsample((1, 2, 3000), factor=4, kernel="bicubic").svd is not None
    assert Downsample((1, 2, 9000), factor=4, kernel="bicubic").svd is None


@pytest.mark.parametrize("factor", [0, -2, 1.5, True, "4"])
def test_bad_factor(factor: int) -> None:
    with pytest.raises(ValueError, match="factor: expected a positive integer"):
        Downsample((1, 8, 8), factor=factor)


def test_bad_kernels() -> None:
    with pytest.raises(ValueError, match="'bicubic', 'average' or a tensor"):
        Downsample((1, 8, 8), factor=2, kernel="lanczos")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sum other than zero"):
        Downsample((1, 8, 8), factor=2, kernel=torch.eye(2) - 0.5)
    with pytest.raises(ValueError, match="sum other than zero"):
        Downsample((1, 8, 8), factor=2, kernel=torch.tensor([1.0, -1.0]))
    with pytest.raises(TypeError, match="a name or a tensor"):
        Downsample((1, 8, 8), factor=2, kernel=3)  # type: ignore[arg-type]
