"""A solver whose network works in tiles gives the numbers of the whole, and a bound on memory is kept or refused."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from invdiff import load_prior, reconstruct, reconstruction, registry, simulate
from invdiff.commands.reconstruction import panels
from invdiff.fingerprint import fingerprint
from invdiff.memory import bounded, parse_memory
from invdiff.operators import Blur, Identity, gaussian_kernel
from invdiff.operators.blurs.borders import Border
from invdiff.priors import NetworkPrior
from invdiff.priors.network import Preconditioning
from invdiff.priors.tiling import plan, watch_tiles
from invdiff.priors.unet import UNet, UNetConfig
from invdiff.problem import Problem
from invdiff.reconstruction import mean_and_variance
from invdiff.remote import Named
from invdiff.solvers import Solver

CONFIG = UNetConfig(channels=1, patch=1, widths=(4,), encoder=(1,), decoder=(), embedding=8, noise_maps=True)
SCALING = Preconditioning(mean=0.5, std=0.25, sigma_min=0.01, sigma_max=20.0)
OPTIONS: dict[str, dict[str, object]] = {
    "dip": {"steps": 3, "width": 6, "depth": 2}, "dcps": {"steps": 3, "langevin": 2}, "daps": {"steps": 3, "moves": 3},
    "pnpdm": {"steps": 3, "moves": 3}, "auto": {"effort": "fast"}, "pinv": {},
    **{name: {"steps": 3, "particles": 2} for name in ("mcgdiff", "fps", "tds", "twisted")},
}  # fmt: skip
SIZE = (19, 14)


def network(seed: int = 0) -> NetworkPrior:
    """A network whose every weight matters; with small outputs, so that a solver does not amplify rounding."""
    torch.manual_seed(seed)
    net = UNet(CONFIG)
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1:
                p.normal_(std=0.5 * (1.0 / p[0].numel()) ** 0.5)
    return NetworkPrior(net, (1, None, None), SCALING, stride=CONFIG.stride, tile=None)


def picture() -> Tensor:
    return torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(1))


def blurred(border: Border) -> Problem:
    return simulate(Blur((1, *SIZE), kernel=gaussian_kernel(0.8, 5), border=border), picture(), 0.05)


BLURRED = {border: blurred(border) for border in get_args(Border)}
SOLVED = [(n, b) for n, s in registry.solvers.items() for b, problem in BLURRED.items() if not s.unmet(problem)]


@pytest.mark.parametrize(("name", "border"), SOLVED)
def test_tiles_give_the_numbers_of_the_whole(name: str, border: Border) -> None:
    whole = network()
    tiled = whole.within(whole.least_memory)
    seen: list[int] = []
    problem = BLURRED[border]
    solver: Solver = registry.solvers[name](**OPTIONS.get(name, {"steps": 3}))
    expected = solver(problem, whole, samples=2)
    with watch_tiles(lambda done, total: seen.append(total)):
        found = solver(problem, tiled, samples=2)
    scale = max(1.0, float(expected.samples.abs().max()))
    torch.testing.assert_close(found.samples, expected.samples, rtol=0, atol=1e-4 * scale)
    torch.testing.assert_close(found.mean, expected.mean, rtol=0, atol=1e-4 * scale)
    if expected.nfe:
        assert min(seen) > 1


@pytest.mark.parametrize("sigma", [0.05, 1.0])
def test_the_photo_network_in_tiles(sigma: float) -> None:
    prior = load_prior("photo")
    assert isinstance(prior, NetworkPrior)
    x = sigma * torch.randn(1, 3, 64, 1200, generator=torch.Generator().manual_seed(0)) + 0.5
    small = prior.within(prior.least_memory)
    for level in (torch.tensor(sigma), torch.linspace(0.5 * sigma, sigma, 1200).expand(1, 1, 64, 1200)):
        torch.testing.assert_close(small.denoise(x, level), prior.denoise(x, level), rtol=0, atol=1e-5)
    leaf = x.clone().requires_grad_()
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    products = [torch.autograd.grad(p.denoise(leaf, sigma), leaf, v)[0] for p in (small, prior)]
    torch.testing.assert_close(products[0], products[1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(300, 700), (17, 4000), (999, 1001)])
@pytest.mark.parametrize("pixels", [70_000, 200_000])
def test_cores_partition_the_picture_and_tiles_are_small(size: tuple[int, int], pixels: int) -> None:
    covered = torch.zeros(size)
    for rows, columns in plan(size, pixels, 100, 16):
        covered[rows.core, columns.core] += 1
        for span, side in ((rows, size[0]), (columns, size[1])):
            assert span.tile.start % 16 == 0
            assert span.tile.start == 0 or span.core.start - span.tile.start >= 100
            assert span.tile.stop == side or span.tile.stop - span.core.stop >= 100
        height, width = (s.tile.stop - s.tile.start for s in (rows, columns))
        assert height * width <= pixels
    assert bool((covered == 1).all())


def test_a_bound_is_kept_or_the_least_one_is_told() -> None:
    prior = load_prior("photo")
    assert isinstance(prior, NetworkPrior)
    large, small = (bounded(prior, text, (3, 3000, 4000), 1) for text in ("40GB", "4GB"))
    assert isinstance(large.tile, int) and isinstance(small.tile, int)
    assert 256 < small.tile < large.tile
    with pytest.raises(
        ValueError, match=r"memory: expected at least (\S+)GB for 1 samples of a picture of 3 x 3000"
    ) as e:
        bounded(prior, "1GB", (3, 3000, 4000), 1)
    least = str(e.value).split("at least ")[1].split(" ")[0]
    assert bounded(prior, least, (3, 3000, 4000), 1).tile is not None
    with pytest.raises(ValueError, match="memory: expected an amount such as 4GB"):
        reconstruct(simulate(Identity((1, 8, 8)), torch.zeros(1, 1, 8, 8), 0.1), "photo-gray", memory="four")


def test_a_batch_of_images_that_fit_is_not_cut() -> None:
    prior = network()
    small = prior.within(prior.least_memory)
    seen: list[int] = []
    with watch_tiles(lambda done, total: seen.append(total)):
        small.denoise(torch.rand(9, 1, 12, 12), 0.1)
        assert seen == []
        small.denoise(torch.rand(2, 1, *SIZE), 0.1)
    assert len(seen) > 1


def test_workers_take_the_same_tiles() -> None:
    prior = bounded(load_prior("photo-gray"), "2GB", (1, 2000, 2000), 1)
    assert fingerprint(Named.of("photo-gray", prior).load()) == fingerprint(prior)


@pytest.mark.parametrize(
    ("text", "value"), [("4GB", 4e9), ("512 MiB", 512 * 2**20), ("1.5e9", 1.5e9), (7.0, 7.0), ("2gb", 2e9)]
)
def test_amounts_of_memory(text: str | float, value: float) -> None:
    assert parse_memory(text) == value


@pytest.mark.parametrize("text", ["", "GB", "4XB", "-1GB", "nan", "0", "1e999", math.inf])
def test_bad_amounts_of_memory(text: str | float) -> None:
    with pytest.raises(ValueError, match="memory: expected an amount"):
        parse_memory(text)


def test_the_spread_of_large_samples_is_that_of_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = torch.randn(2, 5, 1, 6, 7, generator=torch.Generator().manual_seed(0))
    known, pair = mean_and_variance(samples), panels.most_different(samples[0])
    monkeypatch.setattr(reconstruction, "LARGE", 1)
    monkeypatch.setattr(panels, "LARGE", 1)
    for found, expected in zip(mean_and_variance(samples), known, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert panels.most_different(samples[0]) == pair
