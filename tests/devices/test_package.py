"""All that the package registers runs on a GPU: no tensor stays behind, and the answers are those of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from fake_gpu import fake_gpu
from odd_operators import Curve, Rows
from operator_examples import EXAMPLES
from torch import Tensor

from invdiff import Problem, metrics, registry, simulate
from invdiff.noise import (
    Gaussian,
    GaussianMap,
    Noise,
    Poisson,
    PoissonGaussian,
    Quantized,
    StackedNoise,
    TransmissionPoisson,
)
from invdiff.operators import Blur, Identity, Inpainting, LinearOperator, Operator, gaussian_kernel
from invdiff.operators.deepinv.adapters import from_deepinv
from invdiff.posterior import ExactPosterior, gaussian_mean
from invdiff.priors import GaussianPrior, GrayPrior, MixturePrior, Prior, from_denoiser, load_prior
from invdiff.priors.network import Preconditioning
from invdiff.training.config import TrainConfig
from invdiff.training.data import Batches, Pack
from invdiff.training.loop import ALONE, _step
from invdiff.training.objectives import OBJECTIVES
from invdiff.training.objectives.configured import output_of
from invdiff.training.state import TrainState

CPU = torch.device("cpu")


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    with fake_gpu() as device:
        yield device


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_same(on_gpu: Tensor, on_cpu: Tensor) -> None:
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", EXAMPLES)
def test_operator(name: str, gpu: torch.device) -> None:
    a = EXAMPLES[name]()
    b, x = a.to(gpu), random(2, *a.in_shape)
    z, w = x.to(gpu).requires_grad_(), x.clone().requires_grad_()
    assert_same(b(z), a(x))
    assert_same(torch.autograd.grad(b(z).square().sum(), z)[0], torch.autograd.grad(a(w).square().sum(), w)[0])
    assert b.observed is None or b.observed.to(gpu).any() is not None
    if not (isinstance(a, LinearOperator) and isinstance(b, LinearOperator)):
        return
    y = random(2, *a.out_shape, seed=1)
    assert_same(b.adjoint(y.to(gpu)), a.adjoint(y))
    assert_same(b.normal(x.to(gpu)), a.normal(x))
    weights = torch.tensor([500.0, 2000.0], dtype=torch.float64)  # so large that few iterations are needed
    assert_same(b.solve(x.to(gpu), weights), a.solve(x, weights))
    assert_same(b.tikhonov(y.to(gpu), 500.0), a.tikhonov(y, 500.0))
    assert b.norm() == pytest.approx(a.norm(), rel=1e-12)
    if a.svd is not None and b.svd is not None:
        assert_same(b.pinv(y.to(gpu)), a.pinv(y))
        assert_same(b.svd.V(b.svd.Vt(x.to(gpu))), a.svd.V(a.svd.Vt(x)))


class Weights(LinearOperator):
    """A third party's: a plain tensor, which `to` moves and nothing else does."""

    in_shape = out_shape = (1, 2, 3)

    def __init__(self) -> None:
        self.weights = random(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.weights * x


def test_norm_is_found_where_the_operator_is(gpu: torch.device) -> None:
    for a in (Weights(), Weights() @ Weights(), Weights().T):
        assert a.to(gpu).norm() == pytest.approx(a.norm(), rel=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["Blur", "CompressedSensing", "PtychographyLinearOperator", "MRI"])
def test_physics_of_deepinv(name: str, gpu: torch.device) -> None:
    physics = pytest.importorskip("deepinv").physics
    shape = (2 if name == "MRI" else 1, 8, 8)
    options: dict[str, object] = {
        "Blur": {"filter": torch.ones(1, 1, 3, 3), "padding": "circular"},
        "CompressedSensing": {"m": 5, "img_size": shape, "dtype": torch.cfloat},
        "PtychographyLinearOperator": {"img_size": shape, "shifts": torch.tensor([[0, 0], [1, 2]])},
        "MRI": {"mask": torch.eye(8), "img_size": shape},
    }[name]
    a = from_deepinv(getattr(physics, name)(**options), shape)
    assert isinstance(a, LinearOperator)
    x, y = random(2, *shape), random(2, *a.out_shape)
    assert_same(a.to(gpu)(x.to(gpu)), a(x))
    assert_same(a.to(gpu).adjoint(y.to(gpu)), a.adjoint(y))


def _covariances(k: int, d: int) -> Tensor:
    root = random(k, d, d, seed=3)
    return root @ root.mT / d


PRIORS: dict[str, tuple[tuple[int, int, int], Callable[[], Prior]]] = {
    **{
        name: (
            (1, 28, 28) if name == "fashion" else (3 if name == "photo" else 1, 16, 16),
            partial(load_prior, name),
        )
        for name in registry.priors
    },
    "dense Gaussian": ((1, 2, 3), lambda: GaussianPrior(random(1, 2, 3), _covariances(1, 6)[0])),
    "mixture": ((1, 2, 3), lambda: MixturePrior(torch.ones(2), random(2, 1, 2, 3), _covariances(2, 6))),
    "isotropic mixture": ((1, 2, 3), lambda: MixturePrior(torch.ones(2), random(2, 1, 2, 3), 0.1)),
    "gray": ((1, 8, 8), lambda: GrayPrior(load_prior("gaussian"))),
    "function": (
        (1, 8, 8),
        lambda: from_denoiser(
            lambda x, s: x / (1 + s.reshape(-1, 1, 1, 1) ** 2), (1, 8, 8), std=0.3, sigma_min=0.01, sigma_max=10.0
        ),
    ),
}


@pytest.mark.parametrize("name", PRIORS)
def test_prior(name: str, gpu: torch.device) -> None:
    shape, make = PRIORS[name]
    a = make()
    b, x = make().to(gpu), random(2, *shape, dtype=torch.float32)
    levels = torch.tensor([0.1, 0.5])
    assert_same(b.denoise(x.to(gpu), 0.2), a.denoise(x, 0.2))
    assert_same(b.denoise(x.to(gpu), levels), a.denoise(x, levels))
    assert_same(b.score(x.to(gpu), levels.to(gpu)), a.score(x, levels))
    z = x.to(gpu).requires_grad_()
    assert torch.autograd.grad(b.denoise(z, 0.2).sum(), z)[0].is_cuda
    if hasattr(a, "log_prob"):
        assert_same(b.log_prob(x.to(gpu), 0.2), a.log_prob(x, 0.2))  # type: ignore[attr-defined]


def test_every_public_noise_is_tried() -> None:
    assert set(registry.noises.values()) <= {type(law) for law in NOISES.values()}


NOISES: dict[str, Noise] = {
    "gaussian": Gaussian(0.1),
    "map": GaussianMap(torch.tensor([[[0.1, 0.2], [0.3, 0.1]]])),
    "poisson": Poisson(50.0),
    "poisson and gaussian": PoissonGaussian(50.0, 0.05),
    "quantized": Quantized(16, 0.05),
    "transmission": TransmissionPoisson(1e3),
    "stacked": StackedNoise.of([0.1, Poisson(50.0)], [(2,), (2,)]),
}


@pytest.mark.parametrize("name", NOISES)
def test_noise(name: str, gpu: torch.device) -> None:
    law, clean = NOISES[name], random(2, *((4,) if name == "stacked" else (1, 2, 2))) + 0.5
    g = torch.Generator
    y = law.sample(clean, g().manual_seed(0))
    assert_same(law.to(gpu).sample(clean.to(gpu), g().manual_seed(0)), y)
    assert_same(law.to(gpu).log_likelihood(y.to(gpu), clean.to(gpu)), law.log_likelihood(y, clean))
    near = law.to(gpu).gaussian(y[:1].to(gpu))
    assert_same(near.log_likelihood(y.to(gpu), clean.to(gpu)), law.gaussian(y[:1]).log_likelihood(y, clean))


IMAGE = (1, 4, 4)
OPERATORS: dict[str, Operator] = {
    "mask": Inpainting(torch.arange(16).reshape(4, 4) % 3 > 0),
    "rows": Rows(),
    "curve": Curve(),
}
PROBLEMS: dict[str, tuple[str, Noise]] = {
    "mask": ("mask", Gaussian(0.05)),
    "no closed form": ("rows", Gaussian(0.05)),
    "not linear": ("curve", Gaussian(0.05)),
    "unequal noise": ("mask", GaussianMap(torch.linspace(0.05, 0.1, 16).reshape(IMAGE))),
    "photons": ("mask", Poisson(100.0)),
}
FEW: dict[str, dict[str, object]] = {
    "pinv": {},
    "auto": {"effort": "fast"},
    "dip": {"steps": 2, "width": 4, "depth": 1},
    "dcps": {"steps": 2, "langevin": 2},
    "daps": {"steps": 2, "moves": 2},
    "pnpdm": {"steps": 2, "inner": 2, "moves": 2},
    "langevin": {"steps": 2, "inner": 2},
    "ald": {"steps": 2, "inner": 2},
    **{name: {"steps": 2, "particles": 4} for name in ("mcgdiff", "fps", "tds", "twisted")},
}
"""Options of solvers for a few steps; 2 for all others."""


def problems(kind: str, device: torch.device) -> tuple[Problem, Problem]:
    operator, noise = OPERATORS[PROBLEMS[kind][0]], PROBLEMS[kind][1]
    on_cpu = simulate(operator, random(2, *IMAGE, dtype=torch.float32), noise)
    on_gpu = simulate(operator.to(device), random(2, *IMAGE, dtype=torch.float32).to(device), noise.to(device))
    assert_same(on_gpu.measurement, on_cpu.measurement)
    return on_gpu, on_cpu


@pytest.mark.parametrize("name", registry.solvers)
def test_solver(name: str, gpu: torch.device) -> None:
    """On each kind of problem that it takes: the samples are those of the CPU, and on the GPU."""
    solver = registry.solvers[name](**FEW.get(name, {"steps": 2}))
    prior, taken = load_prior("gaussian").to(gpu), 0
    for kind in PROBLEMS:
        on_gpu, on_cpu = problems(kind, gpu)
        if solver.unmet(on_cpu):
            continue
        taken += 1
        found, wanted = solver(on_gpu, prior, samples=2, seed=1), solver(on_cpu, prior, samples=2, seed=1)
        assert found.samples.is_cuda
        torch.testing.assert_close(found.samples.cpu(), wanted.samples, rtol=1e-4, atol=1e-5)
        assert found.status == wanted.status
    assert taken


@pytest.mark.parametrize("name", registry.samplers)
def test_sampler(name: str, gpu: torch.device) -> None:
    options = {"rtol": 0.3, "atol": 0.3} if name == "ode" else {"steps": 3}
    sampler = registry.samplers[name](**options)
    prior = load_prior("gaussian")
    found = sampler(prior.to(gpu), 2, shape=IMAGE, seed=1, device="cuda").samples
    assert_same(found, sampler(prior, 2, shape=IMAGE, seed=1).samples)


def _training(objective: str) -> TrainConfig:
    return TrainConfig.from_mapping(
        {
            "run": {"name": "tiny", "steps": 10, "warmup": 1, "precision": "float32", "objective": objective},
            "data": {"crop": 4, "batch": 2, "channels": 1},
            "noise": {"sigma_min": 0.05, "sigma_max": 1.0, "centre": 0.2, "spread": 0.6},
            "network": {"widths": [8, 16], "encoder": [1, 1], "decoder": [1], "embedding": 16},
        }
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_step(objective: str, gpu: torch.device) -> None:
    config = _training(objective)
    scaling = Preconditioning(mean=0.5, std=0.25, sigma_min=0.05, sigma_max=1.0, output=output_of(objective))
    greys = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
    pack = Pack(greys.reshape(-1), np.arange(4) * 64, np.full((4, 2), 8), 1)
    batches = Batches(pack, config.data, config.augment, config.run.seed, ALONE.share(config.data.batch))
    states = [TrainState.fresh(config, scaling, device, None) for device in (gpu, CPU)]
    losses = [_step(s, config, batches, False, d, ALONE) for s, d in zip(states, (gpu, CPU), strict=True)]
    assert_same(losses[0], losses[1])
    for network in ("network", "average"):
        moved, kept = (getattr(s, network).state_dict() for s in states)
        for key, value in kept.items():
            assert moved[key].is_cuda
            torch.testing.assert_close(moved[key].cpu(), value, rtol=1e-4, atol=1e-6)


def test_metrics_and_exact_posterior(gpu: torch.device) -> None:
    """What judges a reconstruction takes it where it is."""
    x, samples = random(2, 1, 16, 16), random(2, 5, 1, 16, 16, seed=1)
    y, draws = x.to(gpu), samples.to(gpu)
    for pair in (metrics.psnr, metrics.ssim, metrics.ssim_gaussian):
        assert_same(pair(draws[:, 0], y), pair(samples[:, 0], x))
    for judge in (metrics.coverage, metrics.crps, metrics.spread_skill_ratio):
        assert_same(judge(draws, y), judge(samples, x))
    assert metrics.sliced_wasserstein(draws[0], draws[1]) == pytest.approx(
        metrics.sliced_wasserstein(samples[0], samples[1])
    )
    blur = Blur(IMAGE, kernel=gaussian_kernel(1.0), border="zero")
    for a in (Identity(IMAGE), blur, OPERATORS["mask"]):
        on_gpu, on_cpu = (simulate(a.to(d), random(2, *IMAGE).to(d), 0.1) for d in (gpu, CPU))
        assert metrics.data_residual(on_gpu, draws[:, :, :, :4, :4]).is_cuda
        prior = load_prior("gaussian")
        assert_same(gaussian_mean(on_gpu, prior), gaussian_mean(on_cpu, prior))  # type: ignore[arg-type]
        torch.testing.assert_close(ExactPosterior(on_gpu, prior).mean, ExactPosterior(on_cpu, prior).mean)
