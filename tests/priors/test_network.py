"""The network prior: conventions of the noise level, sizes, tiles, precision, files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from invdiff.operators import disk_kernel
from invdiff.priors import embedded, load_prior
from invdiff.priors.network import NetworkPrior, Preconditioning, pad_to_multiple
from invdiff.priors.tiling import denoise_tiled
from invdiff.priors.unet import UNet, UNetConfig, depth_to_space, space_to_depth

SMALL = UNetConfig(channels=3, widths=(8, 16), encoder=(1, 1), decoder=(1,), embedding=16)
SCALING = Preconditioning(mean=0.45, std=0.25, sigma_min=0.01, sigma_max=2.0)


def trained(config: UNetConfig = SMALL, seed: int = 0) -> UNet:
    """A network whose every weight matters, as after training."""
    torch.manual_seed(seed)
    net = UNet(config)
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1:
                p.normal_(std=(1.0 / p[0].numel()) ** 0.5)
    return net


def make(shape: tuple[int | None, ...] = (3, None, None), **options: object) -> NetworkPrior:
    return NetworkPrior(trained(), shape, SCALING, stride=SMALL.stride, **options)  # type: ignore[arg-type]


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sigma", [0.0, 0.01, 0.3, 2.0, 40.0])
def test_network_of_zeros_shrinks_to_the_mean(sigma: float) -> None:
    prior = NetworkPrior(UNet(SMALL), (3, None, None), SCALING, stride=4)  # its head starts at zero
    x = noise(2, 3, 8, 8)
    c_skip = 0.25**2 / (sigma**2 + 0.25**2)
    torch.testing.assert_close(prior.denoise(x, sigma), 0.45 + c_skip * (x - 0.45))


def test_preconditioning_matches_edm() -> None:
    sigma = torch.tensor([0.1, 1.0])
    c_skip, c_out, c_in, c_noise = SCALING.factors(sigma)
    # The target of the network has unit variance and its input too: equations 115 and 117 of Karras et al. (2022).
    torch.testing.assert_close(c_in**2 * (0.25**2 + sigma**2), torch.ones(2))
    torch.testing.assert_close(c_out**2, (1 - c_skip) ** 2 * 0.25**2 + c_skip**2 * sigma**2)
    torch.testing.assert_close(c_noise, sigma.log())


def test_above_its_range_it_stays_bounded() -> None:
    prior = make()
    x = noise(1, 3, 16, 16)
    at_max = (prior.denoise(0.45 + 2.0 * x, 2.0) - 0.45).abs().max()
    above = (prior.denoise(0.45 + 100.0 * x, 100.0) - 0.45).abs().max()
    assert above < 1.5 * at_max


def test_sigma_per_image_is_a_loop_over_images() -> None:
    prior = make()
    x, sigma = noise(3, 3, 12, 8), torch.tensor([0.02, 0.3, 1.5])
    together = prior.denoise(x, sigma)
    alone = torch.cat([prior.denoise(x[i : i + 1], sigma[i]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (17, 33), (4, 4)])
def test_any_size(size: tuple[int, int]) -> None:
    x = noise(1, 3, *size)
    out = make().denoise(x, 0.2)
    assert out.shape == x.shape
    assert out.isfinite().all()


def test_padding_reflects_and_keeps_the_image() -> None:
    x = noise(1, 1, 5, 8)
    y = pad_to_multiple(x, 4)
    assert y.shape == (1, 1, 8, 8)
    torch.testing.assert_close(y[..., :5, :], x)
    torch.testing.assert_close(y[..., 5:, :], x[..., [3, 2, 1], :])


def test_gradient_in_x_and_none_for_weights() -> None:
    prior = make()
    x = noise(1, 3, 8, 8).requires_grad_()
    prior.denoise(x, 0.3).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in prior.network.parameters())
    assert not prior.network.training


def test_gradient_matches_finite_differences() -> None:
    prior = make()
    x, v = noise(1, 3, 8, 8), noise(1, 3, 8, 8, seed=2)
    h = 1e-3
    x.requires_grad_()
    (grad,) = torch.autograd.grad(prior.denoise(x, 0.3).square().sum(), x)
    with torch.no_grad():
        plus, minus = (prior.denoise(x + s * h * v, 0.3).square().sum() for s in (1, -1))
    torch.testing.assert_close((grad * v).sum(), (plus - minus) / (2 * h), rtol=2e-2, atol=1e-3)


def test_types_and_bfloat16() -> None:
    x = noise(1, 3, 16, 16)
    exact = make().denoise(x, 0.3)
    assert make().denoise(x.double(), 0.3).dtype == torch.float64
    half = make(precision="bfloat16")
    out = half.denoise(x, 0.3)
    assert out.dtype == torch.float32
    assert (out - exact).norm() < 0.02 * (exact - x).norm()


@pytest.mark.parametrize("size", [(300, 700), (520, 530), (517, 903)])
def test_tiles_leave_no_seam(size: tuple[int, int]) -> None:
    x = noise(1, 3, *size)
    whole, tiled = make(tile=None).denoise(x, 0.3), make(tile=256).denoise(x, 0.3)
    # This network looks less far than the overlap, so that tiles must agree to rounding, everywhere.
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4)


def test_tiles_have_the_gradient_of_the_whole() -> None:
    x = noise(1, 3, 280, 320).requires_grad_()
    weight = noise(1, 3, 280, 320, seed=3)
    (whole,) = torch.autograd.grad((make(tile=None).denoise(x, 0.3) * weight).sum(), x)
    (tiled,) = torch.autograd.grad((make(tile=256).denoise(x, 0.3) * weight).sum(), x)
    torch.testing.assert_close(tiled, whole, rtol=1e-3, atol=1e-3)


def test_tiles_cover_an_image_of_any_size() -> None:
    for side in (257, 300, 419, 512, 1000):
        x = noise(1, 1, side, 258)
        torch.testing.assert_close(denoise_tiled(lambda z, s: 2 * z, x, torch.tensor(1.0), tile=256, stride=16), 2 * x)


def test_depth_to_space_undoes_space_to_depth() -> None:
    x = noise(2, 3, 8, 12)
    torch.testing.assert_close(depth_to_space(space_to_depth(x, 2), 2), x)


def test_save_and_load(tmp_path: Path) -> None:
    prior = make()
    file = prior.save(tmp_path / "mine")
    again = NetworkPrior.load(file)
    x = noise(1, 3, 8, 8)
    torch.testing.assert_close(again.denoise(x, 0.3), prior.denoise(x, 0.3), rtol=0, atol=0)
    assert again.shape == prior.shape
    assert again.sigma_max == 2.0
    folder = NetworkPrior.load(tmp_path, precision="bfloat16")
    assert next(folder.network.parameters()).dtype == torch.bfloat16


def test_half_precision_on_disk_costs_little(tmp_path: Path) -> None:
    prior = make()
    full, half = prior.save(tmp_path / "full"), prior.save(tmp_path / "half", half=True)
    assert half.stat().st_size < 0.7 * full.stat().st_size
    x = noise(1, 3, 16, 16)
    exact = prior.denoise(x, 0.3)
    assert (NetworkPrior.load(half).denoise(x, 0.3) - exact).norm() < 2e-3 * (exact - x).norm()


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    file = make().save(tmp_path / "mine")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256"):
        NetworkPrior.load(file)


def test_errors_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected NAME.safetensors"):
        NetworkPrior.load(tmp_path / "none")
    with pytest.raises(ValueError, match=r"expected \(B, 3, any, any\), got \(1, 1, 8, 8\)"):
        make().denoise(noise(1, 1, 8, 8), 0.1)
    with pytest.raises(ValueError, match="one noise level for each image"):
        make().denoise(noise(2, 3, 8, 8), torch.ones(3))
    with pytest.raises(ValueError, match="precision"):
        make(precision="float16")
    with pytest.raises(ValueError, match="no embedded prior 'phot'"):
        embedded.load("phot")
    with pytest.raises(ValueError, match="one entry for each level"):
        UNetConfig(widths=(8, 16), encoder=(1,), decoder=(1,))
    file = make().save(tmp_path / "mine")
    card = json.loads(file.with_suffix(".json").read_text()) | {"format": "else"}
    file.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="format"):
        NetworkPrior.load(file)


@pytest.mark.parametrize("name", embedded.names())
def test_embedded_priors_denoise(name: str) -> None:
    prior = embedded.load(name)
    channels, height, width = prior.shape
    ramp = torch.linspace(0.2, 0.8, width or 32).expand(1, channels or 3, height or 32, width or 32)
    if name == "kernel":  # defocus
        ramp = torch.nn.functional.pad(disk_kernel(6.0).float()[None, None], (8, 8, 8, 8))
        ramp = ramp / ramp.max()
    x = ramp + 0.1 * noise(*ramp.shape)
    before, after = (x - ramp).square().mean(), (prior.denoise(x, 0.1) - ramp).square().mean()
    assert after < (before if name == "fashion" else before / 4)
    assert "Licence" in embedded.card(name)


def test_an_embedded_prior_takes_options_in_its_name() -> None:
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fast, exact = (load_prior(name).denoise(x, 0.1) for name in ("photo:precision=bfloat16", "photo"))
    # Eight bits of mantissa: errors of some thousandths, neither nought nor large.
    assert 0 < float((fast - exact).abs().max()) < 0.05
    with pytest.raises(ValueError, match="did you mean 'precision'"):
        load_prior("photo:precison=bfloat16")


MAPS = dataclasses.replace(SMALL, noise_maps=True)


def with_maps(**options: Any) -> NetworkPrior:
    return NetworkPrior(trained(MAPS), (3, None, None), SCALING, stride=MAPS.stride, **options)


def two_levels(*size: int) -> Tensor:
    levels = torch.full((1, 1, *size), 0.05)
    levels[..., : size[1] // 3] = 1.0
    return levels


def test_a_constant_map_is_its_number() -> None:
    prior, x = with_maps(), noise(2, 3, 13, 10)
    for level in (0.02, 0.3):
        one, each = torch.full((1, 1, 13, 10), level), torch.full((2, 1, 13, 10), level)
        expected = prior.denoise(x, level)
        torch.testing.assert_close(prior.denoise(x, one), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(prior.denoise(x, each), expected, rtol=1e-5, atol=1e-6)
        difference = (prior.score(x, each) - prior.score(x, level)) * level**2
        torch.testing.assert_close(difference, torch.zeros_like(x), rtol=0.0, atol=1e-5)


def test_a_map_matters_and_belongs_to_its_image() -> None:
    prior, x = with_maps(), noise(2, 3, 12, 12)
    maps = torch.cat([two_levels(12, 12), two_levels(12, 12).flip(-1)])
    together = prior.denoise(x, maps)
    alone = torch.cat([prior.denoise(x[i : i + 1], maps[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    mean = maps.log().mean((1, 2, 3)).exp()
    assert float((together - prior.denoise(x, mean)).abs().max()) > 0.05
    assert float((together - prior.denoise(x, maps.flip(0))).abs().max()) > 0.05


def test_a_tile_has_its_part_of_the_map() -> None:
    x, levels = noise(2, 3, 300, 260), two_levels(300, 260) + torch.rand(2, 1, 300, 260)
    seen = []

    def denoise(part: Tensor, sigma: Tensor) -> Tensor:
        assert sigma.shape == (len(part), 1, *part.shape[-2:])
        seen.append(part.shape[-2:])
        return part / (1 + sigma**2)

    torch.testing.assert_close(denoise_tiled(denoise, x, levels, tile=256, stride=4), x / (1 + levels**2))
    assert len(seen) == 2
    prior = with_maps(tile=256)
    torch.testing.assert_close(
        prior.denoise(x, torch.full((1, 1, 300, 260), 0.2)), prior.denoise(x, 0.2), rtol=1e-4, atol=1e-5
    )


def test_a_map_is_refused_where_none_is_taken() -> None:
    x = noise(2, 3, 12, 8)
    with pytest.raises(ValueError, match=r"sigma: expected a scalar or shape \(2,\), .*needs a prior whose noise_maps"):
        make().denoise(x, torch.ones(2, 1, 12, 8))
    for shape in ((3, 1, 12, 8), (2, 3, 12, 8), (2, 1, 8, 12), (2, 1, 1, 1)):
        with pytest.raises(ValueError, match=r"or \(2, 1, 12, 8\) for the pixels, got"):
            with_maps().denoise(x, torch.ones(shape))


def test_maps_survive_a_file_and_another_precision(tmp_path: Path) -> None:
    prior = with_maps()
    prior.save(tmp_path / "maps")
    loaded = NetworkPrior.load(tmp_path / "maps")
    x, levels = noise(1, 3, 8, 8), two_levels(8, 8)
    assert loaded.noise_maps and loaded.with_precision("bfloat16").noise_maps and not make().noise_maps
    torch.testing.assert_close(loaded.denoise(x, levels), prior.denoise(x, levels))
    torch.testing.assert_close(
        loaded.with_precision("bfloat16").denoise(x, levels), prior.denoise(x, levels), atol=0.1, rtol=0.1
    )
