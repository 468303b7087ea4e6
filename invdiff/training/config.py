"""The configuration of a training run: frozen dataclasses, read from TOML.

Each table of the file is one dataclass. A key or table that does not exist is an error that names the nearest one.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..priors.unet import UNetConfig
from ..registry import unknown
from ..specs import Where, build
from .augment import AugmentConfig
from .data import DataConfig
from .noise_maps import NoiseMapConfig
from .objectives import OBJECTIVES
from .objectives.noise import NoiseConfig


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The configuration of the optimiser.

    Attributes:
        name: `"muon"` (kernels by Muon, the rest by AdamW) or `"adamw"`.
        lr: learning rate of the kernels.
        lr_rest: learning rate of the stem, the head, the embedding and the gains.
        momentum: Muon's.
        weight_decay: of the kernels.
        clip: largest norm of the gradient.
        newton_schulz: Muon's orthogonalisation steps.
        ema_half_life: half-life of the averaged weights, in steps.
    """

    name: str = "muon"
    lr: float = 3e-3
    lr_rest: float = 3e-3
    momentum: float = 0.95
    weight_decay: float = 0.0
    clip: float = 1.0
    newton_schulz: int = 5
    ema_half_life: float = 100.0

    def __post_init__(self) -> None:
        if self.name not in ("muon", "adamw"):
            raise UserError(f"optimizer.name: expected 'muon' or 'adamw', got {self.name!r}; choose one of them")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The length of a run, and its outputs.

    Attributes:
        name: name of the prior.
        whole_image: whether the prior is for images of the size of the crops only.
        steps: optimiser steps.
        warmup: steps of the rise of the learning rate.
        decay: fraction of the steps, at the end, over which it decreases to zero.
        seed: of weights, crops and noise.
        precision: `"auto"` (bfloat16 if the hardware supports it), `"float32"` or `"bfloat16"`.
        checkpoint_minutes: minutes between checkpoints.
        evaluate_minutes: minutes between tables of denoising quality.
        evaluate_images: held-out images in that table.
        objective: one of `invdiff.training.objectives.OBJECTIVES`; "implicit" takes a backward pass for each pixel.
    """

    name: str = "prior"
    whole_image: bool = False
    steps: int = 20_000
    warmup: int = 100
    decay: float = 0.3
    seed: int = 0
    precision: str = "auto"
    checkpoint_minutes: float = 5.0
    evaluate_minutes: float = 10.0
    evaluate_images: int = 16
    objective: str = "edm"

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UserError(f"run.objective: {unknown('objective', self.objective, OBJECTIVES)}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise UserError(f"run.precision: expected auto, float32 or bfloat16, got {self.precision!r}; choose one")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The complete configuration of a training run.

    Attributes:
        run: length and outputs.
        data: batches.
        augment: augmentation of crops.
        noise: noise levels and the loss.
        noise_maps: levels that differ from pixel to pixel.
        optimizer: optimisation.
        network: shape of the network; its `channels` follow `data.channels`.

    Example:
        >>> TrainConfig.from_mapping({"run": {"steps": 10}}).run.steps
        10
        >>> TrainConfig.from_mapping({"run": {"step": 10}})
        Traceback (most recent call last):
        invdiff.errors.UserError: run.step: no such key; did you mean 'steps'?
    """

    run: RunConfig = dataclasses.field(default_factory=RunConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    noise: NoiseConfig = dataclasses.field(default_factory=NoiseConfig)
    noise_maps: NoiseMapConfig = dataclasses.field(default_factory=NoiseMapConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    network: UNetConfig = dataclasses.field(default_factory=UNetConfig)

    def __post_init__(self) -> None:
        if self.network.channels != self.data.channels:
            object.__setattr__(self, "network", dataclasses.replace(self.network, channels=self.data.channels))
        if self.noise_maps.used and not (self.network.noise_maps and self.run.objective == "edm"):
            raise UserError(
                "noise_maps: expected network.noise_maps = true and run.objective = 'edm', got "
                f"{self.network.noise_maps} and {self.run.objective!r}; set both, or leave [noise_maps] out"
            )
        if self.data.crop % self.network.stride and not self.run.whole_image:
            raise UserError(
                f"data.crop: expected a multiple of the network's stride {self.network.stride}, got {self.data.crop}; "
                "change the crop or the network"
            )

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration of a parsed file.

        Raises:
            ValueError: for a key that does not exist or a value of the wrong type.
        """
        return build(cls, table, Table(""))

    @classmethod
    def from_toml(cls, path: Path) -> TrainConfig:
        """Return the configuration in a TOML file.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not valid.
        """
        if not path.is_file():
            raise FileNotFoundError(f"configuration: expected a TOML file, {path} does not exist")
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"configuration: {path.name} is not valid TOML: {error}; correct the file") from error
        return cls.from_mapping(table)

    @classmethod
    def from_recipe(cls, name: str) -> TrainConfig:
        """Return a recipe of this package, such as `"photo"`.

        Raises:
            ValueError: if there is no such recipe.
        """
        folder = resources.files("invdiff.training").joinpath("recipes")
        names = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
        if name not in names:
            raise UserError(f"{unknown('recipe', name, names)}; there are {', '.join(names)}")
        return cls.from_mapping(tomllib.loads(folder.joinpath(f"{name}.toml").read_text(encoding="utf-8")))

    def to_mapping(self) -> dict[str, Any]:
        """Return the nested mapping that `from_mapping` reads."""
        return dataclasses.asdict(self)


class Table(Where):
    """A table of a configuration; the table without a name holds all others."""

    def at(self, key: str) -> str:
        """Return `table.key`."""
        return f"{self.owner}.{key}" if self.owner else key

    def unknown(self, key: str, known: Iterable[str]) -> str:
        """Return the message for an unknown key."""
        return f"{self.at(key)}: no such key; {unknown('key', key, known).partition('; ')[2]}"

    def inside(self, key: str) -> Table:
        """Return the location of a table's keys."""
        return Table(self.at(key))
