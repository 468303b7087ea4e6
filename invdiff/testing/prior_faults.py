"""Detecting faults of a denoiser by their repairs: a repair that lowers the error reveals its fault.

No function of `x` is closer to `x_0` in mean square than `E[x_0 | x]`. A repair corrects a denoiser with one particular
fault. For example, for a network of images in [-1, 1] that gets images in [0, 1] it is

    D'(x, sigma) = (D(2 x - 1, 2 sigma) + 1) / 2.

If the repaired denoiser has the smaller error on the same noisy images, the fault is present. The comparison on the
same images makes small differences significant: red and blue exchanged costs a network of photographs a twentieth of a
decibel, which is several standard errors over fifteen crops.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .prior_levels import Denoise, squared_error

Repair = Callable[[Denoise], Denoise]
_WORST = 1e30


@dataclass(frozen=True)
class Fault:
    """One way to wrap a network wrongly.

    Attributes:
        what: description of the fault.
        advice: the remedy.
        repair: from the faulty denoiser to the correct one.
    """

    what: str
    advice: str
    repair: Repair


@dataclass(frozen=True)
class Evidence:
    """The effect of a repair.

    Attributes:
        fault: the fault.
        gain: decibels by which the repair lowers the error, mean over images and levels; negative if the error grows.
        uncertainty: standard error of the gain.
        use: decibels by which the repaired denoiser is better than the noisy image, or than a flat image.
    """

    fault: Fault
    gain: float
    uncertainty: float
    use: float

    def convincing(self, least: float) -> bool:
        """Return whether the gain is above `least` and three standard errors, and the repaired denoiser denoises.

        Without the last condition, a repair that returns the noisy image would win against any fault with a larger
        error.
        """
        return self.gain > max(least, 3 * self.uncertainty) and self.use > 1.0


def _affine(scale: float, shift: float) -> Repair:
    """Return the repair for a network of images `scale x + shift` that gets `x`."""

    def repair(denoise: Denoise) -> Denoise:
        return lambda x, sigma: (denoise(scale * x + shift, scale * sigma) - shift) / scale

    return repair


RANGES = (
    Fault(
        "the network expects images in [-1, 1] and gets them in [0, 1]",
        "wrap it with value_range=(-1, 1)",
        _affine(2.0, -1.0),
    ),
    Fault(
        "images are brought to [-1, 1] for a network that expects them in [0, 1]",
        "wrap it with value_range=(0, 1)",
        _affine(0.5, 0.5),
    ),
    Fault(
        "the network expects images in [0, 255] and gets them in [0, 1]",
        "wrap it with value_range=(0, 255)",
        _affine(255.0, 0.0),
    ),
    Fault(
        "images are brought to [0, 255] for a network that expects them in [0, 1]",
        "wrap it with value_range=(0, 1)",
        _affine(1 / 255, 0.0),
    ),
)

SIGMAS = (
    Fault(
        "it takes each noise level for twice the true one",
        "sigma is doubled: it is in the units of images in [0, 1], convert it once",
        lambda denoise: lambda x, sigma: denoise(x, sigma / 2),
    ),
    Fault(
        "it takes each noise level for half of the true one",
        "multiply sigma by 2 for a network of images in [-1, 1], as the images are",
        lambda denoise: lambda x, sigma: denoise(x, 2 * sigma),
    ),
)

OUTPUTS = (
    Fault(
        "it returns the noise, not the clean image",
        "return x - out",
        lambda denoise: lambda x, sigma: x - denoise(x, sigma),
    ),
    Fault(
        "it returns the noise in units of sigma, not the clean image",
        "return x - sigma * out, or wrap the network with from_epsilon",
        lambda denoise: lambda x, sigma: x - sigma * denoise(x, sigma),
    ),
    Fault(
        "it returns the score, not the clean image",
        "return x + sigma**2 * out, or wrap the network with from_score",
        lambda denoise: lambda x, sigma: x + sigma**2 * denoise(x, sigma),
    ),
    Fault(
        "the noise is added again instead of being removed",
        "change the sign of the network's output",
        lambda denoise: lambda x, sigma: 2 * x - denoise(x, sigma),
    ),
)


def channel_faults() -> tuple[Fault, ...]:
    """Return the faults of three channels in another order, that of the input and that of the output alone."""
    faults = []
    for order in itertools.permutations(range(3)):
        if order == (0, 1, 2):
            continue
        back = [order.index(c) for c in range(3)]
        names = "".join("RGB"[c] for c in order)
        faults.append(
            Fault(
                f"the network takes its channels in the order {names}",
                f"give it x[:, {list(order)}] and reorder its output by [:, {back}]",
                _reordered(list(order), back),
            )
        )
        faults.append(
            Fault(
                f"the channels of the output stand in the order {names}",
                f"return out[:, {back}]",
                _reordered([0, 1, 2], back),
            )
        )
    return tuple(faults)


def _reordered(order: list[int], back: list[int]) -> Repair:
    def repair(denoise: Denoise) -> Denoise:
        return lambda x, sigma: denoise(x if order == [0, 1, 2] else x[:, order], sigma)[:, back]

    return repair


@torch.no_grad()
def weigh(
    faults: Sequence[Fault], denoise: Denoise, images: Tensor, sigmas: Sequence[float], generator: torch.Generator
) -> list[Evidence]:
    """Return the evidence for each fault, the most convincing first.

    Args:
        faults: the faults.
        denoise: the denoiser without a repair.
        images: clean images, `(B, C, H, W)`.
        sigmas: noise levels.
        generator: draws the noise.
    """
    shape = (len(faults), len(sigmas), len(images))
    before, after, without = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
    flat = images.mean().expand_as(images)
    for j, sigma in enumerate(sigmas):
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
        x = images + sigma * noise
        known = denoise(x, sigma)

        def once(z: Tensor, s: float, x: Tensor = x, sigma: float = sigma, known: Tensor = known) -> Tensor:
            return known if z is x and s == sigma else denoise(z, s)

        before[:, j] = squared_error(known, images).cpu()
        without[:, j] = torch.minimum(squared_error(x, images), squared_error(flat, images)).cpu()
        for i, fault in enumerate(faults):
            after[i, j] = squared_error(fault.repair(once)(x, sigma), images).cpu()
    # A repair may produce values beyond any image; these count against it.
    after = after.nan_to_num(nan=_WORST, posinf=_WORST).clamp(1e-300, _WORST)
    before = before.clamp(1e-300, _WORST)
    b, a = before.mean(-1, keepdim=True), after.mean(-1, keepdim=True)
    gains, uses = _decibels(b / a).mean((1, 2)), _decibels(without.mean(-1, keepdim=True) / a).mean((1, 2))
    # Squared errors are compared by their means, because only these are least for the posterior mean; the share of each
    # image in the logarithm of the ratio of means is b_i / b - a_i / a.
    spread = 10 / math.log(10) * (before / b - after / a).mean(1).std(-1) / math.sqrt(len(images))
    found = [Evidence(f, float(g), float(s), float(u)) for f, g, s, u in zip(faults, gains, spread, uses, strict=True)]
    return sorted(found, key=lambda e: -e.gain)


def _decibels(ratio: Tensor) -> Tensor:
    return 10 * ratio.log10()
