"""What the tables of a report say, against the rows that it was made of."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invdiff.benchmarks.execution.gallery import LEVELS
from invdiff.benchmarks.execution.rows import Row
from invdiff.benchmarks.report import read, summarise
from invdiff.benchmarks.report.calibration import curves
from invdiff.benchmarks.report.pictures import error_map, gallery, scenes
from invdiff.benchmarks.report.summary import Summary
from invdiff.benchmarks.report.tables import matrix, settings, task_table, too_few
from invdiff.benchmarks.results.intervals import compare

ORDER = ["dps:steps=100", "diffpir:steps=20", "dps:steps=20", "ddrm:steps=20", "tv", "measurement"]


@pytest.fixture(scope="module")
def rows(results: Path) -> list[Row]:
    return read(results)


@pytest.fixture(scope="module")
def summary(rows: list[Row]) -> Summary:
    return summarise(rows)


def test_solvers_come_by_their_mean(summary: Summary, rows: list[Row]) -> None:
    for task in summary.tasks:
        assert [e.label for e in task.entries] == [*ORDER, "snips"]
        assert [e.rank for e in task.entries] == [1, 2, 3, 4, 5, 6, 0]
        for e in task.ranked:
            found = [r.metrics["psnr"] for r in rows if (r.task, r.label) == (task.name, e.label)]
            assert e.figures["psnr"].mean == pytest.approx(np.mean(found))
            assert (e.figures["psnr"].count, e.figures["psnr"].images) == (8, 4)
    assert list(summary.labels) == [*ORDER, "snips"] and summary.mean_ranks["tv"] == 5


def test_comparisons_are_paired_with_the_best(summary: Summary, rows: list[Row]) -> None:
    task = summary.tasks[0]
    by = {e.label: e for e in task.entries}
    mine, best = (
        {(r.image, r.seed): r.metrics["psnr"] for r in rows if (r.task, r.label) == (task.name, label)}
        for label in ("tv", ORDER[0])
    )
    assert by["tv"].against_best == compare(mine, best)
    assert by[ORDER[0]].against_best is None and by[ORDER[0]].tied
    # Four images: Wilcoxon's p-value is 1/8 at least, and five tests make it more.
    assert by["tv"].p == pytest.approx(5 / 8) and by["tv"].tied


def test_a_metric_whose_low_values_are_good(rows: list[Row]) -> None:
    task = summarise(rows, metric="crps").tasks[0]
    means = [e.figures["crps"].mean for e in task.ranked]
    assert means == sorted(means) and {e.label for e in task.entries if not e.rank} == {"tv", "measurement", "snips"}
    with pytest.raises(ValueError, match="highest or lowest, got 'residual'"):
        summarise(rows, metric="residual")
    with pytest.raises(ValueError, match="no result has 'lpips'; they have coverage_50"):
        summarise(rows, metric="lpips")


def is_spoilt(row: Row) -> bool:
    return row.label == "tv" and row.image == "photo-1"


def test_a_solver_that_failed_on_some_images_shows_it(rows: list[Row]) -> None:
    spoilt = [
        dataclasses.replace(r, status="failed", reason="boom", metrics={})
        if r.label == "tv" and r.image == "photo-1"
        else r
        for r in rows
    ]
    table = task_table(summarise(spoilt).tasks[0], summarise(spoilt))
    row = next(r for r in table.rows if r.label == "tv")
    assert row.cells[-1].text == "6 of 8" and row.badge is not None and row.badge.text == "2 failed"
    incident = next(i for i in summarise(spoilt).incidents if i.label == "tv")
    assert incident.reason == "boom" and incident.cells == ("photo-1, seed 0", "photo-1, seed 1")


def test_misfits_are_counted_and_keep_their_rank(rows: list[Row]) -> None:
    task = rows[0].task
    mine = [r for r in rows if (r.task, r.label) == (task, ORDER[0])]
    changed = [dataclasses.replace(r, status="misfit", reason="the residual") if r in mine[:3] else r for r in rows]
    table = task_table(summarise(changed).tasks[0], summarise(changed))
    first = table.rows[0]
    assert first.label == ORDER[0] and first.badge is not None
    assert (first.badge.kind, first.badge.text, first.badge.hint) == ("misfit", "3 misfit", "the residual")
    assert first.cells[-1].text == f"{len(mine)} of {len(mine)}"
    incident = next(i for i in summarise(changed).incidents if i.label == ORDER[0])
    assert (incident.status, len(incident.cells)) == ("misfit", 3)


def test_infinite_and_missing_figures_do_not_spoil_a_mean(rows: list[Row]) -> None:
    spoilt = [
        dataclasses.replace(r, metrics={**r.metrics, "psnr": math.inf})
        if r.label == "tv" and r.image == "photo-1"
        else r
        for r in rows
    ]
    entry = next(e for e in summarise(spoilt).tasks[0].entries if e.label == "tv")
    assert math.isfinite(entry.figures["psnr"].mean) and entry.figures["psnr"].images == 3


def test_tables_as_text(summary: Summary) -> None:
    table = task_table(summary.tasks[1], summary)
    assert table.title == "super resolution, factor=4"
    assert {len(r.cells) for r in table.rows} == {len(table.columns)}
    titles = ["PSNR dB", "in 90 % interval", "to the best", "evaluations", "seconds"]
    assert [c.title for c in table.columns][:5] == titles
    covered = [r.cells[1] for r in table.rows if isinstance(r.cells[1].value, float)]
    assert {c.alarm for c in covered} == {True, False}  # those that are too sure of themselves are marked
    assert all(c.alarm == (float(c.value) < 0.8) for c in covered)
    best = table.rows[0].cells[0]
    assert best.value == max(c.cells[0].value for c in table.rows[:6]) and best.interval.startswith("[")
    assert "4 images cannot tell it apart" in table.note
    assert table.rows[-1].badge is not None and "singular value" in table.rows[-1].badge.hint
    grid = matrix(summary)
    assert [c.text for c in grid[-1].cells] == ["failed", "–"] and grid[0].cells[0].tint == "1.000"
    lines = {(s.label, s.task): s.text for s in settings(summary)}
    assert lines["dps:steps=20", "all"] == "steps=20" and lines["tv", "all"] == "defaults"


def test_too_few_images_is_what_the_tests_can_find() -> None:
    for solvers in (2, 7, 12):
        k = too_few(solvers)
        smallest = [
            compare({(str(i), 0): 1.0 for i in range(n)}, {(str(i), 0): 0.0 for i in range(n)}) for n in (k, k + 1)
        ]
        assert smallest[0].wilcoxon * (solvers - 1) >= 0.05 > smallest[1].wilcoxon * (solvers - 1)


def test_priors_are_told_apart(rows: list[Row]) -> None:
    other = [dataclasses.replace(r, prior="mine", prior_hash="00") for r in rows if r.label == "tv"]
    assert {"tv · photo", "tv · mine"} < set(summarise([*rows, *other]).labels)


def test_scenes_share_a_scale_and_are_limited(summary: Summary, results: Path) -> None:
    found = scenes(summary, results, images=2)
    assert [(s.task, s.image) for s in found[:2]] == [
        (summary.tasks[0].name, "photo-0"),
        (summary.tasks[0].name, "photo-1"),
    ]
    assert len(found) == 4 and list(found[0].solvers) == ORDER
    large = [np.quantile(error_map(p), 0.99) for _, p in found[0].solvers.values()]
    assert found[0].white == pytest.approx(1.5 * np.median(large)) and found[0].white < 1.5 * max(large)


def test_one_solver_that_is_far_off_does_not_press_the_others_together(rows: list[Row]) -> None:
    far = {"psnr": -300.0}
    odd = [dataclasses.replace(r, metrics={**r.metrics, **far}) if r.label == "measurement" else r for r in rows]
    table = task_table(summarise(odd).tasks[0], summarise(odd))
    places = [float(re.search(r"--mean:([0-9.]+)%", r.cells[0].whisker)[1]) for r in table.rows[:6]]  # type: ignore[index]
    assert places[0] > places[1] + 10 > places[2] + 20 and places[5] == 0


def test_pictures_keep_to_their_budget(summary: Summary, results: Path) -> None:
    found = scenes(summary, results)

    def size(shown: list[dict[str, Any]]) -> int:
        return len(json.dumps(shown))

    all_of_them = gallery(found)
    assert len(all_of_them) == 6
    less = gallery(found, budget=size(all_of_them) // 2)
    assert [s["task"] for s in less] == [t.name for t in summary.tasks] and size(less) < size(all_of_them) / 2


def test_curves_find_out_who_is_honest(summary: Summary, results: Path) -> None:
    by = {(c.task, c.label): c for c in curves(summary, results)}
    assert {label for _, label in by} == {"dps:steps=100", "dps:steps=20", "ddrm:steps=20", "diffpir:steps=20"}
    sharp = by[summary.tasks[0].name, "ddrm:steps=20"]  # its samples share 90 % of their error
    assert sharp.covered[LEVELS.index(0.9)] < 0.7 and sum(sharp.ranks) == pytest.approx(1)
    assert sharp.ranks[0] + sharp.ranks[-1] > 0.6 and np.mean(sharp.skill) > 2 * np.mean(sharp.spread)


def test_bad_input(rows: list[Row], results: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected results of invdiff bench"):
        read(tmp_path)
    with pytest.raises(ValueError, match="expected results, got none"):
        summarise([])
    with pytest.raises(ValueError, match=r"--suite: expected one of made up \(01234567\), got 'quick'"):
        read(results, "quick")
    assert len(read(results, "0123")) == len(rows)
