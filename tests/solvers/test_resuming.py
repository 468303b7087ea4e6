"""A run that was stopped and goes on has the bits of one that was not, for every solver."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from invdiff import Problem, Reconstruction, Unknown, load_prior, reconstruct, registry, simulate
from invdiff.journal import Journal, JournalError
from invdiff.operators import GammaCurve, Inpainting
from invdiff.solvers import DPS, Auto, Solver

SOLVERS = dict(registry.solvers)
QUICK: dict[str, dict[str, int]] = {"dip": {"steps": 10, "width": 6, "depth": 2}}


class Stopped(Exception):
    """Takes the place of the end of the process."""


def stopping(shares: list[float]) -> Callable[[int, int], None]:
    """Return a progress function that stops the run at each of some shares of its steps, once."""

    def progress(done: int, total: int) -> None:
        if shares and done >= shares[0] * total:
            del shares[0]
            raise Stopped

    return progress


def with_stops(solve: Callable[[Callable[[int, int], None]], Reconstruction], shares: list[float]) -> Reconstruction:
    progress = stopping(shares)
    while True:
        try:
            return solve(progress)
        except Stopped:
            continue


def equal(a: Reconstruction, b: Reconstruction) -> bool:
    same = torch.equal(a.samples, b.samples) and torch.equal(a.mean, b.mean) and a.trace.keys() == b.trace.keys()
    figures = all(torch.equal(a.trace[n], b.trace[n]) for n in a.trace)
    return same and figures and (a.nfe, a.vjps, a.status, a.message) == (b.nfe, b.vjps, b.status, b.message)


@pytest.fixture
def problem() -> Problem:
    mask = torch.tensor([[1, 0, 1, 1, 0]] * 4)
    return simulate(Inpainting(mask), torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(0)), 0.05)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_goes_on(name: str, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()
    monkeypatch.setattr(Journal, "due", property(lambda self: next(calls) % 7 == 6))
    prior, solver = load_prior("gaussian"), SOLVERS[name](**QUICK.get(name, {}))
    whole = solver(problem, prior, samples=2, seed=1)
    shares = [0.3, 0.8]

    def solve(progress: Callable[[int, int], None]) -> Reconstruction:
        return reconstruct(problem, prior, solver, samples=2, seed=1, progress=progress, resume=tmp_path / "state")

    found = with_stops(solve, shares)
    assert equal(found, whole)
    assert not (tmp_path / "state").exists()


def test_finished_steps_are_not_taken_again(problem: Problem, tmp_path: Path) -> None:
    prior, steps = load_prior("gaussian"), [0]

    class Counted(DPS):
        def step(self, run: object, x: torch.Tensor, i: int) -> torch.Tensor:
            steps[0] += 1
            return super().step(run, x, i)  # type: ignore[arg-type]

    def solve(progress: Callable[[int, int], None]) -> Reconstruction:
        with Journal(tmp_path, "key", every=0.0):
            return Counted(steps=10)(problem, prior, samples=2, batch_size=1, progress=progress)

    with_stops(solve, [0.24, 0.5, 0.74])
    assert steps[0] == 40 + 3  # four batches of ten steps; the step at which it was stopped is taken again


def test_the_default_and_unknown_parameters_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()
    monkeypatch.setattr(Journal, "due", property(lambda self: next(calls) % 7 == 6))
    x = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    known = simulate(GammaCurve((1, 12, 12), gamma=2.0), x, 0.05)
    curve = GammaCurve((1, 12, 12), gamma=Unknown(1, 3))  # type: ignore[arg-type]
    unknown = simulate(curve, x, 0.05, parameters={"gamma": 2.0})
    prior = load_prior("photo-gray")
    for number, problem in enumerate((known, unknown)):
        solver: Solver = Auto(effort="fast")
        whole = solver(problem, prior, samples=2)

        def solve(
            progress: Callable[[int, int], None], problem: Problem = problem, number: int = number
        ) -> Reconstruction:
            return reconstruct(
                problem, prior, "auto", effort="fast", samples=2, progress=progress, resume=tmp_path / str(number)
            )

        assert equal(with_stops(solve, [0.2, 0.6]), whole)


def test_short_runs_write_nothing(problem: Problem, tmp_path: Path) -> None:
    with Journal(tmp_path / "state", "key") as journal:
        DPS(steps=3)(problem, load_prior("gaussian"))
    assert not journal.written
    assert not (tmp_path / "state").exists()


def test_files_of_another_computation_and_broken_ones_do_not_count(problem: Problem, tmp_path: Path) -> None:
    prior, solver = load_prior("gaussian"), DPS(steps=5)
    with Journal(tmp_path, "one", every=0.0):
        first = solver(problem, prior, batch_size=1)
    (tmp_path / "entry-00001.pt").write_bytes(b"broken")
    for key in ("one", "two"):
        with Journal(tmp_path, key, every=0.0) as journal:
            again = solver(problem, prior, batch_size=1)
        assert journal.resumed == (key == "one")
        assert equal(again, first)
    with Journal(tmp_path, "two", every=0.0):
        other = DPS(steps=6)(problem, prior, batch_size=1)
    assert equal(other, DPS(steps=6)(problem, prior, batch_size=1))


def test_a_full_disk_is_said_and_the_run_goes_on_later(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    prior, solver = load_prior("gaussian"), DPS(steps=5)
    with monkeypatch.context() as patch, Journal(tmp_path / "state", "key", every=0.0):
        patch.setattr("torch.save", full)
        with pytest.raises(JournalError) as error:
            solver(problem, prior)
    words = "the state of the run cannot be written: No space left on device; make room, and the same command goes on"
    assert error.value.strerror == f"{tmp_path / 'state'}: {words}"
    with Journal(tmp_path / "state", "key", every=0.0):
        assert equal(solver(problem, prior), solver(problem, prior))
