r"""Folders of Hugging Face's diffusers: an unconditional `UNet2DModel` with the scheduler of its training.

    model_index.json                  the pipeline: DDPM, DDIM, PNDM, ScoreSdeVe
    unet/config.json                  the network, with diffusion_pytorch_model.safetensors or .bin
    scheduler/scheduler_config.json   betas, the kind of output, whether estimates are clipped

or the network's folder by itself, with `scheduler_config.json` in it or `scheduler/` beside it. The betas are those of
diffusers' own scheduler, on images in [-1, 1]; a network with `ScoreSdeVeScheduler` is a score along the VE SDE on
images in [0, 1]. Nothing is downloaded.

References:
    https://huggingface.co/docs/diffusers, `UNet2DModel`, `DDPMScheduler`, `ScoreSdeVeScheduler`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UserError
from ...registry import unknown
from ...schedules import VE, Chain
from ..conversions import CleanImage, Output, TotalNoise, TrainedPrior, Velocity
from .functions import from_score
from .wrapping import NATURAL_STD, Precision, on_chain

ESTIMATES: dict[str, type[Output]] = {"epsilon": TotalNoise, "v_prediction": Velocity, "sample": CleanImage}
"""What a network estimates, by diffusers' `prediction_type`."""
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def recognises(folder: Path) -> bool:
    """Return whether a folder is a pipeline or a model of diffusers."""
    if (folder / "model_index.json").is_file() or (folder / "unet" / "config.json").is_file():
        return True
    return (folder / "config.json").is_file() and "_diffusers_version" in _read(folder / "config.json")


def load(
    folder: Path,
    *,
    image_size: int | None = None,
    class_label: int | None = None,
    nearest: bool = False,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    clip: bool | None = None,
    std: float = NATURAL_STD,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of a folder.

    Args:
        folder: the pipeline's, or the network's.
        image_size: side of its images; by default that of its configuration.
        class_label: the class, for a network that is conditional on one.
        nearest: whether the network gets the nearest integer time, instead of a real number between two.
        sigma_min: lowest level to trust, in the network's units; by default that of the schedule.
        sigma_max: highest such level; by default that of the schedule, at most 200.
        clip: whether estimates are clipped; by default as in the scheduler's configuration.
        std: standard deviation of the data as images in [0, 1].
        precision: type in which the network computes.

    Raises:
        ImportError: diffusers is not installed.
        FileNotFoundError: a part of the folder is missing.
        ValueError: a network that is no prior of images, or a scheduler that no training uses.
    """
    home = _network_folder(folder)
    settings = _scheduler_settings(folder, home)
    try:
        import diffusers
    except ImportError as error:
        raise ImportError(f"{folder}: prior: folders of diffusers need it; pip install 'invdiff[diffusers]'") from error
    unet = diffusers.UNet2DModel.from_pretrained(
        str(home), local_files_only=True, low_cpu_mem_usage=False, use_safetensors=(home / _WEIGHTS[0]).is_file()
    )
    network, shape = _Sample(unet, class_label), _shape(folder, unet.config, image_size)
    _check_class(folder, unet.config, class_label)
    name = settings["_class_name"]
    kind = getattr(diffusers, name, None)
    if kind is None:
        raise UserError(f"{folder}: scheduler: diffusers {diffusers.__version__} has no {name!r}")
    scheduler = kind.from_config(settings)
    if name == "ScoreSdeVeScheduler":
        sde = VE(scheduler.config.sigma_min, scheduler.config.sigma_max)
        return from_score(
            _VEScore(network, sde), shape, sde, value_range=(0, 1), std=std, sigma_min=sigma_min, sigma_max=sigma_max,
            clip=bool(clip), precision=precision,
        )  # fmt: skip
    betas = getattr(scheduler, "betas", None)
    if betas is None:
        raise UserError(
            f"{folder}: scheduler: expected one with rates (DDPM, DDIM, PNDM, ...) or ScoreSdeVeScheduler, got {name}; "
            "write from_denoiser around the network"
        )
    estimate = "sample" if settings.get("predict_epsilon") is False else settings.get("prediction_type", "epsilon")
    if estimate not in ESTIMATES:
        raise UserError(f"{folder}: scheduler: {unknown('prediction_type', str(estimate), ESTIMATES)}")
    if clip is None and scheduler.config.get("thresholding"):
        raise UserError(
            f"{folder}: scheduler: estimates are thresholded by quantiles of the whole image, which no denoiser is; "
            "give clip=true or clip=false"
        )
    limit = scheduler.config.get("clip_sample_range", 1.0) if scheduler.config.get("clip_sample", False) else False
    rates = betas.double()
    return on_chain(
        network, ESTIMATES[estimate], shape, Chain(rates[: int((rates < 1).sum())]),
        std=std, sigma_min=sigma_min, sigma_max=sigma_max, nearest=nearest,
        clip=limit if clip is None else clip, precision=precision,
    )  # fmt: skip


class _Sample(nn.Module):
    """A `UNet2DModel` that returns its tensor."""

    def __init__(self, unet: Any, label: int | None) -> None:
        super().__init__()
        self.unet, self.label = unet, label

    def forward(self, u: Tensor, t: Tensor) -> Tensor:
        label = None if self.label is None else torch.full((u.shape[0],), self.label, device=u.device)
        out: Tensor = self.unet(u, t, class_labels=label, return_dict=False)[0]
        return out


class _VEScore(nn.Module):
    """The score of a network that takes noise levels, as a function of time."""

    def __init__(self, network: nn.Module, sde: VE) -> None:
        super().__init__()
        self.network, self.sde = network, sde

    def forward(self, u: Tensor, t: Tensor) -> Tensor:
        out: Tensor = self.network(u, self.sde.sigma(t).to(t))
        return out


def _network_folder(folder: Path) -> Path:
    """Return the folder of the network's configuration and weights."""
    index = _read(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    for part in ("vae", "vqvae", "text_encoder"):
        if part in index:
            raise UserError(
                f"{folder}: prior: expected a diffusion of the image itself, got {index.get('_class_name')} with a "
                f"{part}; latent and text-conditional models are no priors of images"
            )
    home = folder / "unet" if (folder / "unet").is_dir() else folder
    if not (home / "config.json").is_file():
        raise FileNotFoundError(f"{folder}: prior: expected {home.name}/config.json, found none; is the copy whole?")
    kind = _read(home / "config.json").get("_class_name")
    if kind != "UNet2DModel":
        raise UserError(f"{folder}: prior: expected an unconditional UNet2DModel, got {kind}")
    if not any((home / name).is_file() for name in _WEIGHTS):
        raise FileNotFoundError(
            f"{folder}: prior: expected the weights {home.name}/{_WEIGHTS[0]}, found none; they stand under the same "
            "name on the model's page at huggingface.co: put them there"
        )
    return home


def _scheduler_settings(folder: Path, home: Path) -> dict[str, Any]:
    """Return the scheduler's configuration."""
    places = [p / "scheduler_config.json" for p in (folder / "scheduler", home, home.parent / "scheduler")]
    for place in places:
        if place.is_file():
            settings = _read(place)
            if "_class_name" not in settings:
                raise UserError(f"{place}: scheduler: expected its _class_name, such as DDPMScheduler, got none")
            return settings
    raise FileNotFoundError(
        f"{folder}: prior: expected scheduler/scheduler_config.json, without which times mean nothing, found none; "
        "copy it from the model's page"
    )


def _shape(folder: Path, config: Any, image_size: int | None) -> tuple[int, int, int]:
    channels, out = config.in_channels, config.out_channels
    if out not in (channels, 2 * channels):
        raise UserError(f"{folder}: prior: a network from {channels} to {out} channels is no prior of images")
    size = image_size or config.sample_size
    if size is None:
        raise UserError(f"{folder}: image_size: expected the side of its images, which its configuration lacks")
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(channels), int(height), int(width)


def _check_class(folder: Path, config: Any, label: int | None) -> None:
    classes = config.num_class_embeds or (1 if config.class_embed_type else 0)
    if (label is None) == bool(classes) or (config.num_class_embeds and not 0 <= (label or 0) < classes):
        expected = f"0..{classes - 1}" if classes else "none, the network knows no classes"
        raise UserError(f"{folder}: class_label: expected {expected}, got {label}")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
