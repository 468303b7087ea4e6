"""Units of a measurement: a sinogram in 1/cm gives what the same sinogram in the values of the prior gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import invdiff
from invdiff.cli import main
from invdiff.noise import Gaussian, GaussianMap, Poisson, StackedNoise, TransmissionPoisson
from invdiff.operators import Blur, Identity, PhaseRetrieval, Tomography, stack
from invdiff.priors import GaussianPrior, embedded, loading
from invdiff.priors.gray import GrayPrior
from invdiff.rescaling import in_values
from invdiff.solvers import DiffPIR
from invdiff.units import DISPLAY, Units, find_units, hounsfield, parse_units

SIDE, PIXEL_CM = 32, 0.9  # a body of 29 cm
ANGLES = [9.0 * i for i in range(20)]
SOLVER = DiffPIR(steps=4)


def phantom() -> torch.Tensor:
    """Return a body in Hounsfield units: air, fat, water, soft tissue, bone; `(1, 1, H, W)`, float64."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2.0
    hu = np.full((SIDE, SIDE), -1000.0)
    hu[(x / 14) ** 2 + (y / 11) ** 2 < 1] = -100
    hu[(x / 12) ** 2 + (y / 9) ** 2 < 1] = 40
    hu[(x - 4) ** 2 + y**2 < 9] = 0
    hu[(x + 5) ** 2 + (y - 1) ** 2 < 7] = 700
    return torch.from_numpy(hu)[None, None]


def operator(pixel_size: float) -> Tomography:
    return Tomography((1, SIDE, SIDE), angles_deg=ANGLES, pixel_size=pixel_size, detectors=SIDE + 13)


def rmse(mean: Any) -> float:
    return float((torch.as_tensor(mean).double() - phantom()).square().mean().sqrt())


@pytest.mark.parametrize(("text", "pixel_size"), [("1/cm", PIXEL_CM), ("1/mm", 10 * PIXEL_CM), ("1/m", PIXEL_CM / 100)])
def test_a_sinogram_of_attenuation_gives_what_the_scaled_one_gives(text: str, pixel_size: float) -> None:
    mu_water = {"1/cm": 0.2, "1/mm": 0.02, "1/m": 20.0}[text]
    mu = (mu_water * (1 + phantom() / 1000)).float()
    A = operator(pixel_size)
    problem = invdiff.simulate(A, mu, 0.01 * float(A(mu).square().mean().sqrt()), seed=1)
    found = invdiff.reconstruct(problem, "ct", SOLVER, samples=2, units=text)
    assert found.units == text
    error = rmse(1000 * (found.mean.double() / mu_water - 1))
    # The same measurement, scaled by hand so that water is 0.5.
    assert isinstance(problem.noise, Gaussian)
    by_hand = invdiff.Problem(A, Gaussian(problem.noise.std / (2 * mu_water)), problem.measurement / (2 * mu_water))
    scaled = invdiff.reconstruct(by_hand, "ct", SOLVER, samples=2)
    assert error == pytest.approx(rmse(2000 * scaled.mean.double() - 1000), rel=1e-3)
    assert torch.allclose(found.std / (2 * mu_water), scaled.std, atol=2e-3)  # of iterations that stop
    # Taken as it is, the same sinogram is a body of other values.
    wrong = invdiff.reconstruct(problem, "ct", SOLVER, samples=2)
    assert rmse(1000 * (wrong.mean.double() / mu_water - 1)) > 1.3 * error


def run(tmp_path: Path, file: str, *more: str) -> int:
    fixed = ["reconstruct", str(tmp_path / file), "--prior", "ct", "--solver", "diffpir:steps=4", "--samples", "2"]
    return main([*fixed, "--out", str(tmp_path / "o"), "--overwrite", *more])


def arrays(tmp_path: Path) -> Any:
    return np.load(tmp_path / "o" / "result.npz")


def test_units_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mu = (0.19 * (1 + phantom() / 1000)).float()
    problem = invdiff.simulate(operator(PIXEL_CM), mu, 0.02, seed=1)
    np.save(tmp_path / "s.npy", problem.measurement[0, 0].numpy())
    np.save(tmp_path / "v.npy", problem.measurement[0, 0].numpy() / 0.38)
    geometry = ["--operator", f"tomography:image_size={SIDE}", "--angles", "0:180:9", "--pixel-size", str(PIXEL_CM)]
    assert run(tmp_path, "v.npy", *geometry, "--noise", str(0.02 / 0.38)) == 0
    expected = {k: arrays(tmp_path)[k] for k in ("mean", "std", "lower", "measurement")}
    told = " ".join("".join(capsys.readouterr()).split())
    assert "taken as one of (HU + 1000) / 2000" in told and "--units 1/cm" in told
    assert run(tmp_path, "s.npy", *geometry, "--noise", "0.02", "--units", "1/cm:mu_water=0.19") == 0
    for key, value in expected.items():
        # Iterations stop at a residual, so they differ by more than rounding.
        assert np.linalg.norm(arrays(tmp_path)[key] - 0.38 * value) < 0.02 * np.linalg.norm(0.38 * value), key
    record = json.loads((tmp_path / "o" / "result.json").read_text())
    assert record["noise"]["std"] == 0.02
    assert record["prior_units"] == "(HU + 1000) / 2000"
    assert record["units"] == {"name": "1/cm", "mu_water": 0.19, "slope": 0.38, "offset": 0.0}
    told = " ".join("".join(capsys.readouterr()).split())
    assert "1/cm, water 0.19" in told and "Gaussian(std=0.02)" in told
    # Lengths are in cm too, so the side of a pixel is needed: a pixel of 1 cm would be a silent choice.
    assert run(tmp_path, "s.npy", *geometry[:4], "--noise", "0.02", "--units", "1/cm") == 2
    assert "expected the side of a pixel in cm, got none; give --pixel-size" in " ".join(
        capsys.readouterr().err.split()
    )
    # A prior of pictures has no such units.
    assert run(tmp_path, "s.npy", *geometry, "--noise", "0.02", "--units", "1/cm", "--prior", "photo-gray") == 2
    assert f"photo-gray has {DISPLAY}; take the prior ct" in " ".join(capsys.readouterr().err.split())


def test_a_clean_image_in_units_is_corrupted_in_them(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", phantom()[0, 0].float().numpy())
    assert run(tmp_path, "x.npy", "--simulate", "--operator", "identity", "--noise", "30", "--units", "HU") == 0
    found = arrays(tmp_path)
    assert np.allclose(found["clean"][0], phantom()[0, 0], atol=0.05)
    assert np.std(found["measurement"][0] - found["clean"][0]) == pytest.approx(30, rel=0.15)
    assert np.std(found["mean"][0] - found["clean"][0]) < 30
    scores = json.loads((tmp_path / "o" / "result.json").read_text())["metrics"]["measurement"]
    # Of values clipped to [0, 1]: noise of the air below -1000 is cut off.
    assert scores["psnr"] == pytest.approx(-20 * np.log10(30 / 2000), abs=2)


def test_a_picture_that_is_not_in_hounsfield_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", ((phantom()[0, 0] + 1000) / 2000).float().numpy())
    assert run(tmp_path, "x.npy", "--operator", "identity", "--noise", "0.01", "--units", "HU") == 2
    assert "expected Hounsfield units" in capsys.readouterr().err


def test_dicom_comes_back_in_hounsfield_units(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    stored = (phantom()[0, 0].numpy() + 1024).astype(np.uint16)
    data = pydicom.dataset.Dataset()
    data.update({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": pydicom.uid.generate_uid()})
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.Modality, data.RescaleType, data.RescaleSlope, data.RescaleIntercept = "CT", "HU", 1, -1024
    data.set_pixel_data(stored, "MONOCHROME2", 16)
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "x.dcm", data, enforce_file_format=True)
    assert run(tmp_path, "x.dcm", "--operator", "identity", "--noise", "1", "--units", "HU", "--solver", "pinv") == 0
    back = pydicom.dcmread(tmp_path / "o" / "mean.dcm")
    hu = back.pixel_array * float(back.RescaleSlope) + float(back.RescaleIntercept)
    assert np.allclose(hu, phantom()[0, 0], atol=0.6)


def test_units_with_an_offset_and_every_gaussian_noise() -> None:
    units = find_units("HU", "(HU + 1000) / 2000", "ct")
    x = phantom()
    blur, same = Blur((1, SIDE, SIDE), kernel=torch.full((3, 3), 0.2)), Identity((1, SIDE, SIDE))
    laws = [Gaussian(20.0), GaussianMap(torch.linspace(10, 30, SIDE))]
    for law in laws:
        problem = invdiff.simulate(blur, x, law)  # the kernel's sum is 1.8: A(1) is not 1
        solved = in_values(problem, units)
        assert torch.allclose(solved.residual(units.to_values(x)) * 2000, problem.residual(x), atol=1e-9)
        std = solved.noise.gaussian(solved.measurement).std * 2000
        assert torch.allclose(std, problem.noise.gaussian(problem.measurement).std)
    both = invdiff.simulate(stack([blur, same]), x, laws)
    solved = in_values(both, units)
    assert isinstance(solved.noise, StackedNoise)
    shift = both.log_likelihood(x) - solved.log_likelihood(units.to_values(x))
    assert torch.allclose(shift, torch.tensor(-both.observations * np.log(2000)))


def test_noise_of_photons_keeps_the_measurement() -> None:
    mu = (0.2 * (1 + phantom() / 1000)).clamp(min=0)
    problem = invdiff.simulate(operator(PIXEL_CM), mu, TransmissionPoisson(1e5))
    units = Units("1/cm", 0.4, 0.0)
    solved = in_values(problem, units)
    assert torch.equal(solved.measurement, problem.measurement)
    assert torch.allclose(solved.log_likelihood(units.to_values(mu)), problem.log_likelihood(mu))
    with pytest.raises(ValueError, match=r"units: HU: expected Gaussian noise, got Poisson"):
        in_values(
            invdiff.simulate(Identity((1, 4, 4)), torch.ones(1, 1, 4, 4), Poisson(100.0)), Units("HU", 2000, -1000)
        )
    nonlinear = invdiff.simulate(PhaseRetrieval((1, 4, 4)), torch.ones(1, 1, 4, 4), 0.1)
    with pytest.raises(ValueError, match="units: HU: expected a linear operator"):
        in_values(nonlinear, Units("HU", 2000, -1000))


def test_the_evidence_is_that_of_the_measurement_in_its_units() -> None:
    prior = GaussianPrior(torch.full((1, 4, 4), 0.5), 0.01 * torch.eye(16))
    prior.units = "(HU + 1000) / 2000"
    problem = invdiff.Problem(Identity((1, 4, 4)), Gaussian(30.0), torch.full((1, 1, 4, 4), 10.0))
    found = invdiff.reconstruct(problem, prior, "mcgdiff", steps=20, particles=64, units="HU")
    assert found.log_evidence is not None
    exact = 16 * torch.distributions.Normal(0.0, float(np.hypot(200, 30))).log_prob(torch.tensor(10.0))
    assert float(found.log_evidence) == pytest.approx(float(exact), abs=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1/cn", "unknown unit '1/cn'; did you mean '1/cm'"),
        ("1/cm:mu_water=20", "from 0.05 to 6, got 20; it is 0.206 at 60 keV"),
        ("1/cm:mu=0.2", "unknown option of 1/cm 'mu'"),
        ("HU:mu_water=0.2", "unknown option of HU 'mu_water'"),
    ],
)
def test_units_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_units(text)


def test_priors_state_their_units() -> None:
    assert {n: embedded.load(n).units for n in embedded.names()}["ct"] == "(HU + 1000) / 2000"
    assert all(embedded.load(n).units for n in embedded.names())
    assert GrayPrior(embedded.photo()).units == DISPLAY
    assert hounsfield("(HU - 40) / 400") == (400.0, 40.0) and hounsfield(DISPLAY) is None
    assert hounsfield("(HU + 1000) / 2000") == (2000.0, -1000.0)
    wide = find_units("1/cm", "(HU + 1024) / 4096", "mine")
    assert (wide.slope, wide.offset) == pytest.approx((0.8192, -0.0048))
    with pytest.raises(ValueError, match="gaussian states no units"):
        find_units("HU", "", "gaussian")


def test_weights_take_units(tmp_path: Path) -> None:
    file = embedded.load("ct").save(tmp_path / "mine")
    card = json.loads(file.with_suffix(".json").read_text())
    del card["units"]
    file.with_suffix(".json").write_text(json.dumps(card))
    assert invdiff.load_prior(file).units == DISPLAY
    assert invdiff.load_prior(file, units="(HU + 1024) / 4096").units == "(HU + 1024) / 4096"
    assert invdiff.load_prior(f"{file}:units=(HU + 1024) / 4096,tile=512").units == "(HU + 1024) / 4096"
    prior = GaussianPrior(torch.zeros(1, 2, 2), torch.eye(4))  # as another library's
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load_foreign", lambda path, options: prior)
        (tmp_path / "x.pt").write_bytes(b"weights")
        assert invdiff.load_prior(f"{tmp_path / 'x.pt'}:units=(HU - 40) / 400").units == "(HU - 40) / 400"
