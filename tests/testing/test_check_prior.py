"""A sane prior passes; each planted fault is caught, and called by its name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from invdiff import load_prior
from invdiff.cli import main
from invdiff.priors import ColourSpectrum, GaussianPrior, MixturePrior, PowerLaw, Prior, StationaryGaussianPrior
from invdiff.priors.adapters import from_denoiser, from_epsilon
from invdiff.priors.base import expand_sigma
from invdiff.schedules import Chain, cosine_betas, linear_betas
from invdiff.testing import check_prior
from invdiff.testing.prior import PriorReport
from invdiff.testing.prior_faults import RANGES, channel_faults, weigh
from invdiff.testing.prior_images import CleanImages, default_images, exact_samples, folder_images, photographs

Denoise = Callable[[Tensor, Tensor], Tensor]
BASIS = tuple(tuple(row) for row in np.linalg.qr(np.array([[1.0, 1, 1], [1, 1, -2], [1, -1, 0]]).T)[0].T.tolist())


class Wrapped(Prior):
    """A prior with another denoiser, and without its log-density and its samples."""

    def __init__(self, prior: Prior, denoise: Denoise) -> None:
        self.inner = denoise
        self.shape, self.std = prior.shape, prior.std
        self.sigma_min, self.sigma_max = prior.sigma_min, prior.sigma_max

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.inner(x, torch.as_tensor(sigma, dtype=x.dtype))


def colours() -> StationaryGaussianPrior:
    """Return a Gaussian over colour images, fine-grained down to levels of 0.01, no two of whose channels are alike."""
    powers = (PowerLaw(6e-3, 0.03, 1.6), PowerLaw(1.5e-3, 0.04, 1.6), PowerLaw(5e-4, 0.06, 1.6))
    return StationaryGaussianPrior(ColourSpectrum((0.5, 0.42, 0.35), BASIS, powers))


@pytest.fixture(scope="module")
def prior() -> StationaryGaussianPrior:
    return colours()


@pytest.fixture(scope="module")
def images(prior: StationaryGaussianPrior) -> CleanImages:
    found = exact_samples(prior, (3, 16, 16))
    assert found is not None
    return found


def as_network(prior: Prior, betas: Tensor, late: int = 0) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the `eps(u_t, t)` on [-1, 1] of a perfect DDPM network, whose times count from `late`."""
    chain = Chain(betas)
    known = np.arange(len(chain)) + late

    def eps(u: Tensor, t: Tensor) -> Tensor:
        log = np.interp(t.double().numpy(), known, chain.sigma[1:].log().numpy())
        s = torch.from_numpy(np.exp(log)).to(u).reshape(-1, 1, 1, 1)
        x = u * torch.sqrt(1 + s**2)
        clean = 2 * prior.denoise((x + 1) / 2, s.flatten() / 2) - 1
        return (x - clean) / s

    return eps


def on_chain(prior: Prior, network: Callable[[Tensor, Tensor], Tensor], betas: Tensor, **options: object) -> Prior:
    return from_epsilon(network, prior.shape, betas, std=prior.std, **options)  # type: ignore[arg-type]


def failed(report: PriorReport) -> set[str]:
    return {c.name for c in report.checks if not c.ok}


def test_an_exact_prior_passes_and_its_errors_are_those_that_it_expects(
    prior: StationaryGaussianPrior, images: CleanImages
) -> None:
    report = check_prior(prior, images)
    assert report.ok, report
    assert report.verdict == "sane: nothing wrong was found"
    units = next(c for c in report.checks if c.name == "units")
    assert float(units.detail.split()[4]) > 0.1, "every repair of a sane prior does harm, that of doubled levels too"
    assert "score" in {c.name for c in report.checks}
    for r in report.readings:
        assert r.error == pytest.approx(r.expected, rel=0.1)
        assert abs(math.log(r.best_ratio)) < 4.5 * r.uncertainty
    # In the middle the level is known to a per cent: that is what catches small shifts.
    assert min(r.uncertainty for r in report.readings) < 0.01
    assert not check_prior(Wrapped(prior, lambda x, s: prior.denoise(x, 1.03 * s)), images).ok


def test_a_perfect_network_on_a_chain_passes(prior: StationaryGaussianPrior, images: CleanImages) -> None:
    betas = linear_betas()
    report = check_prior(on_chain(prior, as_network(prior, betas), betas), images)
    assert report.ok, report


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("range", "expects images in [-1, 1] and gets them in [0, 1]"),
        ("range twice", "for a network that expects them in [0, 1]"),
        ("bytes", "expects images in [0, 255]"),
        ("sigma doubled", "it takes each noise level for 2"),
        ("betas reversed", "check betas, their order"),
        ("betas of another schedule", "check betas, their order"),
        ("red and blue", "takes its channels in the order BGR"),
        ("red and blue of the output", "the channels of the output stand in the order BGR"),
        ("noise", "return x - sigma * out"),
        ("sign", "change the sign"),
    ],
)
def test_planted_faults_are_called_by_name(
    prior: StationaryGaussianPrior, images: CleanImages, fault: str, words: str
) -> None:
    d, betas = prior.denoise, linear_betas()
    network = as_network(prior, betas)
    faulty: dict[str, Callable[[], Prior]] = {
        "range": lambda: on_chain(prior, network, betas, value_range=(0, 1)),
        "range twice": lambda: from_denoiser(d, prior.shape, sigma_min=0.002, sigma_max=20.0, std=prior.std),
        "bytes": lambda: Wrapped(prior, lambda x, s: 255 * d(x / 255, s / 255)),
        "sigma doubled": lambda: Wrapped(prior, lambda x, s: d(x, 2 * s)),
        "betas reversed": lambda: on_chain(prior, network, betas.flip(0)),
        "betas of another schedule": lambda: on_chain(prior, network, cosine_betas()),
        "red and blue": lambda: Wrapped(prior, lambda x, s: d(x[:, [2, 1, 0]], s)[:, [2, 1, 0]]),
        "red and blue of the output": lambda: Wrapped(prior, lambda x, s: d(x, s)[:, [2, 1, 0]]),
        "noise": lambda: Wrapped(prior, lambda x, s: (x - d(x, s)) / s.reshape(-1, *[1] * (s.ndim * 3))),
        "sign": lambda: Wrapped(prior, lambda x, s: 2 * x - d(x, s)),
    }
    report = check_prior(faulty[fault](), images)
    assert not report.ok
    assert words in report.verdict, report


@pytest.mark.parametrize("late", [1, -1])
def test_one_step_of_a_thousand(late: int) -> None:
    """Seen at the lowest levels, where a step is a large share of the level; it needs images with fine grain."""
    grain = StationaryGaussianPrior(ColourSpectrum((0.5,), ((1.0,),), (PowerLaw(2e-4, 0.03, 0.6),)))
    found = exact_samples(grain, (1, 32, 32))
    assert found is not None
    betas = linear_betas()
    assert check_prior(on_chain(grain, as_network(grain, betas), betas), found).ok
    report = check_prior(on_chain(grain, as_network(grain, betas, late), betas), found)
    assert failed(report) >= {"level"}, report
    assert "a time step that is one off" in report.verdict


def test_a_score_that_is_not_that_of_the_density_fails() -> None:
    means = torch.tensor([[-1.0, 0.5], [1.0, -0.5]]).reshape(2, 2, 1, 1)
    assert check_prior(MixturePrior(torch.tensor([0.3, 0.7]), means, 0.04)).ok

    class Scaled(MixturePrior):
        def log_prob(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
            return 1.01 * super().log_prob(x, sigma)

    report = check_prior(Scaled(torch.tensor([0.3, 0.7]), means, 0.04))
    assert failed(report) == {"score"}
    assert "sigma^2 grad log p_sigma" in report.verdict


@pytest.mark.parametrize(
    ("denoise", "name"),
    [
        (lambda d, x, s: d(x, s).detach(), "gradient"),
        (lambda d, x, s: d(x, s) + 0.1 * x.mean() * x.std(), "batch"),
        (lambda d, x, s: d(x, s.mean()), "levels"),
        (lambda d, x, s: d(x, s)[..., 1:], "type"),
        (lambda d, x, s: d(x, s).float(), "type"),
        (lambda d, x, s: d(x, s) / 0, "type"),
        (lambda d, x, s: d(x[..., : x.shape[-1] // 16 * 16], s), "any size"),
    ],
)
def test_broken_contracts_are_named(
    prior: StationaryGaussianPrior,
    images: CleanImages,
    denoise: Callable[[Denoise, Tensor, Tensor], Tensor],
    name: str,
) -> None:
    report = check_prior(Wrapped(prior, lambda x, s: denoise(prior.denoise, x, s)), images)
    assert name in failed(report), report


def test_attributes_are_asked_for() -> None:
    class Half:
        shape = (1, 8, 8)

    report = check_prior(Half())  # type: ignore[arg-type]
    assert not report.ok
    assert "without std, sigma_min, sigma_max, denoise" in str(report)


def test_samples_of_another_range_are_seen() -> None:
    dense = GaussianPrior(torch.full((1, 4, 4), 0.5), 0.04 * torch.eye(16))
    x = dense.sample(40)
    assert check_prior(dense, samples=x).ok
    report = check_prior(dense, samples=2 * x - 1)
    assert failed(report) == {"samples"}
    assert "value_range" in report.verdict


@pytest.mark.parametrize(("name", "shape"), [("photo", (3, 32, 32)), ("ct", (1, 32, 32)), ("fashion", (1, 28, 28))])
def test_embedded_networks_pass_on_photographs(name: str, shape: tuple[int, int, int]) -> None:
    report = check_prior(load_prior(name), photographs(shape))
    assert report.ok, report


def test_channels_of_a_network_on_photographs() -> None:
    prior = load_prior("photo")
    x = photographs((3, 64, 64)).x
    faults = [f for f in channel_faults() if "BGR" in f.what and "takes" in f.what]
    g = torch.Generator().manual_seed(0)
    as_it_is = weigh(faults, prior.denoise, x, [0.05, 0.1], g)[0]
    g.manual_seed(0)
    swapped = weigh(faults, lambda x, s: prior.denoise(x[:, [2, 1, 0]], s)[:, [2, 1, 0]], x, [0.05, 0.1], g)[0]
    assert swapped.gain == pytest.approx(-as_it_is.gain, rel=1e-3)
    assert swapped.convincing(0.02)
    assert not as_it_is.convincing(0.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["photo", "ct", "fashion"])
@pytest.mark.parametrize(
    "fault", ["range", "range twice", "sigma doubled", "betas reversed", "betas of another schedule"]
)
def test_faults_of_embedded_networks_are_caught(name: str, fault: str) -> None:
    prior, betas = load_prior(name), linear_betas()
    d, network = prior.denoise, as_network(prior, betas)
    faulty: dict[str, tuple[Callable[[], Prior], str]] = {
        "range": (lambda: on_chain(prior, network, betas, value_range=(0, 1)), "value_range=(-1, 1)"),
        "range twice": (lambda: from_denoiser(d, prior.shape, sigma_min=0.004, sigma_max=4.0), "value_range=(0, 1)"),
        "sigma doubled": (lambda: Wrapped(prior, lambda x, s: d(x, 2 * s)), "it takes each noise level for"),
        "betas reversed": (lambda: on_chain(prior, network, betas.flip(0)), "check betas"),
        "betas of another schedule": (lambda: on_chain(prior, network, cosine_betas()), "check betas"),
    }
    made, words = faulty[fault]
    wrapped = made()
    report = check_prior(wrapped, default_images(wrapped, (3 if name == "photo" else 1, 28, 28)))
    assert not report.ok
    assert words in report.verdict, report


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["photo", "photo-gray", "ct", "fashion", "gaussian"])
def test_sane_priors_raise_no_false_alarm(name: str, seed: int) -> None:
    report = check_prior(load_prior(name), seed=seed)
    assert report.ok, report


def test_a_wrong_range_of_a_network_of_bodies_is_seen_on_bodies() -> None:
    """On photographs of halved contrast the network is better than on these as they are: they cannot show it."""
    prior, betas = load_prior("ct"), linear_betas()
    faulty = on_chain(prior, as_network(prior, betas), betas, value_range=(0, 1))
    found = default_images(faulty, (1, 16, 16))
    assert found.known is not None
    assert found.known.shape == (15, 1, 64, 64)
    assert "bodies" in found.origin
    bodies = found.known[::3]
    assert bodies.std() > 0.15
    readings = {
        (which, kind): weigh(RANGES, one.denoise, x, [0.02, 0.1], torch.Generator().manual_seed(0))[0]
        for which, one in (("sane", prior), ("faulty", faulty))
        for kind, x in (("bodies", bodies), ("photographs", photographs((1, 64, 64), 1).x))
    }
    assert readings["faulty", "bodies"].convincing(0.1)
    assert "value_range=(-1, 1)" in readings["faulty", "bodies"].fault.advice
    assert not readings["sane", "bodies"].convincing(0.0)
    assert not readings["faulty", "photographs"].convincing(0.1)


@pytest.mark.parametrize("fault", [None, lambda x, s: x / 0, lambda x, s: x[..., 1:]])
def test_other_networks_are_judged_on_photographs(fault: Denoise | None) -> None:
    prior = load_prior("photo-gray")
    clean = default_images(prior if fault is None else Wrapped(prior, fault), (1, 16, 16))
    assert clean.known is None
    assert clean.origin == "15 crops of scikit-image's gray photographs"


CODE = """
from invdiff import load_prior
from invdiff.priors.base import expand_sigma
from invdiff.priors.adapters import from_denoiser
fashion = load_prior("fashion")
def good():
    return fashion
def bad():
    return from_denoiser(fashion.denoise, (1, 28, 28), sigma_min=0.004, sigma_max=80.0)
"""


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    file, out, folder = tmp_path / "mine.py", tmp_path / "out", tmp_path / "images"
    file.write_text(CODE)
    folder.mkdir()
    for i, x in enumerate(photographs((1, 28, 28)).x[:6]):
        np.save(folder / f"{i}.npy", x[0].numpy())
    options = ["--device", "cpu", "--threads", "1", "--images", str(folder)]
    assert main(["check", "prior", f"{file}:good", "--out", str(out), "--samples", "2", *options]) == 0
    printed = capsys.readouterr()
    assert "Verdict: sane" in printed.out
    assert "told best" in printed.out
    assert {p.name for p in out.iterdir()} == {"check.png", "check.json", "samples.png"}
    record = json.loads((out / "check.json").read_text())
    assert record["ok"]
    assert len(record["levels"]) == 8
    with Image.open(out / "check.png") as figure:
        assert figure.width > 800
    assert main(["check", "prior", f"{file}:bad", *options]) == 1
    assert "Verdict: likely fault: images are brought to [-1, 1]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "priors", "gaussian"], "did you mean 'prior'"),
        (["check", "prior", "gausian"], "did you mean 'gaussian'"),
        (["check", "prior", "photo", "--shape", "1", "32", "32"], "shape: expected 3 x any x any"),
        (["check", "prior", "photo", "--images", "nowhere"], "expected a folder"),
        (["check", "prior", "photo", "--images", "."], "expected at least 4 images"),
        (["check", "prior", "photo", "--samples", "-1"], "--samples: expected an integer >= 0"),
        (["check", "operator", "identity", "--samples", "2"], "--samples: goes with check prior"),
        (["check", "operator", "identity", "--out", "x"], "--out: goes with check prior"),
        (["check", "operator", "identity", "--shape", "0", "3", "3"], "--shape: expected three positive integers"),
    ],
)
def test_bad_input_is_told_in_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_images_of_a_folder_fit_the_prior(tmp_path: Path) -> None:
    for i in range(5):
        np.save(tmp_path / f"{i}.npy", np.random.default_rng(i).random((40 + i, 50, 3)).astype(np.float32))
    found = folder_images(tmp_path, colours())
    assert found.x.shape == (5, 3, 40, 50)
    assert 0 <= float(found.x.min()) < float(found.x.max()) <= 1
    assert folder_images(tmp_path, load_prior("fashion")).x.shape == (5, 1, 28, 28)
    assert folder_images(tmp_path, load_prior("gaussian"), (3, 16, 24)).x.shape == (5, 3, 16, 24)


class Pixelwise(Prior):
    """Independent normal pixels, with a noise level for each of them; or, with a fault, for none of them."""

    shape, std, sigma_min, sigma_max, noise_maps = (1, 8, 8), 0.2, 0.01, 9.0, True

    def __init__(self, level: Callable[[Tensor], Tensor] = lambda s: s) -> None:
        self.level = level

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        s = expand_sigma(sigma, x, maps=True)
        s = self.level(s) if s.shape[-2:] == x.shape[-2:] else s
        return 0.5 + self.std**2 / (self.std**2 + s**2) * (x - 0.5)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return 0.5 + self.std * torch.randn(n, 1, 8, 8, generator=generator)


def test_a_prior_with_a_level_for_each_pixel_is_tested_on_maps() -> None:
    def verdict(level: Callable[[Tensor], Tensor]) -> tuple[bool, str]:
        images = Pixelwise().sample(16, torch.Generator().manual_seed(0))
        report = check_prior(Pixelwise(level), images)
        check = next(c for c in report.checks if c.name == "maps")
        assert report.ok == check.ok, str(report)
        return check.ok, check.detail

    assert verdict(lambda s: s) == (True, verdict(lambda s: s)[1])
    faults: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda s: s.mean((1, 2, 3), keepdim=True),
        lambda s: s.amin((1, 2, 3), keepdim=True),
        lambda s: s.flip(-1),
    )
    assert not any(verdict(fault)[0] for fault in faults)
    ok, detail = verdict(lambda s: 2 * s)
    assert not ok and "a constant map and its number differ" in detail
    assert not any(c.name == "maps" for c in check_prior(load_prior("gaussian")).checks)
