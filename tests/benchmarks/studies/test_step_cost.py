"""The cost of a step: evaluations are counted as they are made, and work beside them is seen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from invdiff.benchmarks.studies import step_cost as cost
from invdiff.priors import Prior
from invdiff.problem import Problem
from invdiff.solvers import DPS, MMPS, DiffPIR, Run, Solver

PAUSE = 0.02


class Slow(Prior):
    """A denoiser that takes its time."""

    shape, std, sigma_min, sigma_max = (1, None, None), 0.25, 0.01, 10.0

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        time.sleep(PAUSE)
        return x / (1 + 16 * float(torch.as_tensor(sigma)) ** 2)


@dataclass(frozen=True, kw_only=True)
class Idle(Solver):
    """Denoises once and rests for a share of the time that this takes; every second step rises without a denoiser."""

    share: float = 0.0

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        return torch.linspace(1, 0, 17, dtype=torch.float64)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        time.sleep(self.share * PAUSE / 2)
        return run.denoise(x, run.levels[i]) if i % 2 else x


def problem() -> Problem:
    return cost.problems(["inpainting"], Slow(), side=8)["inpainting"]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_work_beside_the_evaluations_is_seen(share: float) -> None:
    row = cost.measure("idle", Idle(share=share), "inpainting", problem(), Slow())
    assert (row.forward, row.products, row.steps) == (1, 0, 7)
    assert row.bare >= PAUSE
    assert abs(row.over - share) < 0.4  # on a busy machine
    assert row.step > row.bare * (1 + share) * 0.8


def test_evaluations_and_products_are_counted() -> None:
    noted = cost.RecordingPrior(Slow())
    DPS(steps=3)(problem(), noted)
    assert [(n.rows, n.graph, n.products) for n in noted.notes] == [(1, True, 1)] * 3
    noted = cost.RecordingPrior(Slow())
    DiffPIR(steps=3)(problem(), noted, samples=2)
    assert [(n.rows, n.graph, n.products) for n in noted.notes] == [(2, False, 0)] * 3
    noted = cost.RecordingPrior(Slow())
    MMPS(steps=2, iterations=1, order=1)(problem(), noted)
    assert [(n.rows, n.graph, n.products) for n in noted.notes] == [(1, True, 2)] * 2


def test_evaluations_are_repeated_one_by_one() -> None:
    noted = cost.RecordingPrior(Slow())
    wanted = [cost.Evaluation(2, 0.5, False), cost.Evaluation(1, 0.25, True, 3)]
    cost.repeat(noted, torch.zeros(1, 1, 8, 8), wanted)
    assert noted.notes == wanted


def test_work_is_weighed_against_a_network_that_was_timed_apart() -> None:
    prior, x = Slow(), torch.zeros(1, 1, 8, 8)
    network = cost.Network.of(prior, x, repeats=3)
    assert PAUSE <= network.forward < 2 * PAUSE  # sleeping is not disturbed by what else runs
    assert abs(network.product) < PAUSE
    row = cost.measure("idle", Idle(share=1.0), "inpainting", problem(), cost.StandIn(prior))
    assert (row.forward, row.products) == (1, 0)
    whole = cost.Network(forward=2 * PAUSE, product=0.0).instead(row)
    assert whole.bare == 2 * PAUSE
    assert 0.4 < whole.over < 0.8  # a rest of half a pause in each of two steps, beside two pauses


def test_a_solver_that_asks_no_prior_has_no_cost() -> None:
    with pytest.raises(ValueError, match="dps: expected at least three steps that ask the prior, got 2"):
        cost.measure("dps", DPS(steps=2), "inpainting", problem(), Slow())


def test_command_line_keeps_rows_and_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, out = tmp_path / "rows.json", tmp_path / "cost.md"
    fixed = ["--prior", "gaussian", "--side", "8", "--rows", str(rows), "--out", str(out)]
    assert cost.main(["--solvers", "ddrm", "--tasks", "inpainting", *fixed]) == 0
    assert cost.main(["--solvers", "ddrm", "--tasks", "deblurring", *fixed]) == 0
    table = [line for line in out.read_text().splitlines() if line.startswith("| ddrm")]
    assert {line.split(" | ")[1] for line in table} == {"inpainting", "deblurring"}
    capsys.readouterr()
    for words, message in (
        (["--solvers", "ddrn"], "unknown solver 'ddrn'; did you mean 'ddrm'?"),
        (["--solvers", "tv"], "cost: tv: asks no prior"),
        (["--solvers", "ddrm", "--tasks", "blurring"], "unknown task 'blurring'; did you mean 'deblurring'?"),
    ):
        assert cost.main([*words, *fixed]) == 2
        assert message in capsys.readouterr().err
    rows.write_text("[1]")
    assert cost.main(["--solvers", "ddrm", "--tasks", "inpainting", *fixed]) == 2
    assert "expected rows that --rows wrote" in capsys.readouterr().err
    assert rows.read_text() == "[1]"
