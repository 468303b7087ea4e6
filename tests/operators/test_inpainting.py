from __future__ import annotations

import pytest
import torch

from invdiff.operators import Identity, Inpainting, box_mask, random_mask


def test_zeros_where_pixels_are_missing() -> None:
    mask = box_mask((4, 6), size=(2, 3), corner=(1, 2))
    a = Inpainting(mask, channels=3)
    x = torch.rand(2, 3, 4, 6)
    y = a(x)
    assert torch.equal(y == 0, (~mask).expand(2, 3, 4, 6))
    assert torch.equal(a.observed, mask[None])
    assert torch.equal(y[:, :, mask], x[:, :, mask])
    assert torch.equal(a.pinv(torch.ones(2, 3, 4, 6)), mask.float().expand(2, 3, 4, 6))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_types_of_masks(dtype: torch.dtype) -> None:
    mask = random_mask((5, 6), missing=0.5)
    assert torch.equal(Inpainting(mask.to(dtype)).mask, mask[None])


def test_masks_and_channels() -> None:
    assert Inpainting(torch.ones(4, 6)).in_shape == (1, 4, 6)
    assert Inpainting(torch.ones(1, 4, 6), channels=3).in_shape == (3, 4, 6)
    assert Inpainting(torch.ones(3, 4, 6)).in_shape == (3, 4, 6)
    with pytest.raises(ValueError, match="channels: expected 3"):
        Inpainting(torch.ones(3, 4, 6), channels=2)


def test_bad_masks() -> None:
    with pytest.raises(ValueError, match=r"threshold it"):
        Inpainting(torch.full((4, 4), 0.5))
    with pytest.raises(ValueError, match=r"got nan"):
        Inpainting(torch.full((4, 4), float("nan")))
    with pytest.raises(ValueError, match="shape"):
        Inpainting(torch.ones(4))
    with pytest.raises(ValueError, match="empty"):
        Inpainting(torch.ones(0, 4))
    with pytest.raises(TypeError, match="as_tensor"):
        Inpainting([[1, 0]])  # type: ignore[arg-type]


def test_box() -> None:
    assert int((~box_mask((9, 8), size=4)).sum()) == 16
    with pytest.raises(ValueError, match="inside the image"):
        box_mask((4, 4), size=5)
    with pytest.raises(ValueError, match="inside the image"):
        box_mask((4, 4), size=2, corner=(3, 0))


def test_random() -> None:
    a, b, c = (random_mask((64, 64), missing=0.7, seed=s) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert abs(float(a.double().mean()) - 0.3) < 4 * (0.21 / 4096) ** 0.5
    assert bool(random_mask((8, 8), missing=0).all())
    assert not bool(random_mask((8, 8), missing=1).any())
    with pytest.raises(ValueError, match="probability"):
        random_mask((4, 4), missing=70)


def test_identity() -> None:
    a = Identity((2, 3, 4))
    x = torch.rand(2, 2, 3, 4)
    assert torch.equal(a(x), x)
    torch.testing.assert_close(a.solve(x, torch.tensor([1.0, 3.0]))[1], x[1] / 4)
    with pytest.raises(ValueError, match="rho"):
        a.solve(x, 0.0)
    with pytest.raises(TypeError, match="floating-point"):
        a(torch.ones(1, 2, 3, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="add the batch axis"):
        a(x[0])
