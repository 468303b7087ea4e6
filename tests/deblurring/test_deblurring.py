"""Kernels of any shape: the parts of the estimate, and the estimate itself on pictures of known blur."""

from __future__ import annotations

import pytest
import torch
from skimage import data
from torch import Tensor

from invdiff.deblurring import KernelEstimate, deblurred, estimate_kernel, estimate_with_spread, kernel_similarity
from invdiff.deblurring.estimate import GIBBS_SIDE
from invdiff.deblurring.gibbs import sampled_kernel
from invdiff.deblurring.kernel_posterior import SUM, draw, normal_equations
from invdiff.deblurring.kernel_step import fitted_kernel
from invdiff.deblurring.regions import gray_light, guessed_size, textured_regions
from invdiff.deblurring.shapes import aligned, extent, pruned, recentred, resized
from invdiff.deblurring.valid import ValidConvolution
from invdiff.deblurring.variational import gradients
from invdiff.deblurring.whitener import filtered, whitener
from invdiff.operators import Blur, gaussian_kernel, shake_kernel, uniform_kernel
from invdiff.priors import load_prior
from invdiff.problem import Problem, simulate
from invdiff.reconstruction import Reconstruction
from invdiff.streams import generator


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def blocks(side: int, seed: int = 0) -> Tensor:
    """Return a picture of overlapping rectangles, which has edges in all places, `(1, 1, side, side)`."""
    g = torch.Generator().manual_seed(seed)
    x = torch.full((side, side), 0.5)
    for _ in range(side):
        top, left = torch.randint(0, side, (2,), generator=g).tolist()
        h, w = torch.randint(4, side // 4, (2,), generator=g).tolist()
        x[top : top + h, left : left + w] = torch.rand((), generator=g)
    return x[None, None]


def blurred(side: int, kernel: Tensor, noise: float, seed: int = 0) -> Tensor:
    x = blocks(side + kernel.shape[-1] - 1, seed)
    y = Blur(tuple(x.shape[1:]), kernel=kernel, border="valid")(x)
    return (y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed + 1)))[0]


def test_the_convolution_is_that_of_the_operator_and_has_both_transposes() -> None:
    x, k, y = random(2, 12, 15), random(5, 5, seed=1), random(2, 8, 11, seed=2)
    conv = ValidConvolution(8, 11, 5)
    blur = Blur((2, 12, 15), kernel=k, border="valid")
    xs, ks = conv.spectrum(x), conv.spectrum(k)
    torch.testing.assert_close(conv.forward(xs, ks), blur(x[None])[0])
    torch.testing.assert_close(conv.to_image(y, ks), blur.adjoint(y[None])[0])
    assert float((conv.forward(xs, ks) * y).sum()) == pytest.approx(float((conv.to_kernel(y, xs) * k).sum()), rel=1e-10)


def test_the_kernel_of_a_known_image_is_found() -> None:
    k = shake_kernel(7, seed=2)
    x = random(2, 40, 40)
    y = Blur((2, 40, 40), kernel=k, border="valid")(x[None])[0]
    conv = ValidConvolution(34, 34, 7)
    found = fitted_kernel(conv, y, conv.spectrum(x), torch.zeros_like(k), torch.full_like(k, 1 / 49), steps=200)
    torch.testing.assert_close(found, k, rtol=0, atol=1e-5)


def test_parts_of_kernels() -> None:
    k = torch.zeros(9, 9)
    k[1, 2:5], k[7, 7], k[4, 4] = 1.0, 0.2, 0.01
    small = pruned(k, 0.1, 0.1)
    assert float(small.sum()) == pytest.approx(1)
    assert int((small > 0).sum()) == 3  # the weak pixel and the small part are gone
    centred, shift = recentred(small)
    assert shift == (3, 1)
    assert float(centred[4, 3:6].sum()) == pytest.approx(1)
    assert extent(centred) == 3
    assert extent(0.99 * centred + 0.01 / 81) == 3  # little light far away does not count
    torch.testing.assert_close(aligned(small, centred), centred)
    assert kernel_similarity(small, centred) == pytest.approx(1)
    assert kernel_similarity(small, torch.ones(1, 1)) == pytest.approx(3**-0.5)
    assert float(resized(centred, 17).sum()) == pytest.approx(1)
    assert pruned(k, 0.1, 0.99).sum() == pytest.approx(1)  # the largest part always stays


def test_the_kernel_of_a_picture_with_edges_is_found() -> None:
    kernel = shake_kernel(13, extent=9, seed=1)
    found = estimate_kernel(blurred(96, kernel, 0.005), 13, 0.005)
    assert kernel_similarity(found, kernel) > 0.85
    assert kernel_similarity(torch.ones(1, 1), kernel) < 0.6  # the no-blur solution would fail
    assert bool((found >= 0).all())
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)


def test_the_networks_find_the_kernel_of_a_photograph() -> None:
    kernel = shake_kernel(13, extent=9, seed=5).float()
    x = torch.nn.functional.avg_pool2d(torch.from_numpy(data.camera() / 255).float()[None, None], 2)[
        ..., 40:152, 60:172
    ]
    y = simulate(Blur((1, 112, 112), kernel=kernel, border="valid"), x, 0.005, seed=0).measurement[0]
    prior, kernels, start = load_prior("photo-gray"), load_prior("kernel"), gaussian_kernel(2.0, 13).float()
    found = sampled_kernel(y, start, 0.005, prior, kernels, passes=1)
    assert kernel_similarity(found, kernel) > kernel_similarity(start, kernel) + 0.08
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(found, sampled_kernel(y, start, 0.005, prior, kernels, passes=1))


def test_a_window_that_is_too_large_is_sampled_in_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = shake_kernel(13, extent=9, seed=1)
    seen: list[int] = []

    def instead(y: Tensor, kernel: Tensor, *_: object, **__: object) -> Tensor:
        seen.append(len(kernel))
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
        return kernel

    monkeypatch.setattr("invdiff.deblurring.estimate.sampled_kernel", instead)
    y = blurred(110, kernel, 0.005)
    found = estimate_kernel(y, 35, 0.005, load_prior("photo-gray"), sweeps=5)
    assert found.shape == (35, 35)
    assert len(seen) == 2
    assert seen[0] <= GIBBS_SIDE
    assert seen[1] == GIBBS_SIDE
    estimate_kernel(y, 13, 0.005, load_prior("photo-gray"), sweeps=5)
    assert seen[2:] == [13]


def test_the_normal_equations_are_those_of_the_map() -> None:
    conv = ValidConvolution(9, 8, 3)
    x, y = random(2, 11, 10).float(), random(2, 9, 8).float()
    units = torch.eye(9).view(9, 3, 3)
    columns = torch.stack([conv.forward(conv.spectrum(x), conv.spectrum(u)).flatten() for u in units], 1)
    precision, b = normal_equations(conv, y, conv.spectrum(x))
    ones = torch.ones(9)
    torch.testing.assert_close(precision, columns.T @ columns + torch.outer(ones, ones) / SUM**2)
    torch.testing.assert_close(b, columns.T @ y.flatten() + ones / SUM**2)


def test_a_drawn_kernel_follows_strong_data_and_is_helped_by_the_prior() -> None:
    kernel = shake_kernel(9, extent=6, seed=1).float()
    precision = torch.eye(81) * 3000.0**2 + SUM**-2
    b = precision @ kernel.flatten()
    draws = torch.stack(
        [draw(precision, b, float(kernel.max()), load_prior("kernel"), generator(seed)) for seed in range(20)]
    )
    torch.testing.assert_close(draws.mean(0), kernel, atol=0.001, rtol=0)
    kernel = shake_kernel(25, extent=18, seed=1).float()
    noisy = kernel + 0.03 * random(25, 25).float()
    weak = (torch.eye(625) + 1.0) / 0.03**2
    found = [
        draw(weak, weak @ noisy.flatten(), float(kernel.max()), load_prior("kernel"), generator(seed))
        for seed in range(4)
    ]
    helped = sum(kernel_similarity(k, kernel) for k in found) / 4
    assert helped > kernel_similarity(noisy.clamp(min=0), kernel) + 0.03
    assert float(found[0].sum()) == pytest.approx(1, abs=1e-5)


def test_a_whitened_residual_is_white() -> None:
    noise = random(1, 130, 130).float() - 0.5
    smooth = torch.nn.functional.avg_pool2d(noise, 2, stride=1)
    white = filtered(smooth, whitener(smooth))
    before, after = (
        float((z[..., 1:] * z[..., :-1]).mean() / z.square().mean()) for z in (smooth - smooth.mean(), white)
    )
    assert before > 0.4
    assert abs(after) < 0.1
    assert 0.8 < float(white.std()) < 1.2


def test_the_spread_is_that_of_the_parts() -> None:
    kernel = shake_kernel(9, extent=6, seed=1)
    parts = torch.cat([blurred(64, kernel, 0.01, seed=s) for s in (0, 5)])
    found = estimate_with_spread(parts, 9, 0.01, sweeps=10)
    assert found.members.shape == (3, 9, 9)
    assert torch.equal(found.members[0], found.kernel)
    expected = ((found.members[1:] - found.kernel) ** 2).mean(0).sqrt()
    torch.testing.assert_close(found.std, expected)
    assert 0 < found.agreement <= 1
    assert len(estimate_with_spread(parts[:1], 9, 0.01, sweeps=5).members) == 3


def test_samples_have_the_kernels_of_the_members_and_the_size_of_the_picture() -> None:
    kernels = torch.stack([uniform_kernel(3).float(), torch.nn.functional.pad(torch.ones(1, 1), (1, 1, 1, 1))])
    seen: list[tuple[Tensor, int]] = []

    def solve(problem: Problem, count: int, member: int) -> Reconstruction:
        assert isinstance(problem.operator, Blur)
        seen.append((problem.operator.kernel[0], count))
        x = torch.full((1, count, *problem.operator.in_shape), float(member))
        return Reconstruction(x, nfe=7, seconds=1.0, status=["ok", "misfit"][member], message="m" * member)

    result = deblurred(torch.zeros(1, 3, 10, 12), KernelEstimate(kernels[0], kernels), 0.1, solve, samples=3)
    assert result.samples.shape == (1, 3, 3, 10, 12)
    assert [c for _, c in seen] == [2, 1]
    torch.testing.assert_close(seen[1][0].float(), kernels[1])
    torch.testing.assert_close(result.mean, torch.full((1, 3, 10, 12), 1 / 3))
    assert (result.status, result.seconds) == ("misfit", 2.0)


def test_regions_are_where_texture_is() -> None:
    light = torch.full((120, 200), 0.5)
    light[:60, 130:190] = random(60, 60).float() * 0.1
    found = textured_regions(light, 60, 2)
    assert found.shape == (2, 60, 60)
    assert float(gradients(found[:1]).std()) > 0.1
    assert float(gradients(found[1:]).std()) < 0.5 * float(gradients(found[:1]).std())
    assert textured_regions(light, 500, 3).shape == (1, 120, 120)


def test_light_is_a_power_of_the_luma() -> None:
    x = torch.full((1, 3, 4, 4), 0.5)
    torch.testing.assert_close(gray_light(x, 1.0), torch.full((4, 4), 0.5))
    assert float(gray_light(x, 2.2)[0, 0]) == pytest.approx(0.5**2.2, abs=2e-3)


def test_the_size_is_guessed_with_a_margin() -> None:
    y = blurred(160, shake_kernel(25, extent=14, seed=4), 0.005)
    assert 13 <= guessed_size(y[0], 0.005) <= 21
    with pytest.raises(ValueError, match="at least 30"):
        guessed_size(y[0, :20, :20], 0.005)


@pytest.mark.parametrize(
    ("y", "size", "noise", "message"),
    [
        (torch.zeros(64, 64), 9, 0.1, "gray pictures"),
        (random(1, 64, 64), 8, 0.1, "take 9"),
        (random(1, 20, 20), 9, 0.1, "at most a third"),
        (random(1, 64, 64), 9, 0.0, "positive standard deviation"),
        (torch.zeros(1, 64, 64), 9, 0.1, "edges"),
    ],
)
def test_bad_input(y: Tensor, size: int, noise: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_kernel(y, size, noise)
