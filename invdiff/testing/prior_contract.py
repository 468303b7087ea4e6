"""The contract of a prior that solvers rely on: shapes, types, levels for each image, gradients, sizes, log-density."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..priors import Prior
from ..priors.base import attribute_fault
from ..priors.composition import log_density_of
from .report import Check

Outcome = tuple[bool, str]


def check_attributes(prior: Prior) -> Check:
    """Check that the four attributes exist and are valid."""
    advice = "set shape = (C, H, W) with None for any size, std > 0 and 0 < sigma_min < sigma_max"
    if fault := attribute_fault(prior):
        return Check("attributes", False, fault, advice)
    detail = f"shape {prior.shape}, std {prior.std:.3g}, levels {prior.sigma_min:.3g} to {prior.sigma_max:.3g}"
    return Check("attributes", len(prior.shape) == 3, detail, advice)


def check_contract(prior: Prior, images: Tensor, generator: torch.Generator) -> Iterator[Check]:
    """Yield a check for each part of the contract; an exception in the prior fails the check."""
    low, high = levels_to_test(prior)
    noise = torch.randn(images[:3].shape, generator=generator, dtype=images.dtype).to(images.device)
    levels = torch.logspace(math.log10(low), math.log10(high), len(noise), dtype=torch.float64).to(images)
    x = images[:3] + levels.reshape(-1, 1, 1, 1) * noise
    plan: list[tuple[str, Callable[[], Outcome], str]] = [
        ("type", lambda: _type(prior, x, levels), f"return finite values of shape {tuple(x.shape)} and type {x.dtype}"),
        ("levels", lambda: _levels(prior, x, levels), "take sigma of shape (B,), one level for each image"),
        ("batch", lambda: _batch(prior, x, levels), "nothing about one image may depend on the others in its batch"),
        ("gradient", lambda: _gradient(prior, x, levels), "compute in torch; no detach, no no_grad in denoise"),
    ]
    if None in tuple(prior.shape):
        plan.append(("any size", lambda: _sizes(prior, x, levels), "pad inside denoise, or set shape to what it takes"))
    if getattr(prior, "noise_maps", False):
        advice = "take sigma of shape (B or 1, 1, H, W), one level for each pixel; else leave noise_maps false"
        plan.append(("maps", lambda: _maps(prior, images[:3], noise), advice))
    if log_density_of(prior) is not None:
        plan.append(
            ("score", lambda: _score(prior, x, levels), "denoise must be x + sigma^2 grad log p_sigma(x) of log_prob")
        )
    for name, test, advice in plan:
        try:
            ok, detail = test()
        except Exception as error:
            ok, detail = False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else error!r}"
        yield Check(name, ok, detail, advice)
        if name == "type" and not ok:  # nothing else can run
            return


def levels_to_test(prior: Prior) -> tuple[float, float]:
    """Return the lowest and the highest noise level of the checks, at which noise and image are both visible."""
    low, high = max(prior.sigma_min, 5e-3 * prior.std), min(prior.sigma_max, 10 * prior.std)
    return (low, high) if low < high else (prior.sigma_min, prior.sigma_max)


def _type(prior: Prior, x: Tensor, levels: Tensor) -> Outcome:
    for sigma in (prior.sigma_min, float(levels[1]), prior.sigma_max):
        with torch.no_grad():
            out = prior.denoise(x, sigma)
        if not isinstance(out, Tensor) or out.shape != x.shape or out.dtype != x.dtype:
            got = f"{tuple(out.shape)}, {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
            return False, f"sigma {sigma:.3g}: got {got}"
        if not bool(torch.isfinite(out).all()):
            return False, f"sigma {sigma:.3g}: {int((~torch.isfinite(out)).sum())} of {out.numel()} values not finite"
    return True, f"{tuple(out.shape)}, {out.dtype}, finite at its lowest and highest level"


def _gap(a: Tensor, b: Tensor, prior: Prior) -> float:
    return float((a - b).abs().max()) / prior.std


@torch.no_grad()
def _levels(prior: Prior, x: Tensor, levels: Tensor) -> Outcome:
    each = torch.cat([prior.denoise(x[i : i + 1], float(s)) for i, s in enumerate(levels)])
    gap = _gap(prior.denoise(x, levels), each, prior)
    return gap < 1e-3, f"a number, and one for each image: differ by {gap:.1e} std"


@torch.no_grad()
def _batch(prior: Prior, x: Tensor, levels: Tensor) -> Outcome:
    sigma = float(levels[1])
    gap = _gap(prior.denoise(x, sigma)[:1], prior.denoise(x[:1], sigma), prior)
    return gap < 1e-3, f"alone and in a batch: differ by {gap:.1e} std"


@torch.no_grad()
def _maps(prior: Prior, images: Tensor, noise: Tensor) -> Outcome:
    """Compare constant maps with their numbers, and a map of two levels with single levels between these."""
    low, high = levels_to_test(prior)
    low, high = max(low, 0.1 * prior.std), min(high, prior.std)
    levels = torch.tensor([low, math.sqrt(low * high), high]).to(images)[: len(images)].reshape(-1, 1, 1, 1)
    x = images + levels * noise
    constant = prior.denoise(x, levels.expand(-1, -1, *x.shape[-2:]))
    gap = _gap(constant, prior.denoise(x, levels.flatten()), prior)
    if gap > 1e-3:
        return False, f"a constant map and its number differ by {gap:.1e} std"
    one = torch.full_like(x[:1, :1], high)  # a map for all images
    one[..., : x.shape[-1] // 2] = low
    x = images + one * noise
    single = (low, math.sqrt(low * high), (low + high) / 2, math.sqrt((low**2 + high**2) / 2), high)
    right, *wrong = (float((prior.denoise(x, s) - images).square().mean()) for s in (one, *single))
    detail = f"constant maps as their numbers; two levels: {10 * math.log10(min(wrong) / right):.2g} dB better than one"
    return right < 0.95 * min(wrong), detail


def _gradient(prior: Prior, x: Tensor, levels: Tensor) -> Outcome:
    """Compare the vector-Jacobian product with finite differences, along the signs of the noise at a middle level."""
    sigma = float(levels[1])
    direction = (x - x.mean()).sign()
    leaf = x.clone().requires_grad_()
    out = prior.denoise(leaf, sigma)
    if not out.requires_grad:
        return False, "not differentiable in x"
    (product,) = torch.autograd.grad(out, leaf, direction)
    if not bool(torch.isfinite(product).all()):
        return False, "not finite"
    h = 0.01 * sigma
    with torch.no_grad():
        change = (prior.denoise(x + h * direction, sigma) - prior.denoise(x - h * direction, sigma)) / (2 * h)
    by_gradient, by_difference = float((product * direction).sum()), float((change * direction).sum())
    # Relative to a map of unit gain; finite differences see the kinks of a network's rectifiers.
    error = abs(by_gradient - by_difference) / max(abs(by_difference), 1e-3 * direction.numel())
    return error < 0.05, f"finite; off by {error:.1e} from differences"


@torch.no_grad()
def _sizes(prior: Prior, x: Tensor, levels: Tensor) -> Outcome:
    c, h, w = prior.shape
    cut = x[..., : (x.shape[-2] - 3 if h is None else h), : (x.shape[-1] - 6 if w is None else w)]
    tried = [cut, cut[:, :1]] if c is None else [cut]
    for part in tried:
        out = prior.denoise(part, float(levels[1]))
        if out.shape != part.shape or not bool(torch.isfinite(out).all()):
            return (
                False,
                f"{tuple(part.shape[1:])}: got {tuple(out.shape[1:])}, finite: {bool(torch.isfinite(out).all())}",
            )
    return True, "takes " + " and ".join(" x ".join(map(str, p.shape[1:])) for p in tried)


def _score(prior: Prior, x: Tensor, levels: Tensor) -> Outcome:
    """Compare `<s, v>` with finite differences of the log-density, along the score and at random, in float64."""
    density = log_density_of(prior)
    assert density is not None
    worst = 0.0
    with torch.no_grad():
        for i, level in enumerate(levels.double().tolist()):
            z = x[i : i + 1].double()
            s = prior.score(z, level)
            noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(i), dtype=z.dtype).to(z)
            for v in (s, noise):
                v = v / v.norm().clamp(min=1e-30)
                h = 1e-4 * level
                change = float((density(z + h * v, level) - density(z - h * v, level)).double()) / (2 * h)
                worst = max(worst, abs(change - float((s * v).sum())) / max(float(s.norm()), 1e-30))
    return worst < 1e-4, f"off by {worst:.1e} from differences of the log-density"
