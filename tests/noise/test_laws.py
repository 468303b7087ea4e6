"""Every noise model against its definition: densities, moments, gradients, and the refusal of bad input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

import invdiff.noise
from invdiff.cli import main
from invdiff.noise import (
    Gaussian,
    GaussianMap,
    Independent,
    Noise,
    NoiseFamily,
    Poisson,
    PoissonGaussian,
    Quantized,
    StackedNoise,
    TransmissionPoisson,
)
from invdiff.registry import noises
from invdiff.streams import generator

D = torch.float64
LAWS: dict[str, Callable[[], Independent]] = {
    "white": lambda: Gaussian(0.2),
    "map": lambda: GaussianMap(torch.tensor([0.1, 0.3], dtype=D)),
    "photons": lambda: Poisson(40.0),
    "photons and read noise": lambda: PoissonGaussian(40.0, 0.05),
    "much read noise": lambda: PoissonGaussian(40.0, 1.0),
    "transmission": lambda: TransmissionPoisson(5000.0),
    "rounding": lambda: Quantized(8, 0.1),
    "stack": lambda: StackedNoise((Gaussian(0.1), Poisson(60.0)), ((1,), (1, 1))),
}


def test_every_law_is_tested() -> None:
    made = {type(make()) for make in LAWS.values()}
    named = {getattr(invdiff.noise, n) for n in invdiff.noise.__all__ if n[0].isupper()}
    assert named - made == {Noise, Independent, NoiseFamily}


@pytest.mark.parametrize("name", LAWS)
def test_moments(name: str) -> None:
    """Mean and variance of 40,000 draws at two clean values, within 4.5 standard errors.

    The law of the transmission is that of the delta method up to 1 / photons; rounding is off by less than 1e-3 here.
    """
    noise, n = LAWS[name](), 40_000
    clean = torch.tensor([0.4, 0.6], dtype=D).expand(n, 2)
    y = noise.sample(clean, generator(1))
    v = noise.variance(clean)[0]
    slack = {"transmission": 2 / 5000, "rounding": 1e-3}.get(name, 0.0)
    assert bool(((y.mean(0) - clean[0]).abs() < 4.5 * (v / n).sqrt() + slack).all())
    # Kurtosis up to 3.2 for these laws.
    assert bool(((y.var(0) / v - 1).abs() < 4.5 * math.sqrt(2.2 / n) + 20 * slack).all())


@pytest.mark.parametrize("name", LAWS)
def test_gradient_of_the_likelihood(name: str) -> None:
    noise, h = LAWS[name](), 1e-6
    clean = torch.tensor([[0.4, 0.6], [0.7, 0.2]], dtype=D, requires_grad=True)
    y = noise.sample(clean.detach(), generator(2))
    (grad,) = torch.autograd.grad(noise.log_likelihood(y, clean).sum(), clean)
    flat = clean.detach()
    for i in range(2):
        step = torch.zeros(2, dtype=D)
        step[i] = h
        numeric = (noise.log_density(y, flat + step) - noise.log_density(y, flat - step)).sum(1) / (2 * h)
        torch.testing.assert_close(grad[:, i], numeric, rtol=1e-5, atol=1e-5)


def _counts(noise: Independent, k: Tensor, clean: float) -> Tensor:
    return noise.log_density(k, torch.full_like(k, clean)).exp()


def test_probabilities_sum_to_one() -> None:
    k = torch.arange(0, 400, dtype=D)
    assert float(_counts(Poisson(40.0), k / 40, 0.7).sum()) == pytest.approx(1, abs=1e-10)
    attenuated = -(k.clamp(min=0.5) / 100).log()
    assert float(_counts(TransmissionPoisson(100.0), attenuated, 0.7).sum()) == pytest.approx(1, abs=1e-10)
    levels = torch.arange(16, dtype=D) / 15
    for clean in (-0.3, 0.0, 0.41, 1.2):
        assert float(_counts(Quantized(16, 0.05), levels, clean).sum()) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize(("photons", "std"), [(3.0, 0.05), (40.0, 0.01), (40.0, 1.0), (1e4, 0.02)])
def test_densities_integrate_to_one(photons: float, std: float) -> None:
    """Photons with read noise, by the trapezoid rule with 16 points to a standard deviation of the read noise."""
    for clean in (0.005, 0.6):
        low, high = -8 * std, clean + 12 * math.sqrt(clean / photons) + 8 * std + 12 / photons
        y = torch.arange(low, high, std / 16, dtype=D)
        total = float(_counts(PoissonGaussian(photons, std), y, clean).sum()) * std / 16
        assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("photons", [5.0, 50.0, 1000.0])
@pytest.mark.parametrize("std", [1e-3, 0.01, 0.1, 0.5])
def test_read_noise_against_the_whole_sum(photons: float, std: float) -> None:
    noise = PoissonGaussian(photons, std)
    for clean in (0.01, 0.3, 1.5):
        y = float(noise.sample(torch.tensor([clean], dtype=D), generator(3)))
        k = np.arange(
            int(max(photons * clean, photons * y) + 12 * math.sqrt(photons * clean) + 12 * photons * std + 60)
        )
        terms = scipy.stats.poisson(photons * clean).logpmf(k) + scipy.stats.norm(k / photons, std).logpdf(y)
        got = float(noise.log_density(torch.tensor([y], dtype=D), torch.tensor([clean], dtype=D)))
        assert got == pytest.approx(np.logaddexp.reduce(terms), abs=1e-7)


def test_other_densities_against_scipy() -> None:
    clean = torch.tensor([[0.4, 0.6]], dtype=D)
    std = torch.tensor([0.1, 0.3], dtype=D)
    y = clean + 0.2
    expected = scipy.stats.norm(clean.numpy(), std.numpy()).logpdf(y.numpy())
    np.testing.assert_allclose(GaussianMap(std).log_density(y, clean), expected)
    y = TransmissionPoisson(300.0).sample(clean, generator(0))
    counts = (300 * (-y).exp()).round()
    expected = scipy.stats.poisson(300 * (-clean).exp().numpy()).logpmf(counts.numpy())
    np.testing.assert_allclose(TransmissionPoisson(300.0).log_density(y, clean), expected, rtol=1e-9)
    y = Quantized(8, 0.1).sample(clean, generator(0))
    law, half = scipy.stats.norm(clean.numpy(), 0.1), 0.5 / 7
    expected = np.log(law.cdf((y + half).numpy()) - law.cdf((y - half).numpy()))
    np.testing.assert_allclose(Quantized(8, 0.1).log_density(y, clean), expected, rtol=1e-9)


def test_far_tails_stay_finite() -> None:
    far = torch.tensor([-5.0, 5.0], dtype=D, requires_grad=True)
    y = torch.tensor([1.0, 0.0], dtype=D)
    laws: tuple[Independent, ...] = (Poisson(1000.0), PoissonGaussian(1000.0, 0.01), Quantized(256, 0.01))
    for noise in laws:
        value = noise.log_density(y, far)
        (grad,) = torch.autograd.grad(value.sum(), far)
        assert bool(torch.isfinite(value).all() & torch.isfinite(grad).all()), noise
        assert float(grad[0]) > 0, "a value that is far too low is pushed up"


def test_a_dead_ray_counts_as_half_a_photon() -> None:
    noise = TransmissionPoisson(10.0)
    y = noise.sample(torch.full((2000,), 1.5, dtype=D), generator(0))
    assert float(y.max()) == pytest.approx(-math.log(0.5 / 10))
    dead = noise.log_density(y.max()[None], torch.tensor([1.5], dtype=D))
    assert float(dead) == pytest.approx(-10 * math.exp(-1.5)), "the probability of no photon"


def test_weights_from_counts_read_one_photon_low() -> None:
    """Neyman's bias, as the docstring of Poisson has it: of the weighted mean of 200,000 counts of mean 30."""
    noise = Poisson(1.0)
    y = noise.sample(torch.full((1, 200_000), 30.0, dtype=D), generator(4))
    weight = 1 / noise.gaussian(y).std ** 2
    mean = float((weight * y[0]).sum() / weight.sum())
    assert mean - 30 == pytest.approx(-1, abs=0.15)  # - 1 - 1 / 30 - ..., and 4 standard errors: 0.05


@pytest.mark.parametrize("name", LAWS)
def test_gaussian_law_nearby(name: str) -> None:
    noise = LAWS[name]()
    y = torch.tensor([[0.4, 0.6]], dtype=D)
    near = noise.gaussian(y)
    torch.testing.assert_close(near.std.expand(2) ** 2, noise.variance(y)[0])
    assert noise.is_gaussian == (name in ("white", "map"))
    assert noise.to("cpu") == noise or name == "map"


def test_one_map_cannot_hold_the_variances_of_two_images() -> None:
    with pytest.raises(ValueError, match="expected one measurement, as the variance depends on it, got 2"):
        Poisson(9.0).gaussian(torch.ones(2, 3))


class Outliers(Noise):
    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        return clean

    def log_likelihood(self, y: Tensor, clean: Tensor) -> Tensor:
        return -(y - clean).abs().flatten(1).sum(1)


BAD: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: GaussianMap(0.1), TypeError, r"for one number take Gaussian\(std\)"),  # type: ignore[arg-type]
    (lambda: GaussianMap(torch.ones(2, dtype=torch.int64)), TypeError, "floating-point tensor, got torch.int64"),
    (lambda: GaussianMap(torch.tensor([0.1, 0.0])), ValueError, "positive, finite numbers, got 0;"),
    (lambda: GaussianMap(torch.tensor([0.1, math.nan])), ValueError, "got nan; mark what was not measured"),
    (lambda: GaussianMap(torch.ones(2, 3)).check((3, 3)), ValueError, r"broadcasts to measurements \(3, 3\), got"),
    (lambda: GaussianMap(torch.ones(1, 3, 3)).check((3, 3)), ValueError, "without the batch axis"),
    (lambda: PoissonGaussian(0.0, 0.1), ValueError, "PoissonGaussian: photons: expected a finite number > 0"),
    (lambda: PoissonGaussian(9.0, 0.0), ValueError, "PoissonGaussian: std: expected a finite number > 0"),
    (lambda: PoissonGaussian("9", 0.1), TypeError, "expected a number, got str"),  # type: ignore[arg-type]
    (lambda: PoissonGaussian(9.0, 0.1).sample(-torch.ones(2), generator(0)), ValueError, "clean values >= 0"),
    (lambda: TransmissionPoisson(-1.0), ValueError, "TransmissionPoisson: photons"),
    (lambda: TransmissionPoisson(9.0).sample(torch.full((2,), 99.0), generator(0)), ValueError, "pixel_size so that"),
    (lambda: Quantized(1), ValueError, "levels: expected an integer >= 2, got 1; 8 bits have 256"),
    (lambda: Quantized(4, -1.0), ValueError, "Quantized: std"),
    (lambda: Quantized(4).log_likelihood(torch.ones(1, 1), torch.ones(1, 1)), ValueError, r"problem\.gaussian\(\)"),
    (lambda: Outliers().gaussian(torch.ones(1, 1)), ValueError, "Outliers: it has no Gaussian approximation"),
    (lambda: StackedNoise((), ()), ValueError, "expected one noise for each of 0 measurements"),
    (lambda: StackedNoise((Gaussian(0.1),), ((1,), (2,))), ValueError, "of 2 measurements, got 1"),
    (lambda: StackedNoise((Outliers(),), ((1,),)), TypeError, "derive its class from Independent"),  # type: ignore[arg-type]
    (lambda: StackedNoise((Gaussian(0.1),), ((2, 2),)).check((5,)), ValueError, r"a row of 4; give the out_shape"),
    (
        lambda: StackedNoise((Gaussian(0.1), Gaussian(0.0)), ((1,), (1,))).gaussian(torch.ones(1, 2)),
        ValueError,
        r"parts\[1\]: expected a positive standard deviation beside other measurements",
    ),
]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_input(case: int) -> None:
    make, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        make()


THEIRS = """
from dataclasses import dataclass
import torch
from invdiff.noise import Independent

@dataclass(frozen=True)
class Laplace(Independent):
    scale: float
    shift: float = 0.0
    def __post_init__(self):
        if self.scale <= 0:
            raise ValueError(f"Laplace: scale: expected a positive number, got {self.scale}")
    def sample(self, clean, generator):
        u = torch.rand(clean.shape, generator=generator, dtype=torch.float64).to(clean) - 0.5
        return clean + self.shift - self.scale * u.sign() * (1 - 2 * u.abs()).log()
    def log_density(self, y, clean):
        return -(y - clean).abs() / self.scale
    def variance(self, clean):
        return torch.full_like(clean, 2 * self.scale**2)
"""


def test_every_public_law_is_registered() -> None:
    public = {c for n in invdiff.noise.__all__ if isinstance(c := getattr(invdiff.noise, n), type)}
    named = {noises[name] for name in noises if noises.facts(name).source == "built in"}
    assert named <= public
    # A map comes from a file, and a stack from several laws; the others are bases.
    bases = {"GaussianMap", "StackedNoise", "Independent", "Noise", "NoiseFamily"}
    assert {c.__name__ for c in public - named} == bases


def test_a_law_in_a_file_is_noise_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(THEIRS)
    np.save("y.npy", np.full((12, 16), 0.5))
    words = ["reconstruct", "y.npy", "--operator", "identity", "--solver", "diffpir:steps=2", "--prior", "gaussian"]
    words += ["--samples", "1", "--threads", "1", "--device", "cpu", "--out", "out", "--overwrite", "--noise"]
    assert main([*words, "mine.py:Laplace:scale=0.1,approximate=true"]) == 0
    record = json.loads(Path("out/result.json").read_text())["noise"]
    assert record == {
        "name": "Laplace", "scale": 0.1, "shift": 0.0, "gaussian_approximation": True, "estimated": False
    }  # fmt: skip
    capsys.readouterr()
    for noise, message in (
        ("mine.py:Laplace:scale=0", "--noise: scale: expected a positive number, got 0"),
        ("mine.py:Laplace", "--noise: mine.py:Laplace needs a number, as in mine.py:Laplace:scale=1,shift=0.0"),
        ("mine.py:Laplace:scal=1", "unknown parameter of mine.py:Laplace 'scal'; did you mean 'scale'"),
        ("mine.py:Laplase:scale=1", "did you mean 'Laplace'"),
    ):
        assert main([*words, noise]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("law", [Poisson(400.0), PoissonGaussian(400.0, 0.01)])
def test_rounding_below_zero_counts_no_photon_and_more_is_refused(law: Noise) -> None:
    clean = torch.tensor([[1.0, -1e-7, 0.0]])  # what a blur by a Fourier transform makes of black
    zeroed = clean.clamp(min=0)
    assert torch.equal(law.sample(clean, generator(0)), law.sample(zeroed, generator(0)))
    with pytest.raises(ValueError, match="expected clean values >= 0"):
        law.sample(torch.tensor([[1.0, -1e-4]]), generator(0))
