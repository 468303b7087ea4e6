"""LPIPS with weights of our own making: the wiring is tested, not the published network, which is not downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchmetrics.functional.image as functional
from torchvision.models import alexnet

from invdiff.metrics import LPIPSUnavailable, lpips, perceptual


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    perceptual._metric.cache_clear()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    yield tmp_path / "hub" / "checkpoints"
    perceptual._metric.cache_clear()


def image(seed: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 40, 33, generator=torch.Generator().manual_seed(seed))


def test_it_says_plainly_that_the_weights_are_not_there(checkpoints: Path) -> None:
    with pytest.raises(LPIPSUnavailable, match=r"weights of AlexNet at .*alexnet-owt.*, found none, and nothing"):
        lpips(image(0), image(1))
    assert list(checkpoints.iterdir()) == []
    (checkpoints / perceptual.ALEXNET).write_bytes(b"not weights")
    with pytest.raises(LPIPSUnavailable, match="cannot be read as weights of AlexNet"):
        lpips(image(0), image(1))


def test_it_is_the_formula_with_the_weights_that_are_there(checkpoints: Path) -> None:
    torch.manual_seed(0)
    network = alexnet(weights=None)
    torch.save(network.state_dict(), checkpoints / perceptual.ALEXNET)
    x, ref = image(0), image(1)
    got = lpips(x, ref)
    folder = Path(functional.__file__).parent / "lpips_models"
    weights = list(torch.load(folder / "alex.pth", map_location="cpu", weights_only=True).values())
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = ((2 * t - 1 - shift[:, None, None]) / scale[:, None, None] for t in (x, ref))
    wanted, depth = torch.zeros(2, dtype=torch.float64), 0
    with torch.no_grad():
        for layer in network.features[:12]:
            layer.inplace = False
            a, b = layer(a), layer(b)
            if isinstance(layer, torch.nn.ReLU):
                unit = [t / (1e-8 + t.square().sum(1, keepdim=True)).sqrt() for t in (a, b)]
                wanted += (weights[depth] * (unit[0] - unit[1]).square()).sum(1).mean((1, 2)).double()
                depth += 1
    assert depth == 5
    assert torch.allclose(got, wanted, rtol=1e-3)
    assert torch.equal(lpips(x[1:], ref[1:]), got[1:])  # alone as in a batch, and twice the same
    gray = lpips(image(0, 1), image(1, 1))
    assert torch.allclose(gray, lpips(image(0, 1).expand(-1, 3, -1, -1), image(1, 1).expand(-1, 3, -1, -1)))


def test_images_that_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="1 or 3 channels of at least 32 x 32 pixels"):
        lpips(torch.zeros(1, 2, 40, 40), torch.zeros(1, 2, 40, 40))
