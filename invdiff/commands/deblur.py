"""`invdiff deblur`: its options; the work is in `deblurring`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .arguments import BatchSize, Device, Overwrite, Seed, Threads, text

KERNEL = "The kernel's estimate"


def deblur(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(help="The blurred photograph; all of it has one blur.")],
    out: Annotated[Path, text("Folder for the results; made if needed.")],
    size: Annotated[
        int | None, text("Odd side of the kernel in pixels; by default guessed, at most 63.", KERNEL)
    ] = None,
    gamma: Annotated[
        float,
        text("Exponent from values to light, in which the kernel is estimated; 1: the values are light.", KERNEL),
    ] = 2.2,
    regions: Annotated[int, text("Parts of the photograph that the kernel is estimated from.", KERNEL)] = 3,
    noise: Annotated[str, text("Standard deviation of the noise (image values are in [0, 1]), or auto.")] = "auto",
    solver: Annotated[str | None, text("NAME:key=value,... See: invdiff list solvers --options")] = None,
    prior: Annotated[str | None, text("NAME, weights, or file.py:function; photo or photo-gray by default.")] = None,
    samples: Annotated[int, text("Number of samples, each with its own kernel if there are several estimates.")] = 4,
    effort: Annotated[str, text("Without --solver: fast, normal or best.")] = "normal",
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    batch_size: BatchSize = None,
    overwrite: Overwrite = False,
) -> int:
    """Deblur a photograph whose blur is unknown: estimate its kernel, then the image, with their uncertainty.

    Writes mean.png, std.png, sample_*.png, comparison.png, result.npz, result.json, and kernel.png, kernel_std.png and
    kernel.npy, for --operator blur:kernel=FILE.

    Example: invdiff deblur photo.jpg --out result
    """
    from ..checks import integer, number
    from ..errors import UserError
    from ..images.parts import split_part
    from ..registry import solvers, unknown
    from ..specs import Spec, parse_spec
    from .checks import check_at_least, check_exists, check_name, check_out

    check_exists(split_part(image)[0])
    chosen = Spec("auto", {"effort": effort}) if solver is None else parse_spec(solver)
    check_name(solvers, chosen.name)
    efforts = ("fast", "normal", "best")
    if effort not in efforts:
        raise UserError(f"--effort: {unknown('value', effort, efforts)}")
    if size is not None and (integer("--size", size, 3) % 2 == 0):
        raise UserError(f"--size: expected an odd number of pixels, got {size}; take {size + 1}")
    number("--gamma", gamma, positive=True, expected="a positive exponent")
    for name, value in (("--regions", regions), ("--samples", samples), ("--threads", threads)):
        check_at_least(name, value, 1)
    check_at_least("--batch-size", batch_size, 1)
    check_at_least("--seed", seed, 0)
    level = None if noise == "auto" else _level(noise)
    check_out(out, overwrite=overwrite)
    from .deblurring import Request, run

    return run(
        Request(
            image=image, out=out, size=size, gamma=gamma, regions=regions, noise=level, solver=chosen, prior=prior,
            samples=samples, seed=seed, device=device, threads=threads, batch_size=batch_size, command=context.obj,
        )
    )  # fmt: skip


def _level(noise: str) -> float:
    """Return a stated standard deviation."""
    from ..checks import number
    from ..errors import UserError

    try:
        level = float(noise)
    except ValueError:
        raise UserError(f"--noise: expected a standard deviation such as 0.01, or auto, got {noise!r}") from None
    return number("--noise", level, positive=True, expected="a positive standard deviation, or auto")
