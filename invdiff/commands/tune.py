"""`invdiff tune`: the best parameters of a solver on images that the benchmark never scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ..errors import UserError
from ..specs import parse_spec, split_specs
from . import terminal
from .arguments import Seed, Threads, text
from .checks import check_at_least, check_writable

T = TypeVar("T")


def tune(
    suite: Annotated[str, typer.Argument(help="Name of a suite, or its file.")],
    solver: Annotated[
        str, text("NAME:parameter=value,...; given values, as steps=50, are fixed; the others are searched.")
    ],
    budget: Annotated[int, text("Trials for each task, with those of an interrupted run.")] = 40,
    tasks: Annotated[str | None, text("Tasks with commas between; by default those of the suite.")] = None,
    images: Annotated[str, text("FOLDER:number or FOLDER of photographs, or a number of the built-in ones.")] = "4",
    size: Annotated[int | None, text("Side of the images in pixels; by default the suite's.")] = None,
    samples: Annotated[int | None, text("Number of samples of the scored mean; by default the suite's.")] = None,
    ranges: Annotated[
        list[str] | None, typer.Option("--range", help="parameter=low:high or =low:high:log; may be repeated.")
    ] = None,
    together: Annotated[bool, typer.Option("--together", help="One set of parameters for all tasks.")] = False,
    prior: Annotated[str | None, text("By default the suite's.")] = None,
    seed: Seed = 0,
    out: Annotated[Path | None, text("File for the tuned suite; by default SUITE-SOLVER.toml.")] = None,
    threads: Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Search a solver's parameters on images that the benchmark never scores.

    The trials are kept beside the result in a file .sqlite; after an interruption, the same command continues.

    Example: invdiff tune standard --solver dps:steps=100 --budget 40 --out mine.toml
    """
    for option, value in (("--budget", budget), ("--size", size), ("--samples", samples), ("--threads", threads)):
        check_at_least(option, value, 1)
    check_at_least("--seed", seed, 0)
    spec = parse_spec(solver)
    source, count = _images(images)
    if out is None:
        out = Path(f"{Path(suite).stem}-{spec.name.replace('.', '-')}.toml")
    if out.suffix != ".toml":
        raise UserError(f"--out: expected a file that ends in .toml, got {str(out)!r}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out: no folder {str(out.parent)!r}; make it first")
    check_writable(out.parent)
    if out.exists() and not overwrite and out != Path(suite):
        raise FileExistsError(f"--out: {str(out)!r} is there already; add --overwrite, or choose another name")

    import torch

    from ..atomic import atomic_path
    from ..benchmarks.suite import load_suite
    from ..benchmarks.tasks import make_task
    from ..benchmarks.tuning.study import Plan, validation_pictures, with_outcomes
    from ..benchmarks.tuning.study import tune as search
    from ..priors import load_prior
    from ..solvers.common.search import Range

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = load_suite(suite).changed(size=size, samples=samples, prior=prior)
    if tasks is not None:
        chosen = chosen.changed(tasks=tuple(split_specs(tasks)))
    p = load_prior(chosen.prior)
    plan = Plan(
        solver=spec.name,
        tasks={label: make_task(label) for label in chosen.tasks},
        images=validation_pictures(chosen, source, count, p),
        prior=p,
        fixed=spec.options,
        ranges=dict(_range(text, Range.parse) for text in ranges or []),
        samples=chosen.samples,
        seed=seed,
        together=together,
    )
    outcomes = search(plan, budget, out.with_suffix(".sqlite"), say=terminal.progress_line)
    found = with_outcomes(load_suite(suite), plan, outcomes)
    with atomic_path(out) as file:
        file.write_text(
            f"# invdiff tune {suite} --solver {plan.label} --budget {budget}\n{found.to_toml()}", encoding="utf-8"
        )
    rows = [["task", "default dB", "tuned dB", "trials", "evaluations", "parameters"]]
    for o in outcomes:
        shown = o.reason or ", ".join(f"{k}={v:.3g}" for k, v in o.parameters.items())
        figures = [_decibel(o.default), _decibel(o.psnr), str(o.trials), str(o.evaluations)]
        rows.append([", ".join(o.tasks), *figures, shown])
    terminal.table(rows)
    terminal.progress_line(f"{out}: the suite with these parameters, for invdiff bench {out}")


def _images(text: str) -> tuple[str | None, int]:
    """Return the folder, if there is one, and the number of images."""
    folder, colon, number = text.rpartition(":")
    if not colon:
        folder, number = ("", text) if text.isdigit() else (text, "4")
    if not number.isdigit() or int(number) < 1:
        raise UserError(f"--images: expected a number, FOLDER or FOLDER:number, got {text!r}")
    return folder or None, int(number)


def _range(text: str, parse: Callable[[str], T]) -> tuple[str, T]:
    name, equals, rest = text.partition("=")
    if not equals or not name:
        raise UserError(f"--range: expected parameter=low:high or parameter=low:high:log, got {text!r}")
    return name, parse(rest)


def _decibel(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
