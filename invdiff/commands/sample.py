"""`invdiff sample`: samples of a prior itself, on one sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from ..memory import check_fits
from ..registry import is_weights, priors
from ..specs import parse_spec
from . import terminal
from .arguments import RUN, Device, Seed, Threads, text
from .checks import check_at_least, check_name, check_writable
from .endings import DIVERGED


def sample(
    prior: Annotated[str, typer.Argument(help="NAME, weights, or file.py:function. See: invdiff list priors")],
    out: Annotated[Path, text("Image file for the sheet.")],
    sampler: Annotated[
        str, text("NAME:key=value,... of ancestral, ddim, ula, annealed, mala, sde, pc, euler, heun or ode.")
    ] = "heun",
    steps: Annotated[int | None, text("Noise levels; by default the sampler's own number.")] = None,
    eta: Annotated[float | None, text("For ddim: fraction of the ancestral noise, 0 to 1.")] = None,
    n: Annotated[int, typer.Option("--n", help="Number of samples.")] = 16,
    seed: Seed = 0,
    size: Annotated[int | None, text("Side in pixels, for a prior of any size; by default 64.")] = None,
    channels: Annotated[int | None, text("1 or 3, for a prior of both; by default 1.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it is there.", rich_help_panel=RUN)
    ] = False,
) -> int:
    """Draw samples of a prior itself, without a measurement, on one sheet.

    Example: invdiff sample gaussian --sampler ddim --steps 50 --eta 0.5 --n 16 --out sheet.png
    """
    for option, value in (("--n", n), ("--steps", steps), ("--size", size), ("--threads", threads)):
        check_at_least(option, value, 1)
    check_at_least("--seed", seed, 0)
    if not is_weights(prior):
        check_name(priors, parse_spec(prior).name)
    if out.exists() and not overwrite:
        raise FileExistsError(f"--out: {str(out)!r} is there already; add --overwrite, or choose another name")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"--out: no folder {str(out.parent)!r}; make it first")
    check_writable(out.absolute().parent)
    import torch
    from PIL import Image
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from ..priors import load_prior
    from ..samplers import interface
    from ..samplers.base import image_shape
    from .devices import select_device

    if out.suffix.lower() not in Image.registered_extensions():
        raise UserError(f"--out: expected an image file such as sheet.png, got {out.name!r}; name one")
    if threads is not None:
        torch.set_num_threads(threads)
    spec = parse_spec(sampler)
    built = interface.build_sampler(spec.name, steps=steps, eta=eta, options=spec.options)
    place = str(select_device(device))
    loaded = load_prior(prior)
    c, h, w = interface.default_shape(loaded)
    shape = image_shape("sample", loaded, (channels or c, size or h, size or w))
    check_fits("--n" if size is None else "--n, --size", (n, *shape), "ask for fewer, or smaller ones")
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sample", total=None)
        result = interface.sample(
            loaded,
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
