"""The state of a training run between two steps, and its checkpoint.

Batches, noise and noise levels are functions of the seed and the step, so the step is the only random state. A killed
and resumed run takes the same steps, bit for bit on a CPU.
"""

from __future__ import annotations

import copy
import dataclasses
import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import UserError
from ..priors.network import NetworkPrior, Preconditioning
from ..priors.unet import UNet
from .config import TrainConfig
from .data import write_atomic
from .optim import Muon


@dataclasses.dataclass
class TrainState:
    """The state of a run.

    Attributes:
        network: the trained weights.
        average: their exponential moving average, which is exported.
        optimizers: one for the kernels, one for the rest; or one for all.
        scaling: the preconditioning.
        step: steps taken.
        seconds: time of these steps.
    """

    network: UNet
    average: UNet
    optimizers: list[torch.optim.Optimizer]
    scaling: Preconditioning
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def fresh(
        cls, config: TrainConfig, scaling: Preconditioning, device: torch.device, init: Path | None
    ) -> TrainState:
        """Return the state before the first step, from random weights or from those of an exported prior.

        Raises:
            ValueError: if the exported prior's network is not a part of the configuration's.
        """
        torch_state = torch.random.get_rng_state()
        torch.manual_seed(config.run.seed)
        network = UNet(config.network)
        torch.random.set_rng_state(torch_state)
        if init is not None:
            prior = NetworkPrior.load(init)
            _load_weights(network, prior, init)
            scaling = dataclasses.replace(
                prior.scaling, sigma_min=config.noise.sigma_min, sigma_max=config.noise.sigma_max
            )
        network = network.to(device).to(memory_format=torch.channels_last)
        average = copy.deepcopy(network).requires_grad_(False)
        return cls(network, average, make_optimizers(network, config), scaling)

    def save(self, path: Path) -> None:
        """Write the checkpoint, atomically."""
        content: dict[str, Any] = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "scaling": dataclasses.asdict(self.scaling),
            "step": self.step,
            "seconds": self.seconds,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path, config: TrainConfig, device: torch.device) -> TrainState:
        """Return the state that `save` wrote.

        Raises:
            ValueError: if the configuration's network or optimiser is another one.
        """
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = cls.fresh(config, Preconditioning(**content["scaling"]), device, None)
        try:
            state.network.load_state_dict(content["network"])
            state.average.load_state_dict(content["average"])
            for optimizer, saved in zip(state.optimizers, content["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{path.parent}: holds a run with another network or optimizer; choose another --out or the same "
                "configuration"
            ) from error
        state.step, state.seconds = content["step"], content["seconds"]
        return state

    def export(self, path: Path, config: TrainConfig, training: dict[str, Any], *, half: bool = True) -> Path:
        """Write the averaged weights as a prior that `load_prior` reads; returns the path of the weights."""
        channels = config.data.channels
        side = config.data.crop if config.run.whole_image else None
        card = {"name": config.run.name, "training": training, "config": config.to_mapping()}
        prior = NetworkPrior(
            copy.deepcopy(self.average), (channels, side, side), self.scaling, stride=config.network.stride, card=card
        )
        return prior.save(path, half=half)


def _load_weights(network: UNet, prior: NetworkPrior, init: Path) -> None:
    """Copy exported weights into a network that is the same or larger.

    Added parts are blocks at the end of a level, and the input for maps of the noise level. They contribute zero at
    first, so the larger network begins as the same denoiser.

    Raises:
        ValueError: the exported network is not a part of this one.
    """
    old = prior.network.state_dict()
    missing, unexpected = network.load_state_dict(old, strict=False) if _fits(old, network) else ([], ["."])
    if unexpected or not all(k.startswith("map_stem") or k.split(".")[0] in ("encoder", "decoder") for k in missing):
        raise UserError(
            f"init: {init} holds another network than the configuration, and no part of it: expected the same "
            "[network], or one that adds blocks or noise_maps; change either"
        )


def _fits(old: dict[str, torch.Tensor], network: UNet) -> bool:
    new = network.state_dict()
    return all(k in new and new[k].shape == v.shape for k, v in old.items())


def make_optimizers(network: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return the optimisers of `network`; kernels are its convolutions without the stem and the head."""
    c = config.optimizer
    named = list(network.named_parameters())
    kernels = [p for n, p in named if p.ndim == 4 and n.split(".")[0] not in ("stem", "head", "map_stem")]
    rest = [p for n, p in named if not any(p is k for k in kernels)]
    plain = torch.optim.AdamW(rest, lr=c.lr_rest, betas=(0.9, 0.99), weight_decay=0.0)
    if c.name == "adamw":
        return [torch.optim.AdamW(kernels, lr=c.lr, betas=(0.9, 0.99), weight_decay=c.weight_decay), plain]
    muon = Muon(kernels, lr=c.lr, momentum=c.momentum, weight_decay=c.weight_decay, steps=c.newton_schulz)
    return [muon, plain]


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Return the trapezoid: a rise over the warm-up, constant, and a linear decay over the last part of the steps."""
    run = config.run
    down = max(1.0, run.decay * run.steps)
    return max(0.0, min(1.0, (step + 1) / max(1, run.warmup), (run.steps - step) / down))
