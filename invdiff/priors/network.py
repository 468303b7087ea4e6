r"""A prior from a trained network, in the preconditioning of EDM.

With the data's mean `m` and standard deviation `s_d`, and `x' = x - m`,

    denoise(x, sigma) = m + c_skip x' + c_out F(c_in x', log sigma),
    c_skip = s_d^2 / (sigma^2 + s_d^2),   c_out = sigma s_d / sqrt(sigma^2 + s_d^2),   c_in = 1 / sqrt(sigma^2 + s_d^2).

A network with output zero is thus the best denoiser that uses only mean and variance. Outside of `[sigma_min,
sigma_max]` the network gets the nearest level of its range, and the factors keep the true level, so the result stays
bounded.

References:
    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
    https://arxiv.org/abs/2206.00364, equation 7 and table 1.

    Differs: the mean is subtracted (intensities are in [0, 1]); `c_noise = log sigma`, without the factor 1/4.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ..errors import UserError
from ..registry import unknown
from ..units import DISPLAY
from . import training_images
from .base import Prior, check_images, expand_sigma
from .conversions import OUTPUTS
from .tiling import OVERLAP, denoise_tiled, least_pixels
from .unet import UNet, UNetConfig

Precision: TypeAlias = Literal["float32", "bfloat16"]
FORMAT = "invdiff.network-prior/1"


@dataclasses.dataclass(frozen=True)
class Preconditioning:
    """The scaling that makes a denoiser of a network.

    Attributes:
        mean: mean of the data.
        std: standard deviation of the data, `s_d`.
        sigma_min: lowest noise level of the training.
        sigma_max: highest noise level of the training.
        output: what the network estimates, one of `invdiff.priors.conversions.OUTPUTS`; by default EDM's target.
    """

    mean: float = 0.5
    std: float = 0.25
    sigma_min: float = 0.002
    sigma_max: float = 1.0
    output: str = "edm"

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise UserError(f"Preconditioning: {unknown('output', self.output, OUTPUTS)}")
        if not (self.std > 0 and 0 < self.sigma_min < self.sigma_max):
            raise UserError(f"expected std > 0 and 0 < sigma_min < sigma_max, got {self}; correct them")

    def factors(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return `(c_skip, c_out, c_in, c_noise)` for noise levels `sigma`, each of its shape."""
        c_skip, c_out = OUTPUTS[self.output](mean=self.mean, std=self.std).coefficients(sigma)
        c_in = (sigma**2 + self.std**2).rsqrt()
        return c_skip, c_out, c_in, sigma.clamp(self.sigma_min, self.sigma_max).log()


class NetworkPrior(Prior):
    """Denoiser of a trained network.

    Args:
        network: maps `(x (B, C, H, W), c_noise (B,) or (1,))` to a tensor of the shape of `x`. It is put into `eval`
            mode, and its weights get no gradients.
        shape: `(C, H, W)`; `None` for any size.
        scaling: the preconditioning that the network was trained in.
        stride: the network's input is padded until its sides are multiples of this.
        precision: type in which the network computes; everything else stays in the type of `x`.
        tile: images with more pixels than a square of this side are denoised in tiles of at most as many pixels, with
            the numbers of the whole up to rounding for a `UNet` without normalisation; `None` for no tiles.
        card: metadata, kept by `save`; its entry `units` says what the values of the images stand for.

    Example:
        >>> net = UNet(UNetConfig(channels=1, widths=(8, 16), encoder=(1, 1), decoder=(1,)))
        >>> prior = NetworkPrior(net, (1, None, None), Preconditioning(mean=0.0, std=0.5), stride=4)
        >>> prior.denoise(torch.ones(1, 1, 5, 7), 0.5).unique()  # untrained: c_skip x
        tensor([0.5000])
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int | None, ...],
        scaling: Preconditioning,
        *,
        stride: int = 1,
        precision: Precision = "float32",
        tile: int | None = 1024,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        if precision not in get_args(Precision):
            raise UserError(f"NetworkPrior: precision: expected one of {get_args(Precision)}, got {precision!r}")
        if tile is not None and tile < 256:
            raise UserError(f"NetworkPrior: tile: expected None or at least 256, got {tile}; give a larger tile")
        self.shape = tuple(shape)
        self.scaling = scaling
        self.std, self.sigma_min, self.sigma_max = scaling.std, scaling.sigma_min, scaling.sigma_max
        self.stride, self.precision, self.tile = stride, precision, tile
        self._gradient_pixels: int | None = None
        self.card: dict[str, Any] = dict(card or {})
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        network = network.eval().requires_grad_(False).to(dtype=self._dtype)
        self.network = network.to(memory_format=torch.channels_last)

    @property
    def units(self) -> str:  # type: ignore[override]
        """What the values stand for, by the entry `units` of the card; pictures without one."""
        return str(self.card.get("units", DISPLAY))

    @property
    def noise_maps(self) -> bool:  # type: ignore[override]
        """Whether the network takes a noise level for each pixel."""
        return isinstance(self.network, UNet) and self.network.config.noise_maps

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `E[x_0 | x_sigma = x]`, differentiable in `x`.

        Args:
            x: noisy images, `(B, C, H, W)`.
            sigma: noise level in units of the images, a scalar or one for each image, `(B,)`; for a network with
                `noise_maps` also one for each pixel, `(B or 1, 1, H, W)`.

        Returns:
            The denoised images, `(B, C, H, W)`, in the type of `x`.

        Raises:
            ValueError: if `x` does not have the shape of this prior.
        """
        check_images(self, x)
        s = expand_sigma(sigma, x, maps=self.noise_maps)
        most = None if self.tile is None else self.tile**2
        if x.requires_grad and torch.is_grad_enabled():
            most = self._gradient_pixels or most
        # How many images of a size that fits go together is the choice of the caller.
        if most is None or x.shape[-2] * x.shape[-1] <= most or s.requires_grad:
            return self._denoise(x, s)
        level = self.scaling.factors(s)[3].float().mean((1, 2, 3)) if is_map(s) else None
        return denoise_tiled(
            lambda part, sigma: self._denoise(part, sigma, level),
            x,
            s,
            pixels=max(most // max(1, len(x)), self.least_pixels),
            stride=self.stride,
            reach=self.reach,
        )

    @property
    def reach(self) -> int:
        """Margin of the tiles: the network's reach, or three quarters of one beyond 96 pixels.

        Few of the paths through a deep network lead to its outer quarter. With `photo`, tiles with this margin differ
        from the whole by 1e-6 at most.
        """
        known = self.network.config.reach if isinstance(self.network, UNet) else None
        return OVERLAP if known is None else min(known, max(OVERLAP, 3 * known // 4))

    @property
    def least_pixels(self) -> int:
        """Pixels of the smallest tile."""
        return least_pixels(self.reach, self.stride)

    @property
    def least_memory(self) -> float:
        """Bytes that an evaluation of the smallest tile takes, with its gradient."""
        return self.least_pixels * self._bytes[1]

    def within(self, memory: float) -> NetworkPrior:
        """Return this prior with tiles as large as an amount of memory allows; the numbers stay, up to rounding.

        Args:
            memory: bytes for an evaluation, at least `least_memory`.
        """
        other = copy.copy(self)
        plain, follows = (max(memory / each, self.least_pixels) for each in self._bytes)
        other.tile, other._gradient_pixels, other.memory = math.isqrt(int(plain)), int(follows), memory
        return other

    @property
    def _bytes(self) -> tuple[float, float]:
        """Bytes for each pixel at the peak of an evaluation, without and with its gradient."""
        a, b = self.network.config.activations if isinstance(self.network, UNet) else UNetConfig().activations
        return 4 * a, 4 * b

    def to(self, device: torch.device | str) -> NetworkPrior:
        """Return this prior on `device`."""
        other = copy.copy(self)
        other.network = copy.deepcopy(self.network).to(device)
        return other

    def with_precision(self, precision: Precision) -> NetworkPrior:
        """Return this prior computing in another precision. Rounding of the weights to bfloat16 is not undone."""
        other = NetworkPrior(
            copy.deepcopy(self.network), self.shape, self.scaling,
            stride=self.stride, precision=precision, tile=self.tile, card=self.card,
        )  # fmt: skip
        other.training_images = self.training_images
        return other

    def _denoise(self, x: Tensor, s: Tensor, level: Tensor | None = None) -> Tensor:
        """Return the denoised image, or tile; `level` is the mean label of the whole image, for a map of levels."""
        c_skip, c_out, c_in, c_noise = self.scaling.factors(s)
        centred = x - self.scaling.mean
        h, w = x.shape[-2:]
        y = pad_to_multiple((c_in * centred).to(self._dtype), self.stride)
        y = y.contiguous(memory_format=torch.channels_last)
        levels = c_noise.to(torch.float32)
        label = pad_to_multiple(levels, self.stride) if is_map(levels) else levels.reshape(-1)
        f: Tensor = (self.network(y, label) if level is None else self.network(y, label, level))[..., :h, :w]
        return self.scaling.mean + c_skip * centred + c_out * f.to(x.dtype)

    def save(self, path: Path | str, *, half: bool = False) -> Path:
        """Write the weights as `PATH.safetensors` and the metadata as `PATH.json`.

        Args:
            path: file to write, with or without the suffix.
            half: whether weights are stored in half precision.

        Returns:
            The path of the weights.

        Raises:
            ValueError: if the network is not one of this package's.
        """
        if not isinstance(self.network, UNet):
            raise UserError(
                f"NetworkPrior.save: network: expected a UNet, got {type(self.network).__name__}; "
                "save its own state_dict"
            )
        file = Path(path).with_suffix(".safetensors")
        dtype = torch.float16 if half else torch.float32
        state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in self.network.state_dict().items()}
        content = save_tensors(state)
        card = self.card | {
            "format": FORMAT,
            "network": dataclasses.asdict(self.network.config),
            "scaling": dataclasses.asdict(self.scaling),
            "shape": list(self.shape),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        return file

    @classmethod
    def load(cls, path: Path | str, *, precision: Precision = "float32", tile: int | None = 1024) -> NetworkPrior:
        """Return the prior that `save` wrote.

        Args:
            path: the `.safetensors` file with its `.json` beside it, or a folder that holds one such pair.
            precision: type in which the network computes.
            tile: see the class.

        Raises:
            FileNotFoundError: if there is no such pair.
            ValueError: if the metadata are of another format, or the weights are not those that it describes.
        """
        file = _find_weights(Path(path))
        card = _read_card(file.with_suffix(".json"))
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != card["sha256"]:
            raise UserError(
                f"NetworkPrior.load: {file.name}: expected SHA-256 {card['sha256'][:16]}..., got {digest[:16]}...; "
                "the file is damaged or not the one that its card describes: install or export it again"
            )
        try:
            network = UNet(UNetConfig(**card["network"]))
            network.load_state_dict({k: v.to(torch.float32) for k, v in load_tensors(content).items()})
            scaling = Preconditioning(**card["scaling"])
        except (TypeError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())[:200]
            raise UserError(
                f"{file.with_suffix('.json')}: expected the network and scaling of {file.name}: {why}; export it again"
            ) from error
        prior = cls(
            network,
            tuple(card["shape"]),
            scaling,
            stride=network.config.stride,
            precision=precision,
            tile=tile,
            card=card,
        )
        prior.training_images = training_images.read(file)
        return prior


def _read_card(file: Path) -> dict[str, Any]:
    """Return the metadata of weights.

    Raises:
        ValueError: no metadata, of another format, or something missing.
    """
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file}: expected JSON, got a damaged file: {error}; export the prior again") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        got = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise UserError(f"{file}: expected format {FORMAT!r}, got {got!r}")
    if missing := [k for k in ("sha256", "network", "scaling", "shape") if k not in card]:
        raise UserError(f"{file}: expected {', '.join(missing)}, found none; export the prior again")
    return card


def is_export(path: Path) -> bool:
    """Return whether a path is an export of `NetworkPrior.save`: a file with its card, or a folder of such a pair."""
    files = path.glob("*.safetensors") if path.is_dir() else [path] if path.suffix == ".safetensors" else []
    return any(f.is_file() and f.with_suffix(".json").is_file() for f in files)


def _find_weights(path: Path) -> Path:
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path.with_suffix(".safetensors")]
    files = [f for f in files if f.is_file() and f.with_suffix(".json").is_file()]
    if not files:
        raise FileNotFoundError(f"prior: expected NAME.safetensors with NAME.json at {path}, found none")
    if len(files) > 1:
        names = ", ".join(f.name for f in files)
        raise UserError(f"prior: expected one .safetensors file in {path}, found {names}; name one of them")
    return files[0]


def is_map(sigma: Tensor) -> bool:
    """Return whether noise levels that broadcast against images are one for each pixel, `(B or 1, 1, H, W)`."""
    return sigma.ndim == 4 and sigma.shape[-2:] != (1, 1)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Extend `x` `(B, C, H, W)` to the right and below by reflection until its sides are multiples of `multiple`."""
    h, w = x.shape[-2:]
    down, right = -h % multiple, -w % multiple
    if not (down or right):
        return x
    # Reflection keeps the statistics of the noise, but the image must have more pixels than are added.
    mode = "reflect" if down < h and right < w else "replicate"
    return F.pad(x, (0, right, 0, down), mode=mode)
