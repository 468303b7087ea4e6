"""Folders that diffusers itself wrote, against diffusers' own networks and schedulers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from skimage.data import coffee
from torch import Tensor

from invdiff.cli import main
from invdiff.priors import load_prior

diffusers = pytest.importorskip("diffusers", reason="the extra of the tests has it")
SIDE = 16


def network(**options: Any) -> Any:
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=SIDE, in_channels=3, layers_per_block=1,
        **{
            "norm_num_groups": 8,
            "out_channels": 3, "block_out_channels": (16, 32), "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"), "attention_head_dim": 8,
        } | options,
    )  # fmt: skip


def folder(path: Path, unet: Any, scheduler: Any, *, safe: bool = True) -> Path:
    diffusers.DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(path, safe_serialization=safe)
    return path


def states(abar: float, k: int) -> Tensor:
    generator = torch.Generator().manual_seed(k)
    clean = 2 * torch.rand((2, 3, SIDE, SIDE), generator=generator, dtype=torch.float64) - 1
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return math.sqrt(abar) * clean + math.sqrt(1 - abar) * noise


def by_hand(kind: str, u: Tensor, abar: float, says: Tensor) -> Tensor:
    alpha, std = math.sqrt(abar), math.sqrt(1 - abar)
    clean = {"epsilon": (u - std * says) / alpha, "v_prediction": alpha * u - std * says, "sample": says}[kind]
    return clean


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_ddpm_pipelines(kind: str, schedule: str, tmp_path: Path) -> None:
    clip = schedule == "linear"
    scheduler = diffusers.DDPMScheduler(beta_schedule=schedule, prediction_type=kind, clip_sample=clip)
    unet = network()
    prior = load_prior(folder(tmp_path, unet, scheduler), precision="float64")
    assert prior.shape == (3, SIDE, SIDE)
    unet = unet.double().eval()
    chain = (1 - scheduler.betas.double()).cumprod(0)
    for k in torch.linspace(0, 998, 10).long().tolist():
        abar = float(chain[k])
        u = states(abar, k)
        with torch.no_grad():
            says = unet(u, k).sample
        want = by_hand(kind, u, abar, says)
        x, sigma = (u / math.sqrt(abar) + 1) / 2, math.sqrt(1 / abar - 1) / 2
        want = ((want.clamp(-1, 1) if clip else want) + 1) / 2
        assert says.std() > 0.01
        assert (prior.denoise(x, sigma) - want).abs().max() < 1e-5, k
        # The scheduler's own step says the same, but for its products of a thousand float32 factors.
        theirs = (scheduler.step(says, k, u).pred_original_sample + 1) / 2
        assert (theirs - want).abs().max() < 1e-4 * max(1, sigma)


def test_learned_variance_classes_and_old_weights(tmp_path: Path) -> None:
    """What else a folder may hold: six channels, an embedding of classes, `.bin`, other schedulers with rates."""
    scheduler = diffusers.DDIMScheduler(beta_end=0.015, clip_sample_range=2.0)
    unet = network(out_channels=6, num_class_embeds=4)
    folder(tmp_path, unet, scheduler, safe=False)
    assert not list(tmp_path.rglob("*.safetensors"))
    with pytest.raises(ValueError, match=r"class_label: expected 0..3, got None"):
        load_prior(tmp_path)
    prior = load_prior(f"{tmp_path}:class_label=2,precision=float64")
    abar = float((1 - scheduler.betas.double()).cumprod(0)[400])
    u = states(abar, 0)
    with torch.no_grad():
        says = unet.double().eval()(u, 400, class_labels=torch.tensor([2, 2])).sample[:, :3]
    want = (by_hand("epsilon", u, abar, says).clamp(-2, 2) + 1) / 2
    got = prior.denoise((u / math.sqrt(abar) + 1) / 2, math.sqrt(1 / abar - 1) / 2)
    assert (got - want).abs().max() < 1e-5
    assert got.max() > 1.05, "the range of clipping was not read"


def test_score_sde_ve(tmp_path: Path) -> None:
    """google/ncsnpp-*: the network says the score at a level, on images in [0, 1]."""
    unet = network(
        time_embedding_type="fourier", center_input_sample=True, add_attention=True,
        down_block_types=("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        up_block_types=("AttnSkipUpBlock2D", "SkipUpBlock2D"),
        block_out_channels=(32, 32), norm_num_groups=None, attention_head_dim=8,
    )  # fmt: skip
    scheduler = diffusers.ScoreSdeVeScheduler(sigma_min=0.01, sigma_max=348.0)
    (tmp_path / "unet").mkdir()
    unet.save_pretrained(tmp_path / "unet")
    scheduler.save_pretrained(tmp_path / "scheduler")
    prior = load_prior(tmp_path, precision="float64")
    assert (prior.sigma_min, prior.sigma_max) == pytest.approx((0.01, 348.0))
    unet = unet.double().eval()
    for sigma in torch.logspace(-1.9, 2.5, 10, dtype=torch.float64).tolist():
        x = (states(1.0, 0) + 1) / 2 + sigma * torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
        with torch.no_grad():
            score = unet(x, torch.tensor([sigma] * 2, dtype=torch.float64)).sample
        assert (sigma * score).std() > 0.01
        assert (prior.denoise(x, sigma) - (x + sigma**2 * score)).abs().max() < 1e-5


def test_zero_terminal_snr_and_the_networks_folder_alone(tmp_path: Path) -> None:
    scheduler = diffusers.DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction", clip_sample=False)
    network().save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected scheduler/scheduler_config.json"):
        load_prior(tmp_path)
    scheduler.save_pretrained(tmp_path)
    prior = load_prior(tmp_path)
    assert 10 < prior.sigma_max <= 100
    assert prior.denoise(torch.zeros(1, 3, SIDE, SIDE), prior.sigma_max).isfinite().all()


def test_what_is_missing_or_no_prior(tmp_path: Path) -> None:
    folder(tmp_path, network(), diffusers.DDPMScheduler())

    def edit(name: str, **values: Any) -> None:
        path = tmp_path / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    with pytest.raises(ValueError, match=r"unknown option of diffusers 'clipp'; did you mean 'clip'\?"):
        load_prior(tmp_path, clipp=True)
    with pytest.raises(ValueError, match=r"diffusers: image_size: expected an integer, got 'big'"):
        load_prior(tmp_path, image_size="big")
    edit("scheduler/scheduler_config.json", thresholding=True)
    with pytest.raises(ValueError, match="thresholded by quantiles"):
        load_prior(tmp_path)
    assert load_prior(tmp_path, clip=False).shape == (3, SIDE, SIDE)
    edit("scheduler/scheduler_config.json", thresholding=False, prediction_type="flow")
    with pytest.raises(ValueError, match=r"unknown prediction_type 'flow'"):
        load_prior(tmp_path)
    edit("scheduler/scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler")
    with pytest.raises(ValueError, match=r"expected one with rates \(DDPM, DDIM, PNDM, ...\)"):
        load_prior(tmp_path)
    edit("unet/config.json", _class_name="UNet2DConditionModel")
    with pytest.raises(ValueError, match="expected an unconditional UNet2DModel, got UNet2DConditionModel"):
        load_prior(tmp_path)
    edit("model_index.json", vqvae=["diffusers", "VQModel"])
    with pytest.raises(ValueError, match="with a vqvae; latent and text-conditional models are no priors"):
        load_prior(tmp_path)
    edit("model_index.json", vqvae=None)
    (tmp_path / "model_index.json").unlink()
    edit("unet/config.json", _class_name="UNet2DModel")
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected the weights unet/.* at huggingface.co: put them there"):
        load_prior(tmp_path)


def test_a_reconstruction_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prior = folder(tmp_path / "model", network(), diffusers.DDPMScheduler(num_train_timesteps=50, beta_end=0.2))
    photo = tmp_path / "photo.png"
    Image.fromarray(coffee()).resize((SIDE, SIDE)).save(photo)
    words = ["reconstruct", str(photo), "--operator", "blur:sigma=1", "--noise", "0.05", "--solver", "dps:steps=3"]
    words += ["--samples", "2", "--threads", "1", "--device", "cpu"]
    assert main([*words, "--prior", str(prior), "--out", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["status"] in ("ok", "misfit")
    assert main([*words, "--prior", f"{prior}:clip=false", "--out", str(tmp_path / "free")]) == 0
    assert (tmp_path / "out/mean.png").read_bytes() != (tmp_path / "free/mean.png").read_bytes()
    # A photograph of another size than the prior's is an error before any work, in one line.
    Image.fromarray(coffee()).resize((24, SIDE)).save(photo)
    capsys.readouterr()
    assert main([*words, "--prior", str(prior), "--out", str(tmp_path / "other")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "expected one of images (3, 16, 24), as the operator has, got TrainedPrior of shape (3, 16, 16)" in said
    assert not (tmp_path / "other").exists()
