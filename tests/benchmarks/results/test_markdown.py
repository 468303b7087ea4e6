"""The one writer of tables in Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest

from invdiff.benchmarks.results.markdown import markdown_page, markdown_table, write_page


def test_no_cell_ends_a_cell_or_a_row() -> None:
    table = markdown_table([["a", "b"], ["x|y", "two\nlines"], ["", "\u00b1"]])
    assert table.splitlines() == ["| a | b |", "| --- | --- |", r"| x\|y | two lines |", "|  | \u00b1 |"]
    assert markdown_table([["a", "b"]], align="lr").splitlines()[1] == "| :-- | --: |"


def test_rows_of_other_lengths_are_no_table() -> None:
    for rows, align in (([["a", "b"], ["c"]], ""), ([["a", "b"]], "l")):
        with pytest.raises(AssertionError):
            markdown_table(rows, align=align)


def test_pages_are_utf8_and_whole(tmp_path: Path) -> None:
    write_page(tmp_path / "a.md", markdown_page("Title \u00b1", "note", markdown_table([["x"], ["1"]])))
    assert (tmp_path / "a.md").read_bytes().decode() == "# Title \u00b1\n\nnote\n\n| x |\n| --- |\n| 1 |\n"
