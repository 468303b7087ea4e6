"""`invdiff calibrate`: its options; the work is in `calibration`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .arguments import RUN, Device, Seed, Threads, text


def calibrate(
    context: typer.Context,
    images: Annotated[Path, text("Folder of clean images like those to come.")],
    operator: Annotated[str, text("The forward operator, as for invdiff reconstruct.")],
    noise: Annotated[str, text("The noise, as for invdiff reconstruct; not auto.")],
    out: Annotated[Path, text("The calibration, a JSON file for reconstruct --calibration.")],
    level: Annotated[float, text("Fraction of the pixels that shall lie inside the intervals.")] = 0.9,
    confidence: Annotated[
        float, text("Probability of the guarantee over the images of the calibration; 0: on average over them.")
    ] = 0.9,
    size: Annotated[int, text("Side of the squares in the middle of the images.")] = 128,
    count: Annotated[int | None, text("Number of images; by default all of the folder.")] = None,
    groups: Annotated[
        int, text("Groups of pixels with a factor each, found on a quarter of the images: narrower intervals.")
    ] = 1,
    gray: Annotated[bool, typer.Option("--gray", help="Read the images as gray ones.")] = False,
    mask: Annotated[Path | None, text("For inpainting: bright pixels of this image are known.")] = None,
    mask_invert: Annotated[
        bool, typer.Option("--mask-invert", help="Bright pixels of the mask are the missing ones.")
    ] = False,
    mask_grow: Annotated[int, text("Pixels by which missing regions of the mask grow.")] = 0,
    units: Annotated[
        str | None, text("For --prior ct: the units of the images, as for invdiff reconstruct: 1/cm, 1/mm, 1/m or HU.")
    ] = None,
    solver: Annotated[str | None, text("NAME:key=value,... See: invdiff list solvers --options")] = None,
    prior: Annotated[str | None, text("NAME or weights, as for invdiff reconstruct.")] = None,
    samples: Annotated[int, text("Number of samples of each posterior.")] = 4,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier calibration.", rich_help_panel=RUN)
    ] = False,
) -> int:
    """Find the factor by which intervals must be widened to hold the truth, with a guarantee.

    Each clean image is corrupted and reconstructed. The guarantee holds for new images like these, the same operator,
    noise, prior and solver. What was measured is kept beside the file until it is complete, so the same command
    continues after an interruption.

    Example: invdiff calibrate --operator blur:sigma=2 --noise 0.025 --images photographs --out blur.json
    """
    from ..specs import parse_operator, parse_spec
    from .calibration import Order, check_order, run

    order = Order(
        images=images, operator=parse_operator(operator), noise=noise, out=out, level=level,
        confidence=confidence or None, size=size, count=count, groups=groups, gray=gray, mask=mask,
        mask_invert=mask_invert, mask_grow=mask_grow, units=units,
        solver=None if solver is None else parse_spec(solver), prior=prior, samples=samples, seed=seed, device=device,
        threads=threads, overwrite=overwrite,
    )  # fmt: skip
    check_order(order)
    return run(order)
