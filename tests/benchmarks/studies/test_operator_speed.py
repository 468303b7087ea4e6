"""The table of speeds: runs of parts make one table, in which a new figure takes the place of an old one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("deepinv")

from invdiff.benchmarks.studies.operator_speed import main


def test_parts_make_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, out = tmp_path / "rows.json", tmp_path / "speed.md"
    common = ["operators", "--quick", "--threads", "1", "--repeats", "1", "--rows", str(rows), "--out", str(out)]
    main([*common, "--only", "downsample"])
    first = json.loads(rows.read_text())
    main([*common, "--only", "accuracy"])
    main([*common, "--only", "downsample"])
    records = json.loads(rows.read_text())
    assert [r["name"] for r in records if r["kind"] == "speed"] == [r["name"] for r in first]
    assert len(records) == len(first) + 3
    lines = out.read_text().splitlines()
    assert [line.split(": ")[1].split(" |")[0] for line in lines if line.startswith("| downsample")] == [
        "A",
        "A^T",
        "pinv",
    ]
    dot = next(line for line in lines if "dot test in float32" in line).split("|")
    assert float(dot[2]) < 1e-6
    assert capsys.readouterr().out.count("# Operators beside deepinv") == 3


def test_memory_is_measured_in_a_process_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--threads", "1", "--only", "memory"])
    row = next(line for line in capsys.readouterr().out.splitlines() if "peak above image and sinogram" in line)
    assert row.count(" MiB, ") == 2
