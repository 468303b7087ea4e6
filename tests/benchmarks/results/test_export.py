"""Rows for other programs, and the leaderboard that people see."""

import csv
import json
from pathlib import Path

import pytest

from invdiff.benchmarks.execution.store import Row
from invdiff.benchmarks.results.export import export, latex
from invdiff.benchmarks.results.leaderboard import figures, leaderboard


def row(task: str, label: str, image: str, status: str = "ok", reason: str = "", **metrics: float) -> Row:
    return Row(
        suite="s", suite_hash="h", task=task, solver=label.partition(":")[0], parameters={"steps": 5}, label=label,
        prior="photo", prior_hash="p", image=image, seed=0, status=status, reason=reason, metrics=metrics,  # type: ignore[arg-type]
        seconds=len(image) * 1.0, nfe=5, versions={"torch": "2"},
    )  # fmt: skip


ROWS = [
    row("blur", "dps:steps=5", "a", psnr=20.0, ssim=0.5),
    row("blur", "dps:steps=5", "abc", psnr=24.0, ssim=0.7),
    row("blur", "pinv", "a", psnr=25.0, ssim=0.4),
    row("blur", "pinv", "abc", status="failed", reason="RuntimeError: broke, \"badly\""),
    row("blur", "ddrm", "a", status="not applicable", reason="needs a spectrum"),
    row("sr_4", "dps:steps=5", "a", status="diverged", reason="at step 3", psnr=1.0),
]  # fmt: skip


def test_a_line_is_the_mean_of_its_cells_and_the_best_comes_first() -> None:
    lines = leaderboard(ROWS)
    assert [(line.task, line.label, line.note) for line in lines] == [
        ("blur", "pinv", "1 failed"),
        ("blur", "dps:steps=5", ""),
        ("blur", "ddrm", "n/a"),
        ("sr_4", "dps:steps=5", "1 diverged"),
    ]
    assert lines[1].metrics == pytest.approx({"psnr": 22.0, "ssim": 0.6})
    assert lines[1].seconds == 2.0 and lines[1].cells == 2 and lines[0].cells == 1
    assert figures(lines[1], ["psnr", "ssim"]) == ["22.00", "0.600", "5", "2.00"]
    assert figures(lines[2], ["psnr", "ssim"]) == ["-", "-", "-", "-"] and lines[2].reason == "needs a spectrum"


def test_a_misfit_counts_with_its_figures() -> None:
    rows = [ROWS[0], row("blur", "dps:steps=5", "b", status="misfit", reason="the residual", psnr=10.0)]
    (line,) = leaderboard(rows)
    assert (line.cells, line.misfit, line.note, line.metrics["psnr"]) == (2, 1, "1 misfit", 15.0)


def test_csv_has_every_row_and_reads_back(tmp_path: Path) -> None:
    with export(ROWS, "csv", tmp_path).open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 6
    assert [r["metric.psnr"] for r in found] == ["20.0", "24.0", "25.0", "", "", "1.0"]
    assert found[3]["reason"] == 'RuntimeError: broke, "badly"' and json.loads(found[0]["parameters"]) == {"steps": 5}
    with export([], "csv", tmp_path).open(newline="") as file:
        assert list(csv.DictReader(file)) == []


def test_parquet_has_types(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = parquet.read_table(export(ROWS, "parquet", tmp_path)).to_pydict()
    assert table["metric.psnr"] == [20.0, 24.0, 25.0, None, None, 1.0]
    assert table["seed"] == [0] * 6 and table["status"][3] == "failed"


def test_latex_marks_the_best_of_each_task_and_escapes(tmp_path: Path) -> None:
    text = export(ROWS, "latex", tmp_path).read_text()
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{llrrrr}" and lines[-1] == r"\end{tabular}"
    assert lines[4] == r"blur & pinv & \textbf{25.00} & 0.400 & 5 & 1.00 \\"
    assert lines[5] == r" & dps:steps=5 & 22.00 & \textbf{0.600} & 5 & 2.00 \\"
    assert lines[7] == r"\midrule" and lines[8].startswith(r"sr\_4 & dps:steps=5 & \textbf{1.00} & - &")
    assert text.count("textbf") == 3
    assert latex(leaderboard([])).count("\n") == 6


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown kind 'cvs'; did you mean 'csv'"):
        export(ROWS, "cvs", tmp_path)
