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
from typing import Annotated, Any

import typer

from . import __version__
from .commands import terminal

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


_FILES = "Mask and measurement"
_RUN = "Running"

_Seed = Annotated[int, typer.Option(help="Seed of all random numbers; the same seed, the same result.")]
_Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or cuda:N; auto takes CUDA where there is one.", rich_help_panel=_RUN)
]
_Threads = Annotated[
    int | None, typer.Option(help="Threads on the CPU; torch's own choice unless given.", rich_help_panel=_RUN)
]


def _text(help: str, panel: str | None = None) -> Any:
    return typer.Option(help=help, rich_help_panel=panel)


@app.command()
def reconstruct(
    image: Annotated[Path, typer.Argument(help="The corrupted image, or a sinogram or array (.npy, .npz).")],
    operator: Annotated[
        str, _text("What corrupted it: NAME:key=value,... or file.py:Class. See: invdiff list operators --options")
    ],
    out: Annotated[Path, _text("Folder for the results; made if needed.")],
    noise: Annotated[
        str | None,
        _text(
            "Standard deviation of the noise (image values are in [0, 1]), auto, or a law such as poisson:photons=100, "
            "poisson_gaussian, transmission, quantized, gaussian:std=map.npy; see docs/noise.md. Needed."
        ),
    ] = None,
    solver: Annotated[str | None, _text("NAME:key=value,... See: invdiff list solvers --options")] = None,
    prior: Annotated[
        str | None, _text("NAME, weights (file or folder, of other libraries too), or file.py:function.")
    ] = None,
    samples: Annotated[int, _text("How many samples of the posterior.")] = 4,
    seed: _Seed = 0,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="IMAGE is clean: corrupt it first, and print PSNR and SSIM.")
    ] = False,
    mask: Annotated[
        Path | None, _text("For inpainting: bright pixels of this image are known, dark ones missing.", _FILES)
    ] = None,
    mask_invert: Annotated[
        bool,
        typer.Option("--mask-invert", help="Bright pixels of the mask are the missing ones.", rich_help_panel=_FILES),
    ] = False,
    missing_color: Annotated[
        str | None,
        _text("For inpainting: pixels of this colour, as '#ff00ff', are missing; transparent ones always are.", _FILES),
    ] = None,
    missing_tolerance: Annotated[
        int, _text("Levels (of 255) by which that colour may be off, as in a JPEG.", _FILES)
    ] = 0,
    angles: Annotated[
        str | None,
        _text("For tomography, degrees of the sinogram's rows: a count, start:stop:step, or a file.", _FILES),
    ] = None,
    pixel_size: Annotated[
        float | None, _text("For tomography: side of a pixel, in the sinogram's unit.", _FILES)
    ] = None,
    measurement_scale: Annotated[
        float, _text("Multiply IMAGE by this: what white stands for in the picture of a sinogram.", _FILES)
    ] = 1.0,
    device: _Device = "auto",
    threads: _Threads = None,
    batch_size: Annotated[int | None, _text("Samples drawn at once; fewer take less memory.", _RUN)] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.", rich_help_panel=_RUN)
    ] = False,
) -> int:
    """Reconstruct an image, with its uncertainty.

    Writes mean.png, std.png, sample_*.png, comparison.png, result.npz and result.json into the folder.

    Example: invdiff reconstruct photo.png --operator blur:sigma=3 --noise 0.025 --out result
    """
    from .commands.request import Request
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
    from .commands.reconstruct import run

    return run(request)


@app.command()
def demo(
    out: Annotated[Path, _text("Folder for the results.")] = Path("invdiff-demo"),
    seed: _Seed = 0,
    device: _Device = "auto",
    threads: _Threads = None,
) -> int:
    """Inpaint and deblur a photograph, in under a minute and without a download."""
    from .commands.request import check_at_least, check_out

    check_at_least("--seed", seed, 0)
    check_at_least("--threads", threads, 1)
    check_out(out, overwrite=True)
    from .commands.demo import run

    return run(out, seed=seed, device=device, threads=threads)


@app.command()
def sample(
    prior: Annotated[str, typer.Argument(help="NAME, weights, or file.py:function. See: invdiff list priors")],
    out: Annotated[Path, _text("Image file for the sheet.")],
    sampler: Annotated[
        str, _text("NAME:key=value,... of ancestral, ddim, ula, annealed, mala, sde, pc, euler, heun or ode.")
    ] = "heun",
    steps: Annotated[int | None, _text("Noise levels; the sampler's own number unless given.")] = None,
    eta: Annotated[float | None, _text("For ddim: share of the ancestral noise, 0 to 1.")] = None,
    n: Annotated[int, typer.Option("--n", help="How many samples.")] = 16,
    seed: _Seed = 0,
    size: Annotated[int | None, _text("Side in pixels, for a prior that takes any; 64 unless given.")] = None,
    channels: Annotated[int | None, _text("1 or 3, for a prior that takes both; 1 unless given.")] = None,
    device: _Device = "auto",
    threads: _Threads = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it is there.", rich_help_panel=_RUN)
    ] = False,
) -> int:
    """Draw samples of a prior itself, without a measurement, on one sheet.

    Example: invdiff sample gaussian --sampler ddim --steps 50 --eta 0.5 --n 16 --out sheet.png
    """
    from .commands.request import check_at_least, check_name
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
    data: Annotated[Path, _text("Folder of images, or an IDX file.")],
    out: Annotated[Path, _text("Folder of the run; a run that it holds is resumed.")],
    config: Annotated[Path | None, _text("TOML file with the configuration.")] = None,
    recipe: Annotated[
        str | None, _text("Recipe of the package: photo (unless given), photo-finish, ct, ct-finish, fashion.")
    ] = None,
    held_out: Annotated[Path | None, _text("Folder of held-out images; a share of the data unless given.")] = None,
    init: Annotated[Path | None, _text("Exported prior to begin with.")] = None,
    device: _Device = "auto",
    threads: _Threads = None,
    workers: Annotated[
        int, typer.Option(help="Processes that share each batch; on a busy CPU, one a core.", rich_help_panel=_RUN)
    ] = 1,
) -> None:
    """Train a prior on a folder of images; killed at any moment, the same command goes on where it was.

    Example: invdiff train --data photographs --out runs/mine
    """
    from .commands.request import check_at_least

    check_at_least("--threads", threads, 1)
    check_at_least("--workers", workers, 1)
    from .training.command import train as run

    weights = run(data, out, config, recipe, held_out, init, device, threads, workers)
    terminal.line(f"Prior: {weights}")


@app.command()
def check(
    kind: Annotated[str, typer.Argument(help="What is checked: operator or prior.")],
    spec: Annotated[str, typer.Argument(help="NAME:key=value,... or path/to/file.py:Class; for a prior also weights.")],
    shape: Annotated[
        tuple[int, int, int] | None, _text("Shape C H W of the images to check with; chosen to fit unless given.")
    ] = None,
    seed: _Seed = 0,
    images: Annotated[Path | None, _text("For a prior: folder of clean images of the kind that it knows.")] = None,
    out: Annotated[Path | None, _text("For a prior: folder for the figure, the record and the samples.")] = None,
    samples: Annotated[int, _text("For a prior: how many samples to draw and look at, too.")] = 0,
    device: _Device = "auto",
    threads: _Threads = None,
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


@app.command()
def grade(
    suite: Annotated[
        str, _text("exact: problems with a closed-form posterior; mcgdiff: the mixture experiment of its paper.")
    ] = "exact",
    solvers: Annotated[str | None, _text("Names with commas between; all of them unless given.")] = None,
    out: Annotated[Path | None, _text("Markdown file for the table.")] = None,
    operator: Annotated[
        str | None,
        _text("For exact: grade on this linear operator instead, under a Gaussian prior: NAME:key=value,..."),
    ] = None,
    shape: Annotated[tuple[int, int, int] | None, _text("For --operator: shape C H W; 1 8 8 unless given.")] = None,
    noise: Annotated[str | None, _text("For --operator: Gaussian noise; 0.05 unless given.")] = None,
    samples: Annotated[int, _text("For exact: samples of each image.")] = 256,
    seeds: Annotated[int, _text("For mcgdiff: how many random problems in each cell.")] = 20,
    steps: Annotated[int, _text("For mcgdiff: noise levels.")] = 20,
    threads: _Threads = None,
) -> None:
    """Tell how wrong each solver is, against exact posteriors.

    Example: invdiff grade --solvers dps,mcgdiff,twisted
    """
    from .commands.grade import run
    from .specs import parse_spec

    run(
        suite, solvers, operator=None if operator is None else parse_spec(operator), shape=shape, noise=noise,
        samples=samples, seeds=seeds, steps=steps, out=out, threads=threads,
    )  # fmt: skip


@app.command()
def tune(
    suite: Annotated[str, typer.Argument(help="Name of a suite, or its file.")],
    solver: Annotated[str, _text("NAME:parameter=value,...; what is given stays, as steps=50; the rest is searched.")],
    budget: Annotated[int, _text("Trials for each task, those of an interrupted run among them.")] = 40,
    tasks: Annotated[str | None, _text("Tasks with commas between; those of the suite unless given.")] = None,
    images: Annotated[
        str, _text("FOLDER:number or FOLDER of photographs, or how many of those that come with invdiff.")
    ] = "4",
    size: Annotated[int | None, _text("Side of the images in pixels; the suite's unless given.")] = None,
    samples: Annotated[int | None, _text("Samples whose mean is scored; the suite's number unless given.")] = None,
    ranges: Annotated[
        list[str] | None, typer.Option("--range", help="parameter=low:high or =low:high:log; may be repeated.")
    ] = None,
    together: Annotated[bool, typer.Option("--together", help="One set of parameters for all tasks.")] = False,
    prior: Annotated[str | None, _text("The suite's unless given.")] = None,
    seed: _Seed = 0,
    out: Annotated[Path | None, _text("File for the suite as tuned; SUITE-SOLVER.toml unless given.")] = None,
    threads: _Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Search a solver's parameters on images that the benchmark never scores.

    The trials are kept beside the result in a file .sqlite: the same command goes on after an interruption.

    Example: invdiff tune standard --solver dps:steps=100 --budget 40 --out mine.toml
    """
    from .commands.tune import run

    run(
        suite, solver, budget=budget, tasks=tasks, images=images, size=size, samples=samples, ranges=ranges or [],
        together=together, prior=prior, seed=seed, out=out, threads=threads, overwrite=overwrite,
    )  # fmt: skip


@app.command()
def bench(
    suite: Annotated[str, typer.Argument(help="quick, standard, ct, fashion, exact, or a TOML file of your own.")],
    solvers: Annotated[str | None, _text("Instead of the suite's: a,b:steps=50,c; peers are deepinv.dps, ...")] = None,
    tasks: Annotated[str | None, _text("Instead of the suite's. See: invdiff list tasks --options")] = None,
    images: Annotated[str | None, _text("How many images, or a folder of your own.")] = None,
    size: Annotated[int | None, _text("Side in pixels that images are cut and resized to.")] = None,
    samples: Annotated[int | None, _text("Samples of the posterior for each cell.")] = None,
    seeds: Annotated[int | None, _text("Measurements of each image.")] = None,
    prior: Annotated[str | None, _text("NAME, weights (a file or folder), or file.py:function.")] = None,
    out: Annotated[Path | None, _text("Folder for the results, gone on with if it has some; bench-SUITE.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Do cells that failed once more.")] = False,
    export: Annotated[str | None, _text("Write the results as csv, parquet or latex, too.")] = None,
    workers: Annotated[
        int, _text("Processes of this machine that share the cells; times are cleanest with 1.", _RUN)
    ] = 1,
    scheduler: Annotated[str | None, _text("Dask cluster that shares the cells, tcp://host:8786.", _RUN)] = None,
    device: _Device = "auto",
    threads: _Threads = None,
) -> int:
    """Compare solvers on standard tasks; killed at any moment, the same command goes on where it was.

    Example: invdiff bench quick --solvers dps:steps=50,diffpir --out results
    """
    from .commands.bench import Options, run

    return run(
        Options(
            suite=suite, solvers=solvers, tasks=tasks, images=images, size=size, samples=samples, seeds=seeds,
            prior=prior, out=out, retry=retry, export=export, workers=workers, scheduler=scheduler, device=device,
            threads=threads,
        )
    )  # fmt: skip


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of results of invdiff bench.")],
    out: Annotated[Path | None, _text("File for the page; report.html in the folder unless given.")] = None,
    png: Annotated[bool, typer.Option("--png", help="Write figures for a paper, too.")] = False,
    metric: Annotated[str, _text("The one that ranks, such as psnr, ssim or crps.")] = "psnr",
    suite: Annotated[str | None, _text("Name or hash, where the folder has results of several.")] = None,
) -> None:
    """Write what a benchmark found as one page that works offline.

    Example: invdiff report results --png
    """
    from .commands.report import run

    run(folder, out=out, png=png, metric=metric, suite=suite)


@app.command()
def score(
    truth: Annotated[Path, _text("Folder of the true images.")],
    estimate: Annotated[Path, _text("Folder of the estimates, with the same names.")],
    metrics: Annotated[str, _text("Of psnr, ssim and lpips, with commas between.")] = "psnr,ssim",
    out: Annotated[Path | None, _text("File for the scores of each image, as CSV.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Score images that were made elsewhere, against the true ones.

    Example: invdiff score --truth photographs --estimate results --out scores.csv
    """
    from .commands.score import run

    run(truth, estimate, metrics=metrics, out=out, overwrite=overwrite)


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
    try:
        with _terminable():
            code = app(args=list(_argv), prog_name="invdiff", standalone_mode=False)
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:  # the reader of a pipe, such as head, has left: no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as failure:
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
    if isinstance(failure, ImportError) and "pip install" in str(failure):
        return 2, str(failure)
    if isinstance(failure, OSError):
        named = f"{failure.filename}: {failure.strerror}" if failure.filename and failure.strerror else str(failure)
        return 2, named
    crowded = isinstance(failure, RuntimeError) and "can't allocate memory" in str(failure)  # torch's on a CPU
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError" or crowded:
        return 1, "out of memory; lower --samples or --batch-size, or take a smaller image"
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
