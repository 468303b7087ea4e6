"""Priors made of functions, against the posterior mean of Gaussian data, which is known in closed form.

With pixels `u ~ N(mu, S^2)` on the network's range, `u_t = alpha u + std n` has `E[u | u_t] = mu + alpha S^2 (u_t -
alpha mu) / (alpha^2 S^2 + std^2)`, and what each kind of network should say of it follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from invdiff.priors import GaussianPrior, Prior, from_denoiser, from_epsilon, from_score, from_velocity
from invdiff.schedules import VE, VP, Diffusion, SubVP, cosine_betas, linear_betas

MEAN, STD = 0.3, 0.2  # of the data as images in [0, 1]
SHAPE = (1, 4, 4)
LEVELS = np.geomspace(0.006, 60.0, 10).tolist()
RANGES = [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)]


def truth(x: Tensor, sigma: float) -> Tensor:
    mean, cov = torch.full(SHAPE, MEAN).double(), torch.eye(16).double() * STD**2
    return GaussianPrior(mean, cov).denoise(x, sigma)


def own(value_range: tuple[float, float]) -> tuple[float, float]:
    """Return mean and standard deviation of the data on another range."""
    low, high = value_range
    return low + (high - low) * MEAN, (high - low) * STD


def agree(prior: Prior, levels: list[float], tolerance: float = 1e-5) -> None:
    generator = torch.Generator().manual_seed(0)
    for sigma in levels:
        clean = MEAN + STD * torch.randn((3, *SHAPE), generator=generator, dtype=torch.float64)
        x = clean + sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        assert (prior.denoise(x, sigma) - truth(x, sigma)).abs().max() < tolerance, sigma


def chain_functions(betas: Tensor, value_range: tuple[float, float]) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Return what exact networks on a chain say, at real-valued indices interpolated linearly in `log s`."""
    mu, spread = own(value_range)
    log_s = 0.5 * np.log(1 / np.cumprod(1 - betas.numpy()) - 1)

    def parts(u: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s = torch.from_numpy(np.exp(np.interp(t.numpy(), np.arange(len(log_s)), log_s)))[:, None, None, None]
        alpha, std = 1 / (1 + s**2).sqrt(), s / (1 + s**2).sqrt()
        clean = mu + alpha * spread**2 * (u - alpha * mu) / (alpha**2 * spread**2 + std**2)
        return clean, alpha, std

    def eps(u: Tensor, t: Tensor) -> Tensor:
        clean, alpha, std = parts(u, t)
        return torch.cat([(u - alpha * clean) / std, torch.ones_like(u)], 1)  # with a learned variance behind it

    def velocity(u: Tensor, t: Tensor) -> Tensor:
        clean, alpha, std = parts(u, t)
        return alpha * (u - alpha * clean) / std - std * clean

    return {"eps": eps, "v": velocity}


@pytest.mark.parametrize("value_range", RANGES)
@pytest.mark.parametrize("betas", [linear_betas(), cosine_betas(400)], ids=["linear", "cosine"])
def test_chain_networks_give_the_posterior_mean(betas: Tensor, value_range: tuple[float, float]) -> None:
    made = chain_functions(betas, value_range)
    unit = value_range[1] - value_range[0]
    eps = from_epsilon(made["eps"], SHAPE, betas, value_range=value_range)
    velocity = from_velocity(made["v"], SHAPE, betas, value_range=value_range)
    first = math.sqrt(1 / (1 - float(betas[0])) - 1) / unit
    for prior in (eps, velocity):
        assert prior.sigma_min == pytest.approx(first)
        assert 0 < prior.sigma_max <= 100
        assert prior.sigma_max > 0.3 / unit
        agree(prior, np.geomspace(1.01 * prior.sigma_min, 0.99 * prior.sigma_max, 10).tolist())


def test_nearest_index_is_an_integer_and_the_nearest() -> None:
    betas = linear_betas()
    s = (1 / (1 - betas).cumprod(0) - 1).sqrt()
    received: list[Tensor] = []

    def eps(u: Tensor, t: Tensor) -> Tensor:
        received.append(t)
        return 0 * u

    prior = from_epsilon(eps, SHAPE, betas, nearest=True)
    for k in (0, 17, 999):
        prior.denoise(torch.zeros(2, *SHAPE), 1.0001 * float(s[k]) / 2)
        assert received[-1].dtype == torch.int64
        assert received[-1].tolist() == [k, k]
    prior.denoise(torch.zeros(2, *SHAPE), torch.tensor([float(s[3]) / 2, 1e6]))
    assert received[-1].tolist() == [3, 999]


@pytest.mark.parametrize(
    ("sde", "value_range"),
    [(VP(), (-1.0, 1.0)), (SubVP(), (-1.0, 1.0)), (VE(0.01, 348.0), (0.0, 1.0)), (VP(0.2, 5.0), (0.0, 2.0))],
    ids=["vp", "subvp", "ve", "other rates"],
)
def test_scores_give_the_posterior_mean(sde: Diffusion, value_range: tuple[float, float]) -> None:
    mu, spread = own(value_range)

    def score(u: Tensor, t: Tensor) -> Tensor:
        alpha, std = (k(t)[:, None, None, None] for k in (sde.alpha, sde.std))
        return -(u - alpha * mu) / (alpha**2 * spread**2 + std**2)

    prior = from_score(score, SHAPE, sde, value_range=value_range)
    assert prior.sigma_max == pytest.approx(float(sde.sigma(1.0)) / (value_range[1] - value_range[0]))
    agree(prior, np.geomspace(1.01 * prior.sigma_min, 0.99 * prior.sigma_max, 10).tolist())


@pytest.mark.parametrize("value_range", RANGES)
def test_denoisers_of_other_ranges(value_range: tuple[float, float]) -> None:
    mu, spread = own(value_range)
    unit = value_range[1] - value_range[0]

    def denoise(u: Tensor, s: Tensor) -> Tensor:
        share = spread**2 / (spread**2 + s[:, None, None, None] ** 2)
        return mu + share * (u - mu)

    prior = from_denoiser(
        denoise, SHAPE, sigma_min=0.001 * unit, sigma_max=100.0 * unit, value_range=value_range, std=STD
    )
    assert (prior.std, prior.sigma_min, prior.sigma_max) == pytest.approx((STD, 0.001, 100.0))
    agree(prior, LEVELS)


def test_levels_beyond_the_range_are_told_as_its_end() -> None:
    received: list[float] = []

    def denoise(u: Tensor, s: Tensor) -> Tensor:
        received.append(float(s))
        return u

    prior = from_denoiser(denoise, SHAPE, sigma_min=0.02, sigma_max=0.4)
    for sigma in (0.001, 0.1, 3.0):
        prior.denoise(torch.zeros(1, *SHAPE), sigma)
    assert received == pytest.approx([0.02, 0.2, 0.4])


def test_a_module_keeps_its_precision_and_takes_no_gradients() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(0.5))

        def forward(self, u: Tensor, s: Tensor) -> Tensor:
            assert u.dtype == self.factor.dtype == s.dtype
            return self.factor * u

    for precision, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        network = Half().train()
        prior = from_denoiser(network, SHAPE, sigma_min=0.01, sigma_max=1.0, precision=precision)  # type: ignore[arg-type]
        x = torch.zeros((1, *SHAPE), dtype=torch.float64, requires_grad=True)
        out = prior.denoise(x, 0.1)
        assert out.dtype == torch.float64
        assert network.factor.dtype == dtype
        assert not network.training
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert gradient.unique().item() == pytest.approx(0.5)
        assert not network.factor.requires_grad


def test_clipping() -> None:
    def double(u: Tensor, s: Tensor) -> Tensor:
        return 2 * u

    def prior(**options: bool) -> Prior:
        return from_denoiser(double, SHAPE, sigma_min=0.01, sigma_max=1.0, **options)  # type: ignore[arg-type]

    x = torch.full((1, *SHAPE), 0.9)
    assert prior().denoise(x, 0.1).unique().item() == pytest.approx(1.3)
    assert prior(clip=True).denoise(x, 0.1).unique().item() == 1.0


def eps(u: Tensor, t: Tensor) -> Tensor:
    return u


BETAS = linear_betas()
CLEAN: dict[str, Any] = {"sigma_min": 0.01, "sigma_max": 80.0}


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: from_epsilon(eps, SHAPE, BETAS, value_range=(1, -1)), ValueError, "value_range: expected (black, "),
        (lambda: from_epsilon(eps, SHAPE, BETAS, value_range=(1,)), ValueError, "value_range: expected (black, "),  # type: ignore[arg-type]
        (lambda: from_epsilon(eps, SHAPE, BETAS, value_range="[-1, 1]"), ValueError, "value_range: expected (black, "),  # type: ignore[arg-type]
        (lambda: from_epsilon(eps, SHAPE, BETAS, value_range=(0, math.inf)), ValueError, "value_range: expected"),
        (lambda: from_epsilon(eps, SHAPE, [0.1, 1.5]), ValueError, "betas: expected a vector of numbers in (0, 1)"),
        (lambda: from_velocity(eps, SHAPE, BETAS.flip(0) * 100), ValueError, "got 1000 from 0.01 to 2"),
        (lambda: from_epsilon(eps, SHAPE, BETAS * math.nan), ValueError, "betas: expected"),
        (lambda: from_epsilon(eps, SHAPE, []), ValueError, "betas: expected"),
        (lambda: from_denoiser(eps, SHAPE, sigma_min=1.0, sigma_max=0.5), ValueError, "got 1.0 and 0.5"),
        (lambda: from_denoiser(eps, SHAPE, sigma_min=1.0, sigma_max=math.nan), ValueError, "0 < sigma_min < sigma_max"),
        (lambda: from_denoiser(eps, SHAPE, sigma_min=1.0, sigma_max=math.inf), ValueError, "0 < sigma_min < sigma_max"),
        (lambda: from_epsilon(eps, SHAPE, BETAS, sigma_min=0), ValueError, "0 < sigma_min < sigma_max"),
        (lambda: from_velocity(eps, SHAPE, BETAS, sigma_min=300), ValueError, "got 300 and 157.4"),
        (lambda: from_score(eps, SHAPE, VP(), sigma_max=0.0), ValueError, "0 < sigma_min < sigma_max"),
        (lambda: from_denoiser(eps, SHAPE, std=-1, **CLEAN), ValueError, "std: expected a positive number"),
        (lambda: from_denoiser(eps, SHAPE, std=math.nan, **CLEAN), ValueError, "std: expected a positive number"),
        (lambda: from_denoiser(eps, (1, 0, 4), **CLEAN), ValueError, "shape: expected (C, H, W)"),
        (lambda: from_denoiser(eps, (1, 4.0, 4), **CLEAN), ValueError, "shape: expected (C, H, W)"),  # type: ignore[arg-type]
        (lambda: from_denoiser(eps, 28, **CLEAN), ValueError, "shape: expected (C, H, W)"),  # type: ignore[arg-type]
        (lambda: from_denoiser("eps", SHAPE, **CLEAN), TypeError, "network: expected a module or function"),  # type: ignore[arg-type]
        (lambda: from_score(None, SHAPE, VP()), TypeError, "network: expected a module or function"),  # type: ignore[arg-type]
        (lambda: from_score(eps, SHAPE, "vp"), TypeError, "sde: expected a diffusion"),  # type: ignore[arg-type]
        (lambda: from_epsilon(eps, SHAPE, BETAS, precision="float16"), ValueError, "unknown precision 'float16'; did"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused_in_one_line(make: Callable[[], Prior], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"expected \(B, 1, 4, 4\), got \(1, 3, 4, 4\)"):
        from_epsilon(eps, SHAPE, BETAS).denoise(torch.zeros(1, 3, 4, 4), 1.0)
