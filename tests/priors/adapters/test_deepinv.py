"""deepinv's denoisers as priors, against deepinv itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.models import DnCNN, DRUNet, NCSNpp

from invdiff.priors import from_deepinv, load_prior

SMALL: dict[str, Any] = {"nc": (4, 8, 8, 12), "nb": 2, "pretrained": None}


def alike(prior: Any, model: Any, channels: int, sides: tuple[int, int] = (24, 32)) -> None:
    x = torch.rand(2, channels, *sides, generator=torch.Generator().manual_seed(0))
    for sigma in np.geomspace(1.01 * prior.sigma_min, 0.99 * prior.sigma_max, 10).tolist():
        levels = torch.tensor([sigma, prior.sigma_min])
        with torch.no_grad():
            want = torch.cat([model(x[i : i + 1], float(levels[i])) for i in range(2)])
        assert (prior.denoise(x, levels) - want).abs().max() < 1e-5
        assert (want[0] - want[1]).abs().max() > 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_drunet_object_and_file(channels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DRUNet(channels, channels, **SMALL).eval()
    prior = from_deepinv(model)
    assert prior.shape == (channels, None, None)
    assert prior.sigma_max == pytest.approx(20 / 255)
    alike(prior, model, channels)
    torch.save(model.state_dict(), tmp_path / "drunet_color.pth")
    loaded = load_prior(tmp_path / "drunet_color.pth")
    assert loaded.shape == (channels, None, None)
    assert loaded.sigma_max == pytest.approx(50 / 255)
    alike(loaded, model, channels)
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    with pytest.raises(ValueError, match="sigma_max: expected the highest noise level of its training"):
        load_prior(tmp_path / "mine.pth")
    assert load_prior(f"{tmp_path}/mine.pth:sigma_max=0.5").sigma_max == pytest.approx(0.5)


def test_beyond_its_levels_a_denoiser_is_told_the_nearest() -> None:
    torch.manual_seed(0)
    model = DRUNet(1, 1, **SMALL).eval()
    prior = from_deepinv(model, sigma_max=0.2)
    x = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(prior.denoise(x, 7.0), model(x, 0.2), atol=1e-6)


def test_dncnn(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DnCNN(1, 1, depth=4, nf=8, pretrained=None).eval()
    torch.save(model.state_dict(), tmp_path / "dncnn_sigma2_gray.pth")
    prior, x = load_prior(tmp_path / "dncnn_sigma2_gray.pth"), torch.rand(1, 1, 9, 13)
    with torch.no_grad():
        assert torch.allclose(prior.denoise(x, 2 / 255), model(x), atol=1e-6)
    assert prior.sigma_max == pytest.approx(2 / 255)
    broken = model.state_dict()
    broken["conv_list.1.weight"] = torch.zeros(3, 8, 3, 3)
    torch.save(broken, tmp_path / "dncnn_sigma2_gray.pth")
    with pytest.raises(ValueError, match=r"expected weights of deepinv's DnCNN: size mismatch for conv_list.1"):
        load_prior(tmp_path / "dncnn_sigma2_gray.pth")


def test_ncsnpp_object_and_the_same_weights_by_our_loader(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = NCSNpp(
        "ddpm", img_resolution=16, model_channels=128, channel_mult=(1, 1), num_blocks=1, attn_resolutions=(8,),
        pretrained=None, _was_trained_on_minus_one_one=True, pixel_std=0.5,
    ).eval()  # fmt: skip
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.05)
    prior = from_deepinv(model)
    assert (prior.shape, prior.sigma_min, prior.sigma_max) == ((3, 16, 16), 0.001, 40.0)
    alike(prior, model, 3, (16, 16))
    torch.save(model.state_dict(), tmp_path / "edm.pt")
    ours, x = load_prior(tmp_path / "edm.pt"), torch.rand(2, 3, 16, 16)
    for sigma in np.geomspace(0.01, 10, 10).tolist():
        with torch.no_grad():
            assert (ours.denoise(x, sigma) - model(x, sigma)).abs().max() < 1e-5


@pytest.mark.slow
def test_diffunet_object_and_the_same_weights_by_our_loader(tmp_path: Path) -> None:
    """At a level of its chain both are what deepinv rounds every level to, up to its float32 tables."""
    from deepinv.models import DiffUNet

    torch.manual_seed(0)
    model = DiffUNet(pretrained=None).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.02)
    prior = from_deepinv(model, (3, 32, 32))
    weights = {k: v for k, v in model.state_dict().items() if "alphas_cumprod" not in k}
    torch.save(weights, tmp_path / "diffusion_ffhq_10m.pt")
    loaded = load_prior(tmp_path / "diffusion_ffhq_10m.pt", image_size=32)
    abar = (1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)).cumprod(0)
    x = torch.rand(1, 3, 32, 32)
    for k in torch.linspace(0, 900, 10).long().tolist():
        sigma = float((1 / abar[k] - 1).sqrt()) / 2
        with torch.no_grad():
            want, got = model(x, sigma), prior.denoise(x, sigma)
        assert (got - want).abs().max() < 1e-4
        assert (loaded.denoise(x, sigma) - got).abs().max() < 1e-5


def test_bad_input() -> None:
    with pytest.raises(TypeError, match=r"expected a deepinv.models.Denoiser, got Identity"):
        from_deepinv(torch.nn.Identity())
    from deepinv.models import MedianFilter

    with pytest.raises(ValueError, match=r"sigma_min, sigma_max: .* that MedianFilter was trained for"):
        from_deepinv(MedianFilter())
    with pytest.raises(ValueError, match=r"shape: expected \(C, H, W\), None for any size, for MedianFilter"):
        from_deepinv(MedianFilter(), sigma_min=0.01, sigma_max=0.1)
