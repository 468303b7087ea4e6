"""Solvers for the tests of the runner, named on the command line as `contestants.py:Name`; no test by itself."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invdiff.priors import Prior
from invdiff.problem import Problem
from invdiff.solvers import Run, Solver


@dataclass(frozen=True, kw_only=True)
class Slow(Solver):
    """Takes its time, then writes to a file that it has done one more problem: one line of its measurement's sum."""

    steps: int = 2
    wait: float = 0.1
    log: str = ""

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        return torch.linspace(1, 0, self.steps + 1, dtype=torch.float64)

    def start(self, run: Run) -> Tensor:
        return run.problem.measurement

    def step(self, run: Run, x: Any, i: int) -> Any:
        time.sleep(self.wait / self.steps)
        if i == self.steps - 1 and self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{float(run.problem.measurement.double().sum())!r}\n")
        return run.denoise(x, run.levels[i])


@dataclass(frozen=True, kw_only=True)
class Deadly(Slow):
    """Kills its process, unless a file says that this has been done often enough."""

    flag: str = ""
    deaths: int = 1

    def step(self, run: Run, x: Any, i: int) -> Any:
        before = len(Path(self.flag).read_text()) if Path(self.flag).exists() else 0
        if before < self.deaths:
            Path(self.flag).write_text("x" * (before + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(run, x, i)


@dataclass(frozen=True, kw_only=True)
class Faulty(Slow):
    """Fails in its first step, or after it; or becomes infinite."""

    how: str = "late"

    def step(self, run: Run, x: Any, i: int) -> Any:
        if self.how == "diverge":
            return x / 0
        if self.how == "early" or i == 1:
            raise ValueError("this cannot be done") if self.how == "early" else RuntimeError("something broke")
        return x
