"""Progress over several pictures, with the time left: a bar on a terminal, otherwise a line for each picture."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class Meter:
    """The progress of a run over several pictures.

    Args:
        total: number of pictures.
        done: number of those that were done before.
        bar: the bar on a terminal; otherwise lines are printed.
        console: where to.
    """

    def __init__(self, total: int, done: int, console: Console, bar: Progress | None = None) -> None:
        self._total, self._before, self._done, self._part = total, done, done, 0.0
        self._console, self._bar = console, bar
        self._task = None if bar is None else bar.add_task("", total=total, completed=done, left="")
        self._begin = time.perf_counter()

    @property
    def left(self) -> str:
        """The time left, from the share of the pictures of this run that is done; "" if none is known yet."""
        now = self._done - self._before + self._part
        if now <= 0:
            return ""
        seconds = (time.perf_counter() - self._begin) * (self._total - self._before - now) / now
        return f"{duration(seconds)} left"

    def advance(self, pictures: float) -> None:
        """Show that the pictures at work are done to an amount of so many pictures."""
        self._part = pictures
        self._show()

    def finish(self, name: str, text: str) -> None:
        """Show that a picture has ended, and how."""
        self._done += 1
        self._part = max(0.0, self._part - 1)
        if self._bar is None:
            line = f"{self._done}/{self._total}  {name}  {text}"
            self._console.print(f"{line}  {self.left}", soft_wrap=True, style="dim")
        self._show(name)

    def _show(self, name: str | None = None) -> None:
        if self._bar is not None and self._task is not None:
            more = {} if name is None else {"description": name[:34]}
            self._bar.update(self._task, completed=self._done + self._part, left=self.left, **more)  # type: ignore[arg-type]


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds.

    Example:
        >>> duration(75.2), duration(7200)
        ('1:15', '2:00:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


@contextlib.contextmanager
def metered(total: int, done: int) -> Iterator[Meter]:
    """Yield a meter that writes on standard error."""
    console = Console(stderr=True, highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        yield Meter(total, done, console)
        return
    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[left]}"), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        yield Meter(total, done, console, bar)
