"""The command line: its commands, errors and exit codes.

Exit codes: 0 done, 1 a fault of invdiff or out of memory, 2 bad input (both in one line on standard error), 3 the
solver diverged (results are written and say so), 4 some pictures of several failed (the others are written), 130
interrupted (a line says what was written). A misfit, that is samples further from the measurement than its noise
explains, is no error: exit code 0, a yellow line on standard error, and `"status": "misfit"` in `result.json`.

The options of a command are declared in its module of `commands`. These modules, and their imports at the top, do not
import torch, so help and listings are fast.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Annotated

import typer

from . import __version__
from .commands import terminal
from .commands.bench import bench
from .commands.calibrate import calibrate
from .commands.check import check
from .commands.deblur import deblur
from .commands.demo import demo
from .commands.endings import INTERRUPTED, ending
from .commands.grade import grade
from .commands.listing import list_
from .commands.reconstruct import reconstruct
from .commands.report import report
from .commands.sample import sample
from .commands.score import score
from .commands.train import train
from .commands.tune import tune

app = typer.Typer(
    name="invdiff",
    help="Bayesian inverse problems in imaging: from a corrupted image to samples of the clean one.",
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
    show: Annotated[bool, typer.Option("--traceback", help="Show Python's traceback on errors.")] = False,
) -> None:
    del show  # `main` reads the flag itself, so that it also applies to errors of parsing


for _command in (reconstruct, deblur, calibrate, demo, sample, train, check, grade, tune, bench, report, score):
    app.command()(_command)
app.command("list")(list_)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: the arguments; by default those of the process.
    """
    words = sys.argv[1:] if argv is None else argv
    line = shlex.join(["invdiff", *words])
    show = "--traceback" in words[:1] or bool(os.environ.get("INVDIFF_TRACEBACK"))
    if "" in words:
        before = shlex.join(["invdiff", *words[: words.index("")]])
        terminal.error(f"expected no empty argument, got one after {before!r}; is a variable of the shell not set?")
        return 2
    try:
        with _terminable():
            alone = words == ["--traceback"]  # typer reports a missing command, but the user wants help
            code = app(args=[] if alone else list(words), prog_name="invdiff", standalone_mode=False, obj=line)
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:  # the reader of a pipe, such as head, has closed it: no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as failure:
        if type(failure).__name__ == "NoArgsIsHelpError":  # the help is printed already
            return 2
        if show:
            raise
        code, text = ending(failure)
        terminal.error(text)
    if code == INTERRUPTED:
        return _interrupted()
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    print("invdiff: interrupted; nothing was written", file=sys.stderr)
    return INTERRUPTED


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Raise an exception on SIGTERM, so that temporary files are removed."""

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
