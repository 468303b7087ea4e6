"""Samples of a prior in one call, with prior and sampler by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import UserError
from ..figures import write_sheet
from ..priors import Prior, load_prior
from ..registry import samplers, unknown
from .base import Sampler, Samples, make_sampler

SIDE = 64  # of samples of priors for any size


def sample(
    prior: Prior | str | Path,
    sampler: Sampler | str = "heun",
    *,
    out: str | Path | None = None,
    steps: int | None = None,
    eta: float | None = None,
    options: Mapping[str, object] | None = None,
    n: int = 16,
    seed: int = 0,
    shape: tuple[int, int, int] | None = None,
    device: str = "cpu",
    watch: Callable[[int, int], None] | None = None,
) -> Samples:
    """Draw samples of a prior, and write a sheet of them.

    Args:
        prior: the prior, or its name or path.
        sampler: the sampler, or its name, one of `SAMPLERS`.
        out: image file to write atomically; by default none.
        steps: number of noise levels, for a sampler given by name; by default its own.
        eta: fraction of the ancestral noise, for DDIM by name.
        options: further parameters of a sampler given by name.
        n: number of samples.
        seed: non-negative integer.
        shape: `(C, H, W)`, for a prior of any size; by default 64 x 64, with one channel if the prior accepts any.
        device: of the computation.
        watch: called with (steps done, steps in all).

    Returns:
        The samples.

    Raises:
        ValueError: unknown sampler or parameter; the message names the nearest one.

    Example:
        >>> sample("gaussian", "ddim", steps=5, n=2, shape=(1, 8, 8)).samples.shape
        torch.Size([2, 1, 8, 8])
    """
    built = build_sampler(sampler, steps=steps, eta=eta, options=options) if isinstance(sampler, str) else sampler
    loaded = (prior if isinstance(prior, Prior) else load_prior(prior)).to(device)
    size = shape or default_shape(loaded)
    result = built(loaded, n, shape=size, seed=seed, device=device, watch=watch)
    if out is not None:
        write_sheet(result.samples, out)
    return result


def build_sampler(
    name: str, *, steps: int | None = None, eta: float | None = None, options: Mapping[str, object] | None = None
) -> Sampler:
    """Return a sampler by name, with its parameters.

    Args:
        name: one of `SAMPLERS`.
        steps: number of noise levels; by default the sampler's own.
        eta: fraction of the ancestral noise, for DDIM.
        options: further parameters, by name.

    Raises:
        ValueError: unknown sampler or parameter; the message names the nearest one.
    """
    if name not in samplers:
        raise UserError(unknown("sampler", name, samplers))
    given = {"steps": steps, "eta": eta, **(options or {})}
    return make_sampler(samplers[name], {k: v for k, v in given.items() if v is not None})


def default_shape(prior: Prior) -> tuple[int, int, int]:
    """Return the size of a prior's images; 64 pixels and one channel where the prior accepts any."""
    c, h, w = prior.shape
    return (1 if c is None else c, SIDE if h is None else h, SIDE if w is None else w)
