"""`invdiff bench`: run a suite with a progress bar, and print the leaderboard."""

from __future__ import annotations

import collections
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from ..errors import UserError
from ..registry import is_weights, priors
from ..specs import parse_spec, split_specs
from . import terminal
from .arguments import RUN, Device, Threads, text
from .checks import check_at_least, check_name, check_out
from .endings import INTERRUPTED

if TYPE_CHECKING:
    from ..benchmarks.execution.runner import Progress, Summary
    from ..benchmarks.results.leaderboard import Line
    from ..benchmarks.suite import Suite

_SHOWN = ("psnr", "ssim")


def bench(
    suite: Annotated[str, typer.Argument(help="quick, standard, ct, fashion, exact, or a TOML file of your own.")],
    solvers: Annotated[str | None, text("Instead of the suite's: a,b:steps=50,c; peers are deepinv.dps, ...")] = None,
    tasks: Annotated[str | None, text("Instead of the suite's. See: invdiff list tasks --options")] = None,
    images: Annotated[str | None, text("Number of images, or a folder of your own.")] = None,
    size: Annotated[int | None, text("Side in pixels to which images are cropped and resized.")] = None,
    samples: Annotated[int | None, text("Samples of the posterior for each cell.")] = None,
    seeds: Annotated[int | None, text("Measurements of each image.")] = None,
    gray: Annotated[bool, typer.Option("--gray", help="Read the images as gray ones.")] = False,
    prior: Annotated[str | None, text("NAME, weights (a file or folder), or file.py:function.")] = None,
    out: Annotated[Path | None, text("Folder for the results, continued if it has some; bench-SUITE.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run failed cells again.")] = False,
    export: Annotated[str | None, text("Write the results as csv, parquet or latex, too.")] = None,
    workers: Annotated[
        int, text("Processes of this machine that share the cells; times are most accurate with 1.", RUN)
    ] = 1,
    scheduler: Annotated[str | None, text("Dask cluster that shares the cells, tcp://host:8786.", RUN)] = None,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Compare solvers on standard tasks; after an interruption, the same command continues.

    Example: invdiff bench quick --solvers dps:steps=50,diffpir --out results
    """
    return run(
        Options(
            suite=suite, solvers=solvers, tasks=tasks, images=images, size=size, samples=samples, seeds=seeds,
            gray=gray, prior=prior, out=out, retry=retry, export=export, workers=workers, scheduler=scheduler,
            device=device, threads=threads,
        )
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `invdiff bench`; see its help."""

    suite: str
    solvers: str | None = None
    tasks: str | None = None
    images: str | None = None
    size: int | None = None
    samples: int | None = None
    seeds: int | None = None
    gray: bool = False
    prior: str | None = None
    out: Path | None = None
    workers: int = 1
    scheduler: str | None = None
    retry: bool = False
    export: str | None = None
    device: str = "auto"
    threads: int | None = None


def run(options: Options) -> int:
    """Run a suite and return the exit code: 0, or 1 if cells failed.

    Raises:
        ValueError: bad input; nothing is written then.
        OSError: a folder that cannot be written, or a cluster that does not answer.
    """
    from ..benchmarks.execution.runner import Progress, run_suite
    from ..benchmarks.execution.store import FILE, Store
    from ..benchmarks.results.export import check_kind, export
    from ..benchmarks.results.leaderboard import leaderboard
    from ..pools.open import open_pool
    from .devices import select_device

    for name in ("size", "samples", "seeds", "workers", "threads"):
        check_at_least(f"--{name}", getattr(options, name), 1)
    if options.scheduler is not None and options.workers != 1:
        raise UserError("--workers: goes without --scheduler, whose workers are started by themselves; leave it out")
    if options.export is not None:
        check_kind(options.export)
    suite = chosen(options)
    out = options.out or Path(f"bench-{suite.name}")
    if (out / FILE).exists():  # errors are reported before anything is loaded, measured or written
        Store.open(out).close()
    else:
        check_out(out, overwrite=True)
    device = select_device(options.device).type
    if not is_weights(suite.prior):
        check_name(priors, parse_spec(suite.prior).name)
    pool = open_pool(workers=options.workers, scheduler=options.scheduler, device=device, threads=options.threads)
    terminal.facts([
        ("suite", f"{suite.name}: {len(suite.tasks)} tasks, {len(suite.solvers)} solvers, prior {suite.prior}"),
        ("results", str(out)),
    ])  # fmt: skip
    last = Progress(None, 0, 0, None)
    try:
        with pool, _bar(pool.size) as show:

            def watch(progress: Progress) -> None:
                nonlocal last
                last = progress
                show(progress)

            summary = run_suite(suite, out, pool=pool, retry=options.retry, watch=watch)
    except KeyboardInterrupt:
        terminal.error(f"interrupted: {last.done} of {last.total} cells are in {out}; the same command goes on")
        raise SystemExit(INTERRUPTED) from None
    show_leaderboard(leaderboard(summary.rows))
    _conclude(summary, out, pool.size)
    if options.export is not None:
        terminal.line(f"Exported: {export(summary.rows, options.export, out)}")
    return 1 if any(row.status == "failed" for row in summary.rows) else 0


def chosen(options: Options) -> Suite:
    """Return the suite with the changes of the options."""
    folder = options.images if options.images is not None and not options.images.isdigit() else None
    count = int(options.images) if options.images is not None and folder is None else None
    check_at_least("--images", count, 1)
    if folder is not None and not os.path.isdir(folder):
        raise UserError(f"--images: expected a number or a folder, got {folder!r}; there is no such folder")
    from ..benchmarks.suite import load_suite

    suite = load_suite(options.suite)
    changed = suite.changed(
        solvers=None if options.solvers is None else tuple(split_specs(options.solvers)),
        tasks=None if options.tasks is None else tuple(split_specs(options.tasks)),
        images=count, source=folder, size=options.size, samples=options.samples, seeds=options.seeds,
        prior=options.prior, channels=1 if options.gray else None,
    )  # fmt: skip
    return changed if folder is None else changed.all_of_folder()


_WIDTHS = {"PSNR dB": 7, "SSIM": 5, "evaluations": 11, "seconds": 8}


def show_leaderboard(lines: list[Line]) -> None:
    """Print a table for each task: in at most 80 columns on a terminal, with complete names when piped."""
    from ..benchmarks.results.leaderboard import figures

    console = Console(highlight=False, emoji=False, markup=False)
    room = max((max(len(line.task), 2 + len(line.label)) for line in lines), default=0)
    for task in dict.fromkeys(line.task for line in lines):
        rows = [(f"  {line.label}", *figures(line, _SHOWN), line.note) for line in lines if line.task == task]
        if not console.is_terminal:
            for name, *texts, note in [(task, *_WIDTHS, ""), *rows]:
                columns = (text.rjust(width) for text, width in zip(texts, _WIDTHS.values(), strict=True))
                print("  ".join([name.ljust(room), *columns, note]).rstrip(), file=console.file)
            print(file=console.file)
            continue
        taken = sum(_WIDTHS.values()) + 2 * len(_WIDTHS) + 2 + max(len(line.note) for line in lines)
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        shown.add_column(Text(task, style="bold"), width=min(room, max(24, console.width - taken)), overflow="fold")
        for title, width in _WIDTHS.items():
            shown.add_column(title, justify="right", width=width)
        shown.add_column("", style="dim")
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
        console.print()


def _conclude(summary: Summary, out: Path, size: int) -> None:
    """Print the time of the run, its failures and the place of its results."""
    failed = [row for row in summary.rows if row.status == "failed"]
    for row in failed[:5]:
        terminal.error(f"{row.label} on {row.task}, {row.image}, seed {row.seed}: {row.reason}")
    if failed:
        terminal.error(f"{len(failed)} of {len(summary.rows)} cells failed; --retry does them again")
    misfits = collections.Counter(row.label for row in summary.rows if row.status == "misfit")
    if misfits:
        most = ", ".join(f"{label} {n}" for label, n in misfits.most_common(5))
        terminal.warning(
            f"{misfits.total()} of {len(summary.rows)} cells are misfits, their samples further from the measurement "
            f"than its noise explains: {most}{', ...' if len(misfits) > 5 else ''}"
        )
    if summary.ran:
        extra = ""
        if size == 1 and summary.solves:
            extra = f", {summary.seconds / summary.solves - 1:.1%} on top of the solves"
        terminal.line(f"{summary.ran} of {len(summary.rows)} cells done now in {summary.seconds:.0f} s{extra}.")
    else:
        terminal.line(f"All {len(summary.rows)} cells were done before.")
    terminal.line(f"Results: {out}")


class _Left(ProgressColumn):
    """Time left, from the times of the same solvers."""

    def render(self, task: Task) -> Text:
        """Return minutes and seconds, or dashes."""
        left = task.fields.get("left")
        if left is None:
            return Text("-:-- left", style="cyan")
        minutes, seconds = divmod(round(left), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left", style="cyan")


@contextlib.contextmanager
def _bar(size: int) -> Iterator[Callable[[Progress], None]]:
    """Show the progress of the run on standard error: a bar on a terminal, a line for each row otherwise."""
    console = Console(stderr=True, highlight=False, emoji=False, markup=False)
    if not console.is_terminal:

        def tell(progress: Progress) -> None:
            if (row := progress.row) is not None:
                psnr = f"{row.metrics['psnr']:.2f} dB" if "psnr" in row.metrics else row.status
                place = f"{row.task} {row.image} {row.seed}"
                text = f"{progress.done}/{progress.total}  {place}  {row.label}  {psnr}  {row.seconds:.2f} s"
                console.print(text, soft_wrap=True)

        yield tell
        return
    columns = (BarColumn(20), MofNCompleteColumn(), _Left(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, left=None)

        def show(progress: Progress) -> None:
            row, left = progress.row, progress.seconds_left
            text = "" if row is None else f"{row.label} {row.task}"
            bar.update(
                task, completed=progress.done, total=progress.total, description=text[:34],
                left=None if left is None else left / size,
            )  # fmt: skip

        yield show
