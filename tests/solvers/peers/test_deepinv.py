"""Peers: deepinv's solvers under our contract, against deepinv itself and against exact posteriors."""

import subprocess
import sys

import pytest
import torch

from invdiff import Problem, load_prior, reconstruct, registry, simulate
from invdiff.noise import Poisson
from invdiff.operators import Blur, Downsample, Identity, Inpainting, LinearOperator, PhaseRetrieval, gaussian_kernel
from invdiff.priors import GaussianPrior, Prior
from invdiff.solvers import Solver
from invdiff.solvers.peers.deepinv import DeepinvDDRM, DeepinvDiffPIR, DeepinvDPS, _Spectral
from invdiff.streams import generator

PEERS = dict(registry.peers)
FEW: dict[str, int] = {"deepinv.dps": 12, "deepinv.ddrm": 12, "deepinv.diffpir": 12}


@pytest.fixture
def problem() -> Problem:
    mask = torch.tensor([[1, 0, 1, 1, 0, 1]] * 6)
    x = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    return simulate(Inpainting(mask), x, 0.05)


def test_names_resolve_among_solvers_without_being_listed_as_ours() -> None:
    assert set(PEERS) == {"deepinv.dps", "deepinv.ddrm", "deepinv.diffpir"}
    for name, cls in PEERS.items():
        assert name in registry.solvers and name not in list(registry.solvers)
        assert registry.solvers[name] is cls and issubclass(cls, Solver)
    with pytest.raises(ValueError, match=r"unknown solver 'deepinv.dpss'; did you mean 'deepinv.dps'"):
        registry.solvers["deepinv.dpss"]


def test_deepinv_is_loaded_only_when_a_peer_runs() -> None:
    code = (
        "import sys; from invdiff import registry; [registry.solvers[n]() for n in registry.peers];"
        "print('deepinv' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", PEERS)
def test_samples_repeat_and_do_not_depend_on_their_batch(name: str, problem: Problem) -> None:
    prior, solver = load_prior("gaussian"), PEERS[name](steps=FEW[name])
    torch.manual_seed(0)
    together = solver(problem, prior, samples=2, seed=1)
    torch.manual_seed(5)
    alone = solver(problem[1], prior, samples=2, seed=1, batch_size=1)
    other = solver(problem[1], prior, samples=2, seed=2)
    assert together.samples.shape == (3, 2, 1, 6, 6)
    assert together.samples.dtype == problem.measurement.dtype
    assert together.status in ("ok", "misfit") and alone.status in ("ok", "misfit")
    torch.testing.assert_close(together.samples[1], alone.samples[0], rtol=0, atol=1e-5)
    assert float((alone.samples - other.samples).abs().max()) > 1e-2
    assert float((together.samples[0, 0] - together.samples[0, 1]).abs().max()) > 1e-2
    assert solver(problem[[]], prior).samples.shape == (0, 1, 1, 6, 6)


@pytest.mark.parametrize("name", PEERS)
def test_evaluations_are_those_that_the_prior_saw(name: str, problem: Problem) -> None:
    class Counting(Prior):
        def __init__(self, inner: Prior) -> None:
            self.inner, self.calls = inner, 0
            self.shape, self.std = inner.shape, inner.std
            self.sigma_min, self.sigma_max = inner.sigma_min, inner.sigma_max

        def denoise(self, x: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
            self.calls += x.shape[0]
            return self.inner.denoise(x, sigma)

    prior, solver = Counting(load_prior("gaussian")), PEERS[name](steps=FEW[name])
    result = solver(problem, prior, samples=2)
    assert prior.calls == 6 * result.nfe
    assert result.nfe == solver.evaluations


def white(shape: tuple[int, int, int], std: float = 0.25) -> GaussianPrior:
    """Independent pixels: mean 1/2, so that deepinv's clipping to [0, 1] hardly ever acts."""
    d = shape[0] * shape[1] * shape[2]
    return GaussianPrior(torch.full(shape, 0.5), std**2 * torch.eye(d))


def theirs(name: str, problem: Problem, prior: GaussianPrior, steps: int) -> torch.Tensor:
    """Run deepinv's class by hand, on its own physics, with torch's generator."""
    import deepinv

    operator, noise = problem.operator, 0.1
    denoiser = torch.nn.Module()
    denoiser.forward = lambda x, sigma, *a, **k: prior.denoise(x, max(float(sigma), prior.sigma_min))
    shape = tuple(problem.operator.in_shape)
    assert isinstance(operator, Inpainting)
    physics = deepinv.physics.Inpainting(
        img_size=shape, mask=operator.mask.float().expand(shape), noise_model=deepinv.physics.GaussianNoise(noise)
    )
    torch.manual_seed(0)
    y = problem.measurement
    if name == "deepinv.ddrm":
        import numpy as np

        return deepinv.sampling.DDRM(denoiser, np.linspace(1, 0, steps))(y, physics)  # type: ignore[no-any-return]
    if name == "deepinv.diffpir":
        fidelity = deepinv.optim.data_fidelity.L2()
        return deepinv.sampling.DiffPIR(denoiser, fidelity, sigma=noise, max_iter=steps)(y, physics)  # type: ignore[no-any-return]
    return deepinv.sampling.DPS(denoiser, num_steps=steps)(y, physics, x_init=tuple(y.shape))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", PEERS)
def test_law_is_that_of_deepinvs_own_run(name: str) -> None:
    """Mean and variance over 2000 draws of the library's own run, within five Monte Carlo errors."""
    shape, count = (1, 4, 4), 2000
    mask = (torch.arange(16).reshape(4, 4) % 3 > 0).float()
    operator, prior = Inpainting(mask), white(shape)
    one = simulate(operator, torch.rand(1, *shape, generator=generator(3)), 0.1)
    result = PEERS[name](steps=12)(one, prior, samples=count, seed=0)
    ours = result.samples[0].flatten(1).double()
    many = Problem(operator, one.noise, one.measurement.expand(count, *shape).contiguous())
    other = theirs(name, many, prior, 12).flatten(1).double()
    error = ((ours.var(0) + other.var(0)) / count).sqrt()
    assert float(((ours.mean(0) - other.mean(0)).abs() / error.clamp(min=1e-6)).max()) < 5
    ratio = ours.var(0).clamp(min=1e-12) / other.var(0).clamp(min=1e-12)
    assert float(ratio.log().abs().max()) < 5 * (4 / count) ** 0.5


@pytest.mark.parametrize(
    "operator",
    [
        Inpainting(torch.tensor([[1, 0, 1, 1], [1, 1, 0, 1]]), channels=3),
        Identity((2, 4, 5)),
        Blur((1, 8, 8), kernel=gaussian_kernel(1.0, 5), border="circular"),
        Downsample((1, 8, 8), factor=2, kernel="average"),
    ],
    ids=lambda o: type(o).__name__,
)
def test_spectrum_under_their_names(operator: LinearOperator) -> None:
    """`A x = U s V^T x`, and `V` of white coefficients is a white image whether the spectrum is thin or not."""
    assert operator.svd is not None
    x = torch.randn((2, *operator.in_shape), generator=generator(0), dtype=torch.float64)
    physics = _Spectral(operator.svd, operator.in_shape, 0.1, x)
    c = physics.V_adjoint(x)
    torch.testing.assert_close(physics.V(c), x)
    torch.testing.assert_close(physics.U_adjoint(operator(x)), physics.mask * c)
    eye = torch.eye(physics.mask.shape[1], dtype=torch.float64)
    images = physics.V(eye).flatten(1)
    torch.testing.assert_close(images.T @ images, torch.eye(images.shape[1], dtype=torch.float64))


def test_unmet_needs_and_bad_values(problem: Problem) -> None:
    prior = load_prior("gaussian")
    nonlinear = simulate(PhaseRetrieval((1, 8, 8)), torch.rand(1, 1, 8, 8), 0.05)
    with pytest.raises(ValueError, match="DeepinvDiffPIR needs a linear operator"):
        reconstruct(nonlinear, prior, "deepinv.diffpir")
    with pytest.raises(ValueError, match="DeepinvDDRM needs Gaussian noise"):
        reconstruct(Problem(Identity((1, 4, 4)), Poisson(10.0), torch.rand(1, 1, 4, 4)), prior, "deepinv.ddrm")
    assert reconstruct(nonlinear, prior, "deepinv.dps", steps=5).status in ("ok", "misfit")
    for make, text in (
        (lambda: DeepinvDPS(steps=2), "DeepinvDPS: steps: expected an integer >= 3, got 2"),
        (lambda: DeepinvDDRM(eta=2.0), r"DeepinvDDRM: eta: expected a number in \[0, 1\], got 2.0"),
        (lambda: DeepinvDiffPIR(weight=0.0), "DeepinvDiffPIR: weight: expected a positive number, got 0.0"),
    ):
        with pytest.raises(ValueError, match=text):
            make()
