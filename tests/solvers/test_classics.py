"""Total variation against a library and its conditions of optimality; the deep image prior on a drawing."""

import math

import pytest
import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from invdiff import load_prior, simulate
from invdiff.metrics import psnr
from invdiff.operators import Blur, Identity, Inpainting, Operator, gaussian_kernel
from invdiff.solvers import DeepImagePrior, PseudoInverse, TotalVariation
from invdiff.solvers.common.hourglass import Hourglass
from invdiff.solvers.tv import gradient, gradient_adjoint


def drawing(side: int, channels: int = 1) -> Tensor:
    """Discs and a bar on a ramp, in float64."""
    grid = torch.linspace(0, 1, side, dtype=torch.float64)
    v, u = torch.meshgrid(grid, grid, indexing="ij")
    x = 0.2 + 0.2 * u
    x = torch.where((u - 0.35) ** 2 + (v - 0.4) ** 2 < 0.05, 0.9, x)
    x = torch.where((u > 0.7) & (u < 0.85), 0.1, x)
    return torch.stack([x, 1 - x, 0.5 * x + 0.2][:channels])[None]


def variation(x: Tensor) -> Tensor:
    return gradient(x).square().sum((1, 2)).sqrt().sum()


def test_a_pseudo_inverse_that_blows_noise_up_has_not_diverged() -> None:
    x = drawing(32)
    problem = simulate(Blur((1, 32, 32), kernel=gaussian_kernel(1.5), border="circular"), x, 0.02)
    result = PseudoInverse()(problem, load_prior("gaussian"))
    assert result.status == "ok", result.message
    assert float(result.samples.abs().max()) > 1e3
    residual = problem.residual(result.samples[:, 0])  # what the inverse leaves out, below 1e-6 of the largest
    assert float(residual.square().mean()) < 0.02**2


def test_gradient_and_its_adjoint_pass_the_dot_test() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 4, generator=g, dtype=torch.float64)
    q = torch.randn(2, 2, 3, 5, 4, generator=g, dtype=torch.float64)
    assert float((gradient(x) * q).sum()) == pytest.approx(float((x * gradient_adjoint(q)).sum()), rel=1e-12)


def test_total_variation_is_least_among_images_that_fit() -> None:
    """Of all images within the noise of the data, none has less variation: not skimage's, and none nearby."""
    x, std = drawing(24), 0.1
    problem = simulate(Identity((1, 24, 24)), x, std, seed=1)
    got = TotalVariation(steps=2000)(problem, load_prior("gaussian")).samples[0]
    radius = std * 24
    assert float((got - problem.measurement).norm()) == pytest.approx(radius, rel=1e-3)
    low, high = 1e-3, 1.0
    for _ in range(25):  # skimage's weight that leaves the same residual
        weight = math.sqrt(low * high)
        other = torch.from_numpy(
            denoise_tv_chambolle(problem.measurement[0, 0].numpy(), weight=weight, eps=1e-7, max_num_iter=1000)
        )[None, None]
        low, high = (weight, high) if float((other - problem.measurement).norm()) < radius else (low, weight)
    assert float(variation(got)) < 1.001 * float(variation(other))
    assert float((got - other).abs().max()) < 0.05
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        near = got + 1e-3 * torch.randn(got.shape, generator=g, dtype=torch.float64)
        r = near - problem.measurement
        near = problem.measurement + r * min(1.0, radius / float(r.norm()))
        assert float(variation(near)) > float(variation(got))
    assert float(psnr(got, x)) > float(psnr(problem.measurement, x)) + 5


@pytest.mark.parametrize("std", [0.0, 0.02])
def test_total_variation_with_any_linear_operator(std: float) -> None:
    x = drawing(24, 3)
    mask = torch.rand(24, 24, generator=torch.Generator().manual_seed(0)) > 0.5
    blur = Blur((3, 24, 24), kernel=torch.ones(3, 3) / 9)
    prior = load_prior("gaussian")
    for operator in (Inpainting(mask, channels=3), blur, 30 * blur):
        gain = 30 if operator not in (blur,) and not isinstance(operator, Inpainting) else 1
        problem = simulate(operator, x, std * gain)
        got = TotalVariation(steps=300)(problem, prior).samples[0]
        assert float(psnr(got, x)) > 24
        count = problem.measurement.numel() if operator.observed is None else 3 * int(mask.sum())
        assert float(problem.residual(got).norm()) < gain * (std * math.sqrt(count) * 1.01 + 0.05)


def test_total_variation_of_nothing() -> None:
    prior = load_prior("gaussian")
    for operator in (Inpainting(torch.zeros(4, 5)), Identity((1, 1, 1))):
        problem = simulate(operator, torch.full((2, *operator.in_shape), 0.5), 0.1)
        result = TotalVariation(steps=20)(problem, prior, samples=2)
        assert result.status == "ok"
        assert torch.equal(result.samples[:, 0], result.samples[:, 1])


def test_hourglass_makes_images_of_any_size() -> None:
    for shape in ((1, 1, 1), (3, 5, 17), (2, 16, 8)):
        net = Hourglass(shape, width=6, depth=2)
        theta = net.spread(torch.zeros(1)) * torch.randn(net.size, generator=torch.Generator().manual_seed(0))
        image = net(theta, torch.rand(1, *net.input_shape))
        assert image.shape == (1, *shape)
        assert bool(((image > 0) & (image < 1)).all())


FAST = {"steps": 220, "width": 12, "depth": 3, "window": 40, "patience": 60}


def test_deep_image_prior_removes_noise_and_stops_before_it_comes_back() -> None:
    x = drawing(32).float()
    problem = simulate(Identity((1, 32, 32)), x, 0.15)
    prior = load_prior("gaussian")
    stopped = DeepImagePrior(**FAST)(problem, prior)
    noisy, got = float(psnr(problem.measurement, x)), float(psnr(stopped.samples[0], x))
    assert got > noisy + 5
    assert stopped.nfe == 0


class Gamma(Operator):
    in_shape = out_shape = (1, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x**2


def test_deep_image_prior_takes_any_operator_and_fits_each_sample_anew() -> None:
    mask = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) > 0.3
    prior, solver = load_prior("gaussian"), DeepImagePrior(steps=10, width=6, depth=2)
    for operator in (Gamma(), Inpainting(mask), Inpainting(torch.zeros(8, 8))):
        problem = simulate(operator, torch.cat([drawing(8), 1 - drawing(8)]).float(), 0.0)
        result = solver(problem, prior, samples=2, seed=3)
        assert result.status == "ok"
        assert bool((result.std > 0).any())
        alone = solver(problem[1], prior, samples=2, seed=3)
        torch.testing.assert_close(result.samples[1:], alone.samples, rtol=0, atol=0)


def test_bad_parameters_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="TotalVariation: slack: expected"):
        TotalVariation(slack=-1)
    with pytest.raises(ValueError, match="DeepImagePrior: window: expected"):
        DeepImagePrior(window=0)
