"""What a path is taken for, and what is said where it is nothing that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from invdiff.cli import main
from invdiff.priors import NetworkPrior, load_prior
from invdiff.priors.network import Preconditioning
from invdiff.priors.unet import UNet, UNetConfig
from invdiff.registry import is_weights, weights_path


class Harmful:
    """A pickle that would write a file while it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.mark,)  # type: ignore[return-value]


def test_paths_with_options(tmp_path: Path) -> None:
    assert is_weights("a/model.pt:image_size=64,schedule=cosine")
    assert weights_path("a/model.pt:image_size=64") == Path("a/model.pt")
    assert is_weights(f"{tmp_path}:clip=true")
    assert weights_path(f"./{tmp_path.name}") == Path(tmp_path.name)
    assert not is_weights("photo")
    assert not is_weights("file.py:prior:sigma=3")
    odd = tmp_path / "a:b=c.pt"
    odd.touch()
    assert weights_path(str(odd)) == odd


def test_an_unknown_file_says_what_is_recognised_and_what_this_is(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}, tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"got 2 tensors named fc.weight, fc.bias; recognised are ") as caught:
        load_prior(tmp_path / "net.pt")
    for name in (
        "guided-diffusion",
        "NVlabs/edm",
        "score_sde_pytorch",
        "diffusers",
        "deepinv",
        "invdiff train",
        ".py:",
    ):
        assert name in str(caught.value)
    torch.save({"state_dict": {"model.diffusion_model.x": torch.zeros(2)}}, tmp_path / "sd.ckpt")
    with pytest.raises(ValueError, match="as latent diffusion models have, which are no priors of images"):
        load_prior(tmp_path / "sd.ckpt")
    names = ("conv_in.weight", "time_embedding.linear_1.weight")
    save_file({k: torch.zeros(2) for k in names}, tmp_path / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ValueError, match=r"the weights of a diffusers model alone: give its folder"):
        load_prior(tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="got a folder with nothing; recognised are"):
        load_prior(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*none.pt'; docs/priors.md says where"):
        load_prior(tmp_path / "none.pt")


def test_no_code_is_run_and_damage_is_said(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"model": Harmful(mark)}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match="a pickle that runs code when it is read"):
        load_prior(tmp_path / "bad.pt")
    assert not mark.exists()
    for name in ("bad.pt", "bad.safetensors", "bad.ckpt"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 no archive")
        with pytest.raises(
            ValueError, match=r"prior: expected (weights that torch.save wrote|a safetensors file|tensors alone)"
        ):
            load_prior(tmp_path / name)
    torch.save({"weights": [1, 2]}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"expected a state dict \(tensors by name\), got a dict of 'weights'"):
        load_prior(tmp_path / "bad.pt")


def test_exports_and_factories_take_options(tmp_path: Path) -> None:
    network = UNet(UNetConfig(channels=1, widths=(8, 16), encoder=(1, 1), decoder=(1,)))
    NetworkPrior(network, (1, None, None), Preconditioning(), stride=4).save(tmp_path / "mine")
    for spec in (str(tmp_path), f"{tmp_path}/mine.safetensors", f"{tmp_path}:precision=bfloat16"):
        prior = load_prior(spec)
        assert isinstance(prior, NetworkPrior)
        assert prior.precision == ("bfloat16" if ":" in spec else "float32")
    with pytest.raises(ValueError, match=r"unknown option of an export of invdiff train 'precison'; did you mean"):
        load_prior(tmp_path, precison="bfloat16")
    file = tmp_path / "own.py"
    file.write_text(
        "from invdiff.priors import from_denoiser\n"
        "def make(top: float = 1.0):\n"
        "    return from_denoiser(lambda x, s: 0 * x, (1, None, None), sigma_min=0.01, sigma_max=top)\n"
    )
    assert load_prior(f"{file}:make").sigma_max == pytest.approx(0.5)
    assert load_prior(f"{file}:make:top=3").sigma_max == pytest.approx(1.5)
    with pytest.raises(ValueError, match=r"unknown option of prior .* 'topp'; did you mean 'top'\?"):
        load_prior(f"{file}:make:topp=3")
    with pytest.raises(ValueError, match="top: expected a number, got 'high'"):
        load_prior(f"{file}:make:top=high")


def test_the_command_line_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "y.npy", np.zeros((8, 8), dtype=np.float32))
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "net.pt")
    words = ["reconstruct", str(tmp_path / "y.npy"), "--operator", "identity", "--noise", "0.1"]
    for prior, said in (
        (tmp_path / "net.pt", "recognised are guided-diffusion"),
        (tmp_path / "none.pt", "no file or folder"),
        ("gausian:x=3", "did you mean 'gaussian'"),
    ):
        assert main([*words, "--prior", str(prior), "--out", str(tmp_path / "out")]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists()
