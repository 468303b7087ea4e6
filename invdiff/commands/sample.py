"""`invdiff sample`: samples of a prior itself, on one sheet."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from ..memory import check_fits
from ..priors import load_prior
from ..samplers.base import image_shape
from ..samplers.interface import build_sampler, default_shape, sample
from ..specs import Spec
from . import terminal
from .checks import check_writable
from .devices import pick_device

DIVERGED = 3


def run(
    name: str,
    sampler: Spec,
    out: Path,
    *,
    steps: int | None = None,
    eta: float | None = None,
    n: int = 16,
    seed: int = 0,
    size: int | None = None,
    channels: int | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> int:
    """Do what `invdiff sample` was asked, with a progress bar, and return the exit code.

    Args:
        name: name of the prior.
        sampler: name and parameters of the sampler.
        out: image file to write.
        steps: number of noise levels.
        eta: share of the ancestral noise.
        n: how many samples.
        seed: non-negative integer.
        size: side in pixels, for a prior that takes any.
        channels: 1 or 3, for a prior that takes both.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: on the CPU.

    Returns:
        0, or 3 if samples diverged; the sheet is written all the same.

    Raises:
        ValueError: an unknown name or parameter, or a size that is not the prior's.
        FileNotFoundError: no folder to write in.
    """
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"--out: no folder {str(out.parent)!r}; make it first")
    check_writable(out.absolute().parent)
    if out.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"--out: expected an image file such as sheet.png, got {out.name!r}; name one")
    if threads is not None:
        torch.set_num_threads(threads)
    built = build_sampler(sampler.name, steps=steps, eta=eta, options=sampler.options)
    place = str(pick_device(device))
    prior = load_prior(name)
    c, h, w = default_shape(prior)
    shape = image_shape("sample", prior, (channels or c, size or h, size or w))
    check_fits("--n" if size is None else "--n, --size", (n, *shape), "ask for fewer, or smaller ones")
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sample", total=None)
        result = sample(
            prior,
            built,
            out=out,
            n=n,
            seed=seed,
            shape=shape,
            device=place,
            watch=lambda done, total: bar.update(task, completed=done, total=total),
        )
    terminal.line(f"Sheet: {out}")
    terminal.line(f"{n} samples in {result.seconds:.1f} s, {result.nfe} network evaluations for each.")
    if result.status != "ok":
        terminal.error(f"{result.status}: {result.message}")
        return DIVERGED
    return 0
