"""The fit in the terminal, in result.json, and what a misfit often comes from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from skimage import data

from invdiff import Problem, simulate
from invdiff.cli import main
from invdiff.figures import comparison
from invdiff.fit import level_causes, likely_causes
from invdiff.images import save_image
from invdiff.noise import Gaussian, Poisson, measure_noise
from invdiff.noise.estimate import NoiseEstimate
from invdiff.operators import Demosaic, Identity, Inpainting, random_mask


def photograph(side: int = 96) -> torch.Tensor:
    x = torch.from_numpy(data.coffee()[:384, :384]).permute(2, 0, 1)[None] / 255
    return torch.nn.functional.interpolate(x, size=(side, side), mode="area")


def run(tmp_path: Path, std: float, stated: str, *more: str) -> dict[str, object]:
    y = simulate(Identity((3, 96, 96)), photograph(), std, seed=1).measurement
    save_image(y, tmp_path / "y.png")
    command = ["reconstruct", str(tmp_path / "y.png"), "--operator", "identity", "--noise", stated]
    assert main([*command, "--solver", "pnp", "--out", str(tmp_path / "o"), *more]) == 0
    record: dict[str, object] = json.loads((tmp_path / "o/result.json").read_text())
    return record


def test_the_fit_of_a_good_result(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record = run(tmp_path, 0.05, "0.05")
    fit = record["fit"]
    assert isinstance(fit, dict)
    assert record["status"] == "ok"
    assert 0.7 < fit["mean"] < 1.1
    assert fit["mean"] == pytest.approx(fit["samples"], rel=1e-4)  # pnp gives one image
    assert fit["limit"] == pytest.approx(1.1**0.5, abs=1e-4)
    assert fit["note"] == ""
    said = " ".join(capfd.readouterr().out.split())
    assert f"Fit: rms(y - A(mean)) is {fit['mean']:.3g} times the noise" in said


def test_levels_that_are_far_off_are_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit = run(tmp_path, 0.1, "0.003")["fit"]
    said = " ".join(capfd.readouterr().out.split())
    assert isinstance(fit, dict)
    assert "the noise level is likely too small: the measurement has about 0.1, and 0.003 is stated" in said
    assert "noise level is likely too large" in str(run(tmp_path, 0.01, "0.2", "--overwrite")["fit"])
    capfd.readouterr()


def test_noiseless_data_have_no_fit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, 0.0, "0")["fit"] is None
    assert "Fit:" not in capfd.readouterr().out


def test_level_causes_of_masks_and_mosaics() -> None:
    x, mask = photograph(), random_mask((96, 96), missing=0.1, seed=0)
    for operator in (Identity((3, 96, 96)), Inpainting(mask, channels=3), Demosaic((3, 96, 96))):
        y = simulate(operator, x, 0.08, seed=0).measurement
        assert level_causes(Problem(operator, Gaussian(0.08), y)) == []
        assert "too small" in level_causes(Problem(operator, Gaussian(0.008), y))[0]
        assert "too large" in level_causes(Problem(operator, Gaussian(0.8), y))[0]
    assert level_causes(Problem(Identity((3, 96, 96)), Poisson(100.0), x)) == []


def test_likely_causes_in_the_values() -> None:
    x, a = photograph(), Identity((3, 96, 96))
    shifted = likely_causes(Problem(a, Gaussian(0.05), 2 * x - 1), x[:, None])
    assert any("values from -" in cause for cause in shifted) or "times what the operator makes" in shifted[0]
    around = likely_causes(Problem(a, Gaussian(0.05), x - 0.5), (x - 0.5)[:, None])
    assert around[0].startswith("the measurement has values from -0.4")
    tinted = x * torch.tensor([1.1, 1.0, 0.8])[:, None, None]
    assert likely_causes(Problem(a, Gaussian(0.05), tinted), x[:, None])[0].startswith("the channels are 1.1, 1, 0.8")
    assert likely_causes(simulate(a, x, 0.05), x[:, None]) == []


def test_a_result_that_is_the_measurement_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit = run(tmp_path, 0.1, "0.1", "--solver", "pinv", "--prior", "gaussian")["fit"]
    assert isinstance(fit, dict) and fit["samples"] < 0.02
    said = " ".join(capfd.readouterr().out.split())
    assert "so the noise of the measurement was not removed: the result reproduces it" in said
    assert "reproduces" not in str(run(tmp_path, 0.1, "0.1", "--overwrite")["fit"])
    low = run(tmp_path, 0.0, "0.002", "--solver", "pinv", "--prior", "gaussian", "--overwrite")["fit"]
    assert "reproduces" not in str(low)  # nothing that one could see


def test_noise_that_is_estimated_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def counted(*given: Any, **options: Any) -> NoiseEstimate:
        nonlocal calls
        calls += 1
        return measure_noise(*given, **options)

    for place in ("invdiff.noise.measure_noise", "invdiff.fit.measure_noise"):
        monkeypatch.setattr(place, counted)
    run(tmp_path, 0.05, "auto")
    assert calls == 1


def test_the_figure_has_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []

    def noted(rows: Any, *, title: str, subtitle: str) -> Any:
        titles.append(subtitle)
        return comparison(rows, title=title, subtitle=subtitle)

    monkeypatch.setattr("invdiff.commands.reconstruction.run.comparison", noted)
    fit = run(tmp_path, 0.05, "0.05")["fit"]
    assert isinstance(fit, dict)
    assert titles[0].endswith(f"fit {fit['mean']:.3g}, samples {fit['samples']:.3g}")
