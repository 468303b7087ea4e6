"""The command line: what can be asked for, and how it ends.

Exit codes: 0 done, 1 an error inside invdiff or out of memory, 2 bad input (one line on standard error, nothing
written), 3 the solver diverged (results are written and say so), 130 interrupted (nothing written).

This module and what it imports at its top stay free of torch, so that help and listings answer at once.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from . import __version__
from .commands import benchmarking, terminal
from .commands.arguments import FILES, RUN, Device, Seed, Threads, text
from .registry import in_file_of_user

INTERRUPTED = 130

app = typer.Typer(
    name="invdiff",
    help="Bayesian inverse problems in imaging: a corrupted image goes in, samples of what it was come out.",
    epilog="Start with: invdiff demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:
    if value:
        print(f"invdiff {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show Python's traceback on errors.")] = False,
) -> None:
    del traceback  # `main` looks for the flag itself, so that it holds for errors of parsing too


@app.command()
def reconstruct(
    image: Annotated[Path, typer.Argument(help="The corrupted image, or a sinogram or array (.npy, .npz).")],
    operator: Annotated[
        str, text("What corrupted it: NAME:key=value,... or file.py:Class. See: invdiff list operators --options")
    ],
    out: Annotated[Path, text("Folder for the results; made if needed.")],
    noise: Annotated[
        str | None,
        text(
            "Standard deviation of the noise (image values are in [0, 1]), auto, or a law such as poisson:photons=100, "
            "poisson_gaussian, transmission, quantized, gaussian:std=map.npy; see docs/noise.md. Needed."
        ),
    ] = None,
    solver: Annotated[str | None, text("NAME:key=value,... See: invdiff list solvers --options")] = None,
    prior: Annotated[
        str | None, text("NAME, weights (file or folder, of other libraries too), or file.py:function.")
    ] = None,
    samples: Annotated[int, text("How many samples of the posterior.")] = 4,
    seed: Seed = 0,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="IMAGE is clean: corrupt it first, and print PSNR and SSIM.")
    ] = False,
    mask: Annotated[
        Path | None, text("For inpainting: bright pixels of this image are known, dark ones missing.", FILES)
    ] = None,
    mask_invert: Annotated[
        bool,
        typer.Option("--mask-invert", help="Bright pixels of the mask are the missing ones.", rich_help_panel=FILES),
    ] = False,
    missing_color: Annotated[
        str | None,
        text("For inpainting: pixels of this colour, as '#ff00ff', are missing; transparent ones always are.", FILES),
    ] = None,
    missing_tolerance: Annotated[
        int, text("Levels (of 255) by which that colour may be off, as in a JPEG.", FILES)
    ] = 0,
    angles: Annotated[
        str | None,
        text("For tomography, degrees of the sinogram's rows: a count, start:stop:step, or a file.", FILES),
    ] = None,
    pixel_size: Annotated[float | None, text("For tomography: side of a pixel, in the sinogram's unit.", FILES)] = None,
    measurement_scale: Annotated[
        float, text("Multiply IMAGE by this: what white stands for in the picture of a sinogram.", FILES)
    ] = 1.0,
    device: Device = "auto",
    threads: Threads = None,
    batch_size: Annotated[int | None, text("Samples drawn at once; fewer take less memory.", RUN)] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.", rich_help_panel=RUN)
    ] = False,
) -> int:
    """Reconstruct an image, with its uncertainty.

    Writes mean.png, std.png, sample_*.png, comparison.png, result.npz and result.json into the folder.

    Example: invdiff reconstruct photo.png --operator blur:sigma=3 --noise 0.025 --out result
    """
    from .commands.reconstruction.request import Request
    from .specs import parse_spec

    request = Request(
        image=image, operator=parse_spec(operator), out=out, noise=noise, prior=prior,
        solver=None if solver is None else parse_spec(solver),
        samples=samples, seed=seed, simulate=simulate, mask=mask, mask_invert=mask_invert, missing_color=missing_color,
        missing_tolerance=missing_tolerance, angles=angles, pixel_size=pixel_size, measurement_scale=measurement_scale,
        device=device, threads=threads, batch_size=batch_size, overwrite=overwrite,
        command=shlex.join(["invdiff", *_argv]),
    )  # fmt: skip
    request.check()
    from .commands.reconstruction.run import run

    return run(request)


@app.command()
def demo(
    out: Annotated[Path, text("Folder for the results.")] = Path("invdiff-demo"),
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Inpaint and deblur a photograph, in under a minute and without a download."""
    from .commands.checks import check_at_least, check_out

    check_at_least("--seed", seed, 0)
    check_at_least("--threads", threads, 1)
    check_out(out, overwrite=True)
    from .commands.demo import run

    return run(out, seed=seed, device=device, threads=threads)


@app.command()
def sample(
    prior: Annotated[str, typer.Argument(help="NAME, weights, or file.py:function. See: invdiff list priors")],
    out: Annotated[Path, text("Image file for the sheet.")],
    sampler: Annotated[
        str, text("NAME:key=value,... of ancestral, ddim, ula, annealed, mala, sde, pc, euler, heun or ode.")
    ] = "heun",
    steps: Annotated[int | None, text("Noise levels; the sampler's own number unless given.")] = None,
    eta: Annotated[float | None, text("For ddim: share of the ancestral noise, 0 to 1.")] = None,
    n: Annotated[int, typer.Option("--n", help="How many samples.")] = 16,
    seed: Seed = 0,
    size: Annotated[int | None, text("Side in pixels, for a prior that takes any; 64 unless given.")] = None,
    channels: Annotated[int | None, text("1 or 3, for a prior that takes both; 1 unless given.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it is there.", rich_help_panel=RUN)
    ] = False,
) -> int:
    """Draw samples of a prior itself, without a measurement, on one sheet.

    Example: invdiff sample gaussian --sampler ddim --steps 50 --eta 0.5 --n 16 --out sheet.png
    """
    from .commands.checks import check_at_least, check_name
    from .registry import is_weights, priors
    from .specs import parse_spec

    for option, value in (("--n", n), ("--steps", steps), ("--size", size), ("--threads", threads)):
        check_at_least(option, value, 1)
    check_at_least("--seed", seed, 0)
    if not is_weights(prior):
        check_name(priors, parse_spec(prior).name)
    if out.exists() and not overwrite:
        raise FileExistsError(f"--out: {str(out)!r} is there already; add --overwrite, or choose another name")
    from .commands.sample import run

    return run(
        prior, parse_spec(sampler), out, steps=steps, eta=eta, n=n, seed=seed, size=size, channels=channels,
        device=device, threads=threads,
    )  # fmt: skip


@app.command()
def train(
    data: Annotated[Path, text("Folder of images, or an IDX file.")],
    out: Annotated[Path, text("Folder of the run; a run that it holds is resumed.")],
    config: Annotated[Path | None, text("TOML file with the configuration.")] = None,
    recipe: Annotated[
        str | None, text("Recipe of the package: photo (unless given), photo-finish, ct, ct-finish, fashion.")
    ] = None,
    held_out: Annotated[Path | None, text("Folder of held-out images; a share of the data unless given.")] = None,
    init: Annotated[Path | None, text("Exported prior to begin with.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Annotated[
        int, typer.Option(help="Processes that share each batch; on a busy CPU, one a core.", rich_help_panel=RUN)
    ] = 1,
) -> None:
    """Train a prior on a folder of images; killed at any moment, the same command goes on where it was.

    Example: invdiff train --data photographs --out runs/mine
    """
    from .commands.checks import check_at_least

    check_at_least("--threads", threads, 1)
    check_at_least("--workers", workers, 1)
    from .commands.train import train as run

    weights = run(data, out, config, recipe, held_out, init, device, threads, workers)
    terminal.line(f"Prior: {weights}")


@app.command()
def check(
    kind: Annotated[str, typer.Argument(help="What is checked: operator or prior.")],
    spec: Annotated[str, typer.Argument(help="NAME:key=value,... or path/to/file.py:Class; for a prior also weights.")],
    shape: Annotated[
        tuple[int, int, int] | None, text("Shape C H W of the images to check with; chosen to fit unless given.")
    ] = None,
    seed: Seed = 0,
    images: Annotated[Path | None, text("For a prior: folder of clean images of the kind that it knows.")] = None,
    out: Annotated[Path | None, text("For a prior: folder for the figure, the record and the samples.")] = None,
    samples: Annotated[int, text("For a prior: how many samples to draw and look at, too.")] = 0,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Check an operator or a prior: a line for each property, the likely fault, and what to do about it.

    Exit code 1 if a check failed.

    Example: invdiff check prior photo --out checked
    """
    from .commands.check import CheckRequest, run

    return run(
        CheckRequest(
            kind=kind, spec=spec, shape=shape, seed=seed, images=images, out=out, samples=samples, device=device,
            threads=threads,
        )
    )  # fmt: skip


benchmarking.add_to(app)


@app.command("list")
def list_(
    kind: Annotated[
        str | None, typer.Argument(help="operators, solvers, priors, samplers or tasks; all unless given.")
    ] = None,
    options: Annotated[
        bool, typer.Option("--options", help="Print what each can be told, with defaults, as NAME:key=value.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known, as JSON.")] = False,
) -> None:
    """List operators, solvers (with paper, needs and class), priors, samplers and tasks."""
    from .commands.listing import run

    run(kind, options=options, as_json=as_json)


_argv: list[str] = []


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: the arguments; those of the process unless given.
    """
    _argv[:] = sys.argv[1:] if argv is None else argv
    show = "--traceback" in _argv[:1] or bool(os.environ.get("INVDIFF_TRACEBACK"))
    if "" in _argv:
        before = shlex.join(["invdiff", *_argv[: _argv.index("")]])
        terminal.error(f"expected no empty argument, got one after {before!r}; is a variable of the shell not set?")
        return 2
    try:
        with _terminable():
            alone = _argv == ["--traceback"]  # to typer a missing command, not the wish for help
            code = app(args=[] if alone else list(_argv), prog_name="invdiff", standalone_mode=False)
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:  # the reader of a pipe, such as head, has left: no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as failure:
        if type(failure).__name__ == "NoArgsIsHelpError":  # the help is printed already
            return 2
        if show:
            raise
        known = _bad_input(failure)
        if known is None:
            raise
        code, text = known
        terminal.error(text)
    if code == INTERRUPTED:
        return _interrupted()
    return code if isinstance(code, int) else 0


def _bad_input(failure: Exception) -> tuple[int, str] | None:
    """Return the exit code and the line for errors that the user can mend, `None` for all others."""
    if callable(tell := getattr(failure, "format_message", None)):  # typer's own: unknown option, missing argument, ...
        path = getattr(getattr(failure, "ctx", None), "command_path", "invdiff")
        return 2, f"{tell().rstrip('.')}; see: {path} --help"
    extra = isinstance(failure, ImportError) and "pip install" in str(failure)  # a part that is not installed
    if extra or isinstance(failure, ValueError | TypeError):
        return 2, str(failure)
    if isinstance(failure, OSError):
        named = f"{failure.filename}: {failure.strerror}" if failure.filename and failure.strerror else str(failure)
        return 2, named
    crowded = isinstance(failure, RuntimeError) and "can't allocate memory" in str(failure)  # torch's on a CPU
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError" or crowded:
        return 1, "out of memory; lower --samples, --batch-size or the number of steps, or take a smaller image"
    if place := in_file_of_user(failure):
        why = f": {failure}" if str(failure) else ""
        return 2, f"{place}: {type(failure).__name__}{why}; see all of it with: invdiff --traceback ..."
    return None


def _interrupted() -> int:
    print("invdiff: interrupted; nothing was written", file=sys.stderr)
    return INTERRUPTED


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception meanwhile, so that temporary files are removed on the way out."""

    def terminate(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals can be set in the main thread only
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
