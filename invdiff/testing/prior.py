"""Checks of a prior, also for those of third parties: contract, noise level, range, channels.

The denoiser of a prior must be `E[x_0 | x_sigma = x]` for `x_sigma = x_0 + sigma n` and images `x_0` in [0, 1]. Then,
on images of its kind,

    E |D(x, sigma) - x_0|^2 <= min(d sigma^2, E |x_0 - E x_0|^2)     better than the noisy image and than a flat one
    E |D(x, sigma) - x_0|^2 rises with sigma
    E |D(x, r sigma) - x_0|^2 is least at r = 1                      it gets the level that was added
    E |D'(x, sigma) - x_0|^2 is least at D' = D                      no other range or order of channels is better

The third line also holds on other images where the noise is the smaller part of `x`, because noise looks the same on
all images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..errors import UserError
from ..priors import Prior
from ..streams import generator
from .prior_contract import check_attributes, check_contract, levels_to_test
from .prior_faults import OUTPUTS, RANGES, SIGMAS, Evidence, channel_faults, weigh
from .prior_images import CleanImages, default_images
from .prior_levels import Denoise, Reading, read_levels
from .report import Check, Report

LEVELS = 8
LOW = 0.03
"""Lowest level for faults of units, as a fraction of the standard deviation of the images."""
ERRORS = 4.5
"""Standard errors by which a level must be off; eight levels are tested, and the errors are estimates."""
CERTAIN = 3.5
"""Standard errors by which a level far from the added one must be better."""
CHUNK = 2**19
"""Largest number of values in a batch; more images are denoised in parts."""


@dataclass(frozen=True)
class PriorReport(Report):
    """The result of the checks of a prior.

    Attributes:
        verdict: one sentence: whether the prior is correct, and if not the likely fault and the remedy.
        images: the clean images.
        readings: the measured values at each noise level.
    """

    verdict: str
    images: CleanImages
    readings: tuple[Reading, ...] = ()

    def __str__(self) -> str:
        """Return the subject, a line for each check and the verdict."""
        return f"{super().__str__()}\n{self.verdict}"


@dataclass(frozen=True)
class _Suspect:
    """A possible fault, with the decibels that it explains."""

    gain: float
    sentence: str
    about: str


def check_prior(
    prior: Prior,
    images: CleanImages | Tensor | None = None,
    *,
    seed: int = 0,
    tolerance: float | None = None,
    samples: Tensor | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> PriorReport:
    """Check a prior, and name the likely fault.

    Args:
        prior: the prior.
        images: clean images of the kind of its training, `(B, C, H, W)`, in [0, 1]; by default those of
            `invdiff.testing.prior_images.default_images`.
        seed: non-negative integer.
        tolerance: allowed relative error of the level at which it denoises best, beyond 4.5 standard errors. The
            default is 0 on exact samples of the prior, where the true error is 0, and 0.15 otherwise, because networks
            are not exact, in particular at the lowest levels.
        samples: samples of the prior, `(n, C, H, W)`, to be checked, too.
        watch: called with (noise levels done, noise levels in all).

    Returns:
        The report; `report.ok`, `report.verdict`, `print(report)`, `report.raise_if_failed()`.

    Raises:
        ValueError: fewer than two images, or a prior that needs the argument.

    Example:
        >>> import torch
        >>> from invdiff import load_prior
        >>> prior = load_prior("gaussian")
        >>> check_prior(prior, prior.sample(8, (1, 16, 16), torch.Generator().manual_seed(0))).verdict
        'sane: nothing wrong was found'
    """
    attributes = check_attributes(prior)
    if not attributes.ok:
        nothing = CleanImages(torch.empty(0), "none")
        return PriorReport(
            _name(prior),
            (attributes,),
            f"does not keep the contract: {attributes.detail}; {attributes.advice}",
            nothing,
        )
    clean = default_images(prior, seed=seed) if images is None else images
    if isinstance(clean, Tensor):
        clean = CleanImages(clean, f"{len(clean)} images")
    x = clean.x
    if x.ndim != 4 or len(x) < 2:
        raise UserError(f"check_prior: images: expected (B, C, H, W) with B >= 2, got {tuple(x.shape)}; give more")
    g = generator(seed)
    checks = [attributes, *check_contract(prior, x, g)]
    if not _can_denoise(checks):
        wrong = next(c for c in checks if not c.ok)
        return PriorReport(
            _name(prior), tuple(checks), f"does not keep the contract: {wrong.detail}; {wrong.advice}", clean
        )
    denoise = _in_parts(prior)
    low, high = levels_to_test(prior)
    sigmas = torch.logspace(math.log10(low), math.log10(high), LEVELS, dtype=torch.float64).tolist()
    readings = []
    for reading in read_levels(denoise, x, sigmas, g):
        readings.append(reading)
        if watch is not None:
            watch(len(readings), LEVELS)
    allowed = tolerance if tolerance is not None else (0.0 if clean.exact else 0.15)
    suspects: list[_Suspect] = []
    checks += [
        _denoises(readings, x, clean),
        _rises(readings),
        _level_accuracy(readings, clean, prior.std, allowed, suspects),
        *_repairs(denoise, prior, clean, (low, high), g, suspects),
    ]
    if samples is not None:
        checks.append(_looks(samples, x))
    return PriorReport(_name(prior), tuple(checks), _verdict(checks, suspects), clean, tuple(readings))


def _name(prior: Prior) -> str:
    return type(prior).__name__ if "object at 0x" in repr(prior) else repr(prior)


def _can_denoise(checks: list[Check]) -> bool:
    return all(c.ok for c in checks if c.name in ("attributes", "type"))


def _in_parts(prior: Prior) -> Denoise:
    """Return the denoiser in batches of bounded size."""

    def denoise(x: Tensor, sigma: float) -> Tensor:
        size = max(1, CHUNK // x[0].numel())
        return torch.cat([prior.denoise(part, sigma) for part in x.split(size)])

    return denoise


def _denoises(readings: list[Reading], x: Tensor, clean: CleanImages) -> Check:
    spread = float(x.double().std())
    # A network has errors of its own at the lowest levels, and it may be for other images than these.
    slack, flat = (1.02, 1.1) if clean.exact else (1.1, 2.0)
    bounds = [min(slack * r.noise, flat * spread) for r in readings]
    r, bound = max(zip(readings, bounds, strict=True), key=lambda pair: pair[0].error / pair[1])
    ok = r.error <= bound
    detail = f"worst at sigma {r.sigma:.3g}: error {r.error:.3g}, of {min(r.noise, spread):.3g} without it"
    return Check("denoises", ok, detail, "its error exceeds that of the noisy image, or of a flat image")


def _rises(readings: list[Reading]) -> Check:
    drops = [(a, b) for a, b in pairwise(readings) if b.error < 0.95 * a.error]
    detail = "the error rises with the noise"
    if drops:
        a, b = drops[0]
        detail = f"error {a.error:.3g} at sigma {a.sigma:.3g}, but {b.error:.3g} at {b.sigma:.3g}"
    return Check(
        "monotone", not drops, detail, "the error must rise with the noise: check how sigma reaches the network"
    )


def _level_accuracy(
    readings: list[Reading], clean: CleanImages, std: float, tolerance: float, suspects: list[_Suspect]
) -> Check:
    """Compare the level of the least error with the level that was added."""
    # Above, the images matter more than the noise, and these images may be of another kind.
    top = math.inf if clean.exact else 2 * float(clean.x.double().std())
    seen = [r for r in readings if r.sigma <= top and math.isfinite(r.uncertainty)]
    if not seen:
        return Check("level", True, "not measurable: the denoiser does not depend on sigma", "")
    bound = math.log1p(tolerance)
    least = 0.2 * min(1.0, tolerance / 0.15)  # dB: images of another kind change the lowest levels by less

    def is_off(r: Reading) -> bool:
        far = abs(math.log(r.best_ratio)) - bound
        return r.gain >= least and (far > ERRORS * r.uncertainty or (far > 0 and r.certainty > CERTAIN))

    off = [r for r in seen if is_off(r)]
    r = max(off or seen, key=lambda r: abs(math.log(r.best_ratio)) / (bound + ERRORS * r.uncertainty + 1e-12))
    detail = f"added {r.sigma:.3g}, least error for {r.best_ratio * r.sigma:.3g}: {_ratio(r)}"
    together, uncertainty = _together(seen)
    if not off:
        detail = f"least error for {math.exp(together):.4f} +- {uncertainty:.1g} times that added; {_ratio(r)} at worst"
        if abs(together) <= bound + ERRORS * uncertainty:
            return Check("level", True, detail, "")
    what, advice = _pattern(seen)
    # On the levels of the other faults, so that the largest gain is that of the likeliest fault.
    compared = [r.gain for r in seen if r.sigma >= LOW * std] or [r.gain for r in off]
    suspects.append(_Suspect(sum(compared) / len(compared), f"{what}; {advice}", "level"))
    return Check("level", False, detail, f"{what}; {advice}")


def _together(seen: list[Reading]) -> tuple[float, float]:
    """Return the mean of the logarithms, weighted by their precision, and its standard error."""
    weights = [1 / max(r.uncertainty, 1e-4) ** 2 for r in seen]
    total = sum(weights)
    return sum(w * math.log(r.best_ratio) for w, r in zip(weights, seen, strict=True)) / total, total**-0.5


def _ratio(r: Reading) -> str:
    return f"x {r.best_ratio:.3g} +- {r.best_ratio * r.uncertainty:.1g}"


def _pattern(seen: list[Reading]) -> tuple[str, str]:
    """Return the fault of the levels and its remedy, from the ratio as a function of the level."""
    logs = [math.log(r.best_ratio) for r in seen]
    middle = sorted(logs)[len(logs) // 2]
    if max(abs(v - middle) for v in logs) < 0.5 * abs(middle):
        factor = math.exp(-middle)
        what = f"it takes each noise level for {factor:.3g} times the true one"
        if factor > 1:
            return what, "sigma is in other units than the images, or multiplied twice; for [-1, 1] the factor is 2"
        return what, "sigma does not reach the network in its own units; for [-1, 1] multiply by 2, as the images"
    what = "the error of the level that it assumes changes along the levels"
    advice = "the schedule is not that of its training: check betas, their order and the time steps"
    if max(map(abs, logs)) < 0.5 and max(r.gain for r in seen) < 0.1:
        what += ", and matters little, as with a time step that is one off"
    return what, advice


def _repairs(
    denoise: Denoise,
    prior: Prior,
    clean: CleanImages,
    span: tuple[float, float],
    g: torch.Generator,
    suspects: list[_Suspect],
) -> list[Check]:
    """Check that no other range, output or order of channels denoises better."""
    low, high = span
    least = 0.0 if clean.exact else 0.1
    known = clean.x if clean.known is None else clean.known
    units = weigh((*RANGES, *SIGMAS, *OUTPUTS), denoise, known, _spaced(max(low, LOW * prior.std), high, 4), g)
    passed = "as they are, by {gain:.2g} +- {se:.1g} dB over any other range, sigma or output"
    checks = [_repair("units", units, least, suspects, passed)]
    if clean.x.shape[1] == 3:
        sigmas = _spaced(max(low, 0.07 * prior.std), min(high, prior.std), 4)
        orders = weigh(channel_faults(), denoise, clean.x, sigmas, g)
        passed = "RGB, by {gain:.2g} +- {se:.1g} dB over any other order"
        if orders[0].gain > -max(1e-6, 2 * orders[0].uncertainty):
            passed = "too similar to another order to distinguish"
        checks.append(_repair("channels", orders, 0.2 * least, suspects, passed))
    return checks


def _repair(name: str, evidence: list[Evidence], least: float, suspects: list[_Suspect], passed: str) -> Check:
    best = next((e for e in evidence if e.convincing(least)), None)
    if best is None:
        nearest = evidence[0]
        return Check(name, True, passed.format(gain=-nearest.gain, se=nearest.uncertainty), "")
    sentence = f"{best.fault.what}; {best.fault.advice}"
    suspects.append(_Suspect(best.gain, sentence, "sigma" if best.fault in SIGMAS else name))
    return Check(
        name, False, f"{best.gain:.2g} +- {best.uncertainty:.1g} dB better if {best.fault.what}", best.fault.advice
    )


def _spaced(low: float, high: float, n: int) -> list[float]:
    levels: list[float] = torch.logspace(math.log10(low), math.log10(high), n, dtype=torch.float64).tolist()
    return levels if low < high else [high]


def _looks(samples: Tensor, x: Tensor) -> Check:
    """Compare the values of samples with those of the images."""
    low, high = (float(q) for q in _quantiles(x, (0.001, 0.999)))
    a, b = (float(q) for q in _quantiles(samples, (0.01, 0.99)))
    width = high - low
    finite = bool(torch.isfinite(samples).all())
    ok = finite and a > low - 0.25 * width and b < high + 0.25 * width and b - a > 0.25 * width
    detail = f"99 % of their values in [{a:.2f}, {b:.2f}], those of the images in [{low:.2f}, {high:.2f}]"
    return Check("samples", ok, detail, "its samples have other values than images in [0, 1]: check value_range")


def _quantiles(x: Tensor, shares: tuple[float, float]) -> list[float]:
    values = x.detach().double().flatten().sort().values
    return [float(values[round(s * (len(values) - 1))]) for s in shares]


def _verdict(checks: list[Check], suspects: list[_Suspect]) -> str:
    failed = [c for c in checks if not c.ok]
    if not failed:
        return "sane: nothing wrong was found"
    if suspects:
        likely = max(suspects, key=lambda s: s.gain)
        if likely.about == "sigma":  # the readings give the factor, and whether it is constant
            likely = next((s for s in suspects if s.about == "level"), likely)
        return f"likely fault: {likely.sentence}"
    if failed[0].name in ("denoises", "monotone"):
        return (
            "it does not denoise these images, and no single fault explains it: check that they are images of its kind "
            "in [0, 1], and that its weights were loaded"
        )
    return f"likely fault: {failed[0].name}: {failed[0].advice}"
