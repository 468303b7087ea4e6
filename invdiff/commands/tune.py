"""`invdiff tune`: the parameters of a solver that restore images best which the benchmark never scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ..specs import parse_spec, split_specs
from . import terminal
from .checks import check_at_least, check_writable

T = TypeVar("T")


def run(
    suite: str,
    solver: str,
    *,
    budget: int,
    tasks: str | None,
    images: str,
    size: int | None,
    samples: int | None,
    ranges: Sequence[str],
    together: bool,
    prior: str | None,
    seed: int,
    out: Path | None,
    threads: int | None,
    overwrite: bool,
) -> None:
    """Run or continue the studies, and write the suite with what they found.

    Args:
        suite: name or file.
        solver: `name:parameter=value,...`; what is given is not searched.
        budget: trials for each task.
        tasks: with commas between, those of the suite unless given.
        images: how many of the validation images that go with the suite, or `FOLDER` or `FOLDER:count`.
        size: side in pixels; the suite's unless given.
        samples: whose mean is scored; the suite's number unless given.
        ranges: `parameter=low:high[:log]`, beside or instead of the declared ones.
        together: one set of parameters for all tasks.
        prior: the suite's unless given.
        seed: of measurements, samples and search.
        out: the file; `SUITE-SOLVER.toml` unless given. The studies stand beside it, in a file that ends in .sqlite.
        threads: on the CPU.
        overwrite: whether a file that is there may be replaced.

    Raises:
        ValueError: an unknown suite, task, solver or parameter, or a number that does not fit.
        FileNotFoundError: no such folder.
        FileExistsError: the file is there.
    """
    for option, value in (("--budget", budget), ("--size", size), ("--samples", samples), ("--threads", threads)):
        check_at_least(option, value, 1)
    check_at_least("--seed", seed, 0)
    spec = parse_spec(solver)
    source, count = _images(images)
    if out is None:
        out = Path(f"{Path(suite).stem}-{spec.name.replace('.', '-')}.toml")
    if out.suffix != ".toml":
        raise ValueError(f"--out: expected a file that ends in .toml, got {str(out)!r}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out: no folder {str(out.parent)!r}; make it first")
    check_writable(out.parent)
    if out.exists() and not overwrite and out != Path(suite):
        raise FileExistsError(f"--out: {str(out)!r} is there already; add --overwrite, or choose another name")

    import torch

    from ..atomic import atomic_path
    from ..benchmarks.suite import load_suite
    from ..benchmarks.tasks import make_task
    from ..benchmarks.tuning.spaces import Range
    from ..benchmarks.tuning.study import Plan, tune, validation_pictures, with_outcomes
    from ..priors import load_prior

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
        ranges=dict(_range(text, Range.parse) for text in ranges),
        samples=chosen.samples,
        seed=seed,
        together=together,
    )
    outcomes = tune(plan, budget, out.with_suffix(".sqlite"), say=terminal.progress_line)
    found = with_outcomes(load_suite(suite), plan, outcomes)
    with atomic_path(out) as file:
        file.write_text(f"# invdiff tune {suite} --solver {plan.label} --budget {budget}\n{found.to_toml()}")
    rows = [["task", "default dB", "tuned dB", "trials", "evaluations", "parameters"]]
    for o in outcomes:
        shown = o.reason or ", ".join(f"{k}={v:.3g}" for k, v in o.parameters.items())
        figures = [_decibel(o.default), _decibel(o.psnr), str(o.trials), str(o.evaluations)]
        rows.append([", ".join(o.tasks), *figures, shown])
    terminal.table(rows)
    terminal.progress_line(f"{out}: the suite with these parameters, for invdiff bench {out}")


def _images(text: str) -> tuple[str | None, int]:
    """Return the folder, if one is named, and how many images."""
    folder, colon, number = text.rpartition(":")
    if not colon:
        folder, number = ("", text) if text.isdigit() else (text, "4")
    if not number.isdigit() or int(number) < 1:
        raise ValueError(f"--images: expected a number, FOLDER or FOLDER:number, got {text!r}")
    return folder or None, int(number)


def _range(text: str, parse: Callable[[str], T]) -> tuple[str, T]:
    name, equals, rest = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--range: expected parameter=low:high or parameter=low:high:log, got {text!r}")
    return name, parse(rest)


def _decibel(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
