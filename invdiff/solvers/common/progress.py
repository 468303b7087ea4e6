"""Progress bars: steps done, steps in all, time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]


@contextmanager
def progress_bar(progress: bool | Progress, total: int, title: str) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each step; `progress` is whether to show a bar, or a function of (done, total)."""
    done = 0
    if not progress:
        yield lambda: None
        return
    if callable(progress):

        def tell() -> None:
            nonlocal done
            done += 1
            progress(done, total)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
