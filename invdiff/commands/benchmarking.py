"""The commands that compare solvers: what can be asked of `grade`, `tune`, `bench`, `report` and `score`.

Free of torch, so that help answers at once; what a command does is in the module of its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .arguments import RUN, Device, Seed, Threads, text


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (grade, tune, bench, report, score):
        app.command()(command)


def grade(
    suite: Annotated[
        str, text("exact: problems with a closed-form posterior; mcgdiff: the mixture experiment of its paper.")
    ] = "exact",
    solvers: Annotated[str | None, text("Names with commas between; all of them unless given.")] = None,
    out: Annotated[Path | None, text("Markdown file for the table.")] = None,
    operator: Annotated[
        str | None,
        text("For exact: grade on this linear operator instead, under a Gaussian prior: NAME:key=value,..."),
    ] = None,
    shape: Annotated[tuple[int, int, int] | None, text("For --operator: shape C H W; 1 8 8 unless given.")] = None,
    noise: Annotated[str | None, text("For --operator: Gaussian noise; 0.05 unless given.")] = None,
    samples: Annotated[int, text("For exact: samples of each image.")] = 256,
    seeds: Annotated[int, text("For mcgdiff: how many random problems in each cell.")] = 20,
    steps: Annotated[int, text("For mcgdiff: noise levels.")] = 20,
    threads: Threads = None,
) -> None:
    """Tell how wrong each solver is, against exact posteriors.

    Example: invdiff grade --solvers dps,mcgdiff,twisted
    """
    from ..specs import parse_spec
    from .grade import run

    run(
        suite, solvers, operator=None if operator is None else parse_spec(operator), shape=shape, noise=noise,
        samples=samples, seeds=seeds, steps=steps, out=out, threads=threads,
    )  # fmt: skip


def tune(
    suite: Annotated[str, typer.Argument(help="Name of a suite, or its file.")],
    solver: Annotated[str, text("NAME:parameter=value,...; what is given stays, as steps=50; the rest is searched.")],
    budget: Annotated[int, text("Trials for each task, those of an interrupted run among them.")] = 40,
    tasks: Annotated[str | None, text("Tasks with commas between; those of the suite unless given.")] = None,
    images: Annotated[
        str, text("FOLDER:number or FOLDER of photographs, or how many of those that come with invdiff.")
    ] = "4",
    size: Annotated[int | None, text("Side of the images in pixels; the suite's unless given.")] = None,
    samples: Annotated[int | None, text("Samples whose mean is scored; the suite's number unless given.")] = None,
    ranges: Annotated[
        list[str] | None, typer.Option("--range", help="parameter=low:high or =low:high:log; may be repeated.")
    ] = None,
    together: Annotated[bool, typer.Option("--together", help="One set of parameters for all tasks.")] = False,
    prior: Annotated[str | None, text("The suite's unless given.")] = None,
    seed: Seed = 0,
    out: Annotated[Path | None, text("File for the suite as tuned; SUITE-SOLVER.toml unless given.")] = None,
    threads: Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Search a solver's parameters on images that the benchmark never scores.

    The trials are kept beside the result in a file .sqlite: the same command goes on after an interruption.

    Example: invdiff tune standard --solver dps:steps=100 --budget 40 --out mine.toml
    """
    from .tune import run

    run(
        suite, solver, budget=budget, tasks=tasks, images=images, size=size, samples=samples, ranges=ranges or [],
        together=together, prior=prior, seed=seed, out=out, threads=threads, overwrite=overwrite,
    )  # fmt: skip


def bench(
    suite: Annotated[str, typer.Argument(help="quick, standard, ct, fashion, exact, or a TOML file of your own.")],
    solvers: Annotated[str | None, text("Instead of the suite's: a,b:steps=50,c; peers are deepinv.dps, ...")] = None,
    tasks: Annotated[str | None, text("Instead of the suite's. See: invdiff list tasks --options")] = None,
    images: Annotated[str | None, text("How many images, or a folder of your own.")] = None,
    size: Annotated[int | None, text("Side in pixels that images are cut and resized to.")] = None,
    samples: Annotated[int | None, text("Samples of the posterior for each cell.")] = None,
    seeds: Annotated[int | None, text("Measurements of each image.")] = None,
    prior: Annotated[str | None, text("NAME, weights (a file or folder), or file.py:function.")] = None,
    out: Annotated[Path | None, text("Folder for the results, gone on with if it has some; bench-SUITE.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Do cells that failed once more.")] = False,
    export: Annotated[str | None, text("Write the results as csv, parquet or latex, too.")] = None,
    workers: Annotated[
        int, text("Processes of this machine that share the cells; times are cleanest with 1.", RUN)
    ] = 1,
    scheduler: Annotated[str | None, text("Dask cluster that shares the cells, tcp://host:8786.", RUN)] = None,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Compare solvers on standard tasks; killed at any moment, the same command goes on where it was.

    Example: invdiff bench quick --solvers dps:steps=50,diffpir --out results
    """
    from .bench import Options, run

    return run(
        Options(
            suite=suite, solvers=solvers, tasks=tasks, images=images, size=size, samples=samples, seeds=seeds,
            prior=prior, out=out, retry=retry, export=export, workers=workers, scheduler=scheduler, device=device,
            threads=threads,
        )
    )  # fmt: skip


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of results of invdiff bench.")],
    out: Annotated[Path | None, text("File for the page; report.html in the folder unless given.")] = None,
    png: Annotated[bool, typer.Option("--png", help="Write figures for a paper, too.")] = False,
    metric: Annotated[str, text("The one that ranks, such as psnr, ssim or crps.")] = "psnr",
    suite: Annotated[str | None, text("Name or hash, where the folder has results of several.")] = None,
) -> None:
    """Write what a benchmark found as one page that works offline.

    Example: invdiff report results --png
    """
    from .report import run

    run(folder, out=out, png=png, metric=metric, suite=suite)


def score(
    truth: Annotated[Path, text("Folder of the true images.")],
    estimate: Annotated[Path, text("Folder of the estimates, with the same names.")],
    metrics: Annotated[str, text("Of psnr, ssim and lpips, with commas between.")] = "psnr,ssim",
    out: Annotated[Path | None, text("File for the scores of each image, as CSV.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Score images that were made elsewhere, against the true ones.

    Example: invdiff score --truth photographs --estimate results --out scores.csv
    """
    from .score import run

    run(truth, estimate, metrics=metrics, out=out, overwrite=overwrite)
