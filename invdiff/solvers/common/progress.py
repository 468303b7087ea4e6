"""Progress bars: steps done, steps in all, time left.

With `f` of `n` steps done after `t` seconds, `t (n - f) / f` seconds are left. `f` counts the tiles of an evaluation
that has begun, so a large picture has its time left after the first tile, and others after the first step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ...priors.tiling import watch_tiles

Progress = Callable[[int, int], None]

AT_ONCE = 1e-3  # seconds between two steps below which nothing was computed: they are from an earlier run


@dataclass
class Meter:
    """Steps done, with their parts, and the time that is left.

    Attributes:
        total: number of steps.
        passes: evaluations of the network of one step, if that is known; a product with its Jacobian counts as one.
        now: the clock, in seconds.
        done: steps done.
        evaluated: evaluations done in the current step.
        share: of the tiles of the one that runs.
    """

    total: int
    passes: float = 1.0
    now: Callable[[], float] = time.monotonic
    done: int = 0
    evaluated: int = 0
    share: float = 0.0
    _begin: float = field(init=False)
    _last: float = field(init=False)
    _before: int = 0

    def __post_init__(self) -> None:
        self._begin = self._last = self.now()

    def step(self) -> None:
        """Count a step."""
        self.done += 1
        time_now = self.now()
        if time_now - self._last < AT_ONCE and not self.evaluated:
            self._begin, self._before = time_now, self.done
        self._last = time_now
        if self.evaluated:
            self.passes = float(self.evaluated)
        self.evaluated, self.share = 0, 0.0

    def tile(self, done: int, total: int) -> None:
        """Count a tile of an evaluation."""
        finished = done == total
        self.evaluated += finished
        self.share = 0.0 if finished else done / total

    @property
    def completed(self) -> float:
        """Steps done, and the part of the current one."""
        within = self.evaluated + self.share
        return self.done + min(0.99, within / max(self.passes, float(math.ceil(within)), 1.0))

    @property
    def left(self) -> float | None:
        """Seconds left; `None` before anything was done."""
        worked = self.completed - self._before
        return None if worked <= 0 else (self.now() - self._begin) * (self.total - self.completed) / worked


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
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    meter = Meter(total)

    class TimeLeft(ProgressColumn):
        """The time left by the meter."""

        def render(self, task: Task) -> Text:
            return Text(clock(meter.left), style="progress.remaining")

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[steps]}"), TimeLeft())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, steps=f"0/{total}")

        def show() -> None:
            bar.update(task, completed=meter.completed, steps=f"{meter.done}/{total}")

        def step() -> None:
            meter.step()
            show()

        def tile(k: int, tiles: int) -> None:
            meter.tile(k, tiles)
            show()

        with watch_tiles(tile):
            yield step


def clock(seconds: float | None) -> str:
    """Return a time as `h:mm:ss`, or `-:--:--`."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
