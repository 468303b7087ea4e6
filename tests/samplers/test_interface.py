"""What a sampler promises besides its law: sizes, counts, errors that say what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from invdiff.priors import GaussianPrior, MixturePrior, Prior
from invdiff.samplers import (
    DDIM,
    SAMPLERS,
    ULA,
    AdaptiveODE,
    AnnealedLangevin,
    AnnealedMALA,
    Euler,
    Heun,
    PredictorCorrector,
    Sampler,
    integrate_torchdiffeq,
    make_sampler,
    sample,
)
from invdiff.samplers.interface import default_shape

D = torch.float64


class AnySize(Prior):
    """White noise of any size."""

    shape, std, sigma_min, sigma_max = (1, None, None), 0.5, 0.01, 10.0

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return x * 0.25 / (0.25 + torch.as_tensor(sigma) ** 2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws_images_of_any_size(name: str) -> None:
    result = make_sampler(SAMPLERS[name], {"steps": 3})(AnySize(), 2, shape=(1, 3, 4))
    assert result.samples.shape == (2, 1, 3, 4)
    assert result.samples.dtype == torch.float32
    assert bool(result.samples.isfinite().all())


@pytest.mark.parametrize(
    ("sampler", "nfe"),
    [
        (DDIM(steps=7), 8),
        (Heun(steps=7), 14),
        (AnnealedLangevin(steps=7, inner=3), 7 * 3 + 2),
        (AnnealedMALA(steps=7, inner=3), 7 * 4 + 1),  # the last score is that of the clean image
        (PredictorCorrector(steps=7, corrections=2), 7 + 6 * 2 + 1),
        (ULA(steps=7, warm=0), 8),
        (ULA(steps=7, warm=5), 13),
    ],
)
def test_evaluations_are_counted(sampler: Sampler, nfe: int, mixture: MixturePrior) -> None:
    """One of them asks for the centre of the start."""
    assert sampler(mixture, 5, dtype=D, batch_size=2).nfe == nfe


def test_steps_are_reported(mixture: MixturePrior) -> None:
    seen: list[tuple[int, int]] = []
    Euler(steps=3)(mixture, 4, batch_size=2, watch=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 6) for k in range(1, 7)]


def test_divergence_is_reported_and_kept_finite(gaussian: GaussianPrior) -> None:
    result = ULA(steps=400, gamma=10.0, sigma=0.01)(gaussian, 3)
    assert result.status == "diverged"
    assert "ULA diverged at step" in result.message
    assert bool(result.samples.isfinite().all())


def test_wrong_requests_raise(gaussian: GaussianPrior) -> None:
    with pytest.raises(ValueError, match="any size; give one"):
        Euler()(AnySize(), 2)
    with pytest.raises(ValueError, match="as the prior has"):
        Euler()(gaussian, 2, shape=(1, 2, 2))
    with pytest.raises(ValueError, match="n: expected an integer >= 1"):
        Euler()(gaussian, 0)
    with pytest.raises(ValueError, match="start: expected shape"):
        Euler()(gaussian, 2, start=torch.zeros(1, 1, 1, 2))
    with pytest.raises(ValueError, match="did you mean 'eta'"):
        make_sampler(DDIM, {"etta": 1.0})
    for name, wrong in (("steps", 0), ("sigma_min", -1.0), ("eta", 1.5)):
        with pytest.raises(ValueError, match=f"DDIM: {name}"):
            make_sampler(DDIM, {name: wrong})
    with pytest.raises(ValueError, match="rtol"):
        AdaptiveODE(rtol=0.0)
    with pytest.raises(ValueError, match="sigma"):
        ULA(sigma=0.0)


def test_torchdiffeq_is_asked_for_by_name(gaussian: GaussianPrior, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'invdiff\[ode\]'"):
        AdaptiveODE(integrator=integrate_torchdiffeq)(gaussian, 2)


def test_torchdiffeq_agrees_with_scipy(gaussian: GaussianPrior) -> None:
    options = {"rtol": 1e-7, "atol": 1e-7, "together": 4}
    found = AdaptiveODE(integrator=integrate_torchdiffeq, **options)(gaussian, 4, dtype=D)  # type: ignore[arg-type]
    torch.testing.assert_close(found.samples, AdaptiveODE(**options)(gaussian, 4, dtype=D).samples, rtol=0, atol=1e-5)  # type: ignore[arg-type]


def test_plain_langevin_picks_a_level_at_which_it_is_stable() -> None:
    """Data on a line, of no width across: at the prior's own lowest level the default step would diverge at once."""
    flat = GaussianPrior(torch.zeros((1, 1, 2), dtype=D), torch.diag(torch.tensor([1.0, 0.0], dtype=D)))
    assert ULA(steps=50)(flat, 20, dtype=D).status == "ok"
    assert ULA(steps=50, sigma=flat.sigma_min)(flat, 20, dtype=D).status == "diverged"


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_writes_a_sheet(name: str, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    result = sample("gaussian", name, steps=2, n=2, shape=(1, 8, 8), out=out)
    assert result.samples.shape == (2, 1, 8, 8)
    assert out.is_file()


def test_options_reach_the_sampler_and_unknown_ones_raise(tmp_path: Path) -> None:
    prior = GaussianPrior(torch.zeros(1, 2, 2), torch.eye(4))
    plain, noisy = (sample(prior, "ddim", steps=4, eta=eta, n=2).samples for eta in (0.0, 1.0))
    assert not torch.equal(plain, noisy)
    assert sample(prior, "annealed", steps=3, options={"inner": 2}, n=2).nfe == 3 * 2 + 2
    with pytest.raises(ValueError, match="did you mean 'heun'"):
        sample(prior, "huen")
    with pytest.raises(ValueError, match="eta"):
        sample(prior, "heun", eta=0.5, out=tmp_path / "no.png")
    assert not list(tmp_path.iterdir())


def test_sizes_that_a_prior_leaves_open() -> None:
    assert default_shape(GaussianPrior(torch.zeros(3, 2, 4), torch.eye(24))) == (3, 2, 4)
    from invdiff.priors import load_prior

    assert default_shape(load_prior("gaussian")) == (1, 64, 64)
