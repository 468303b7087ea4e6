"""The one writer of tables in Markdown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from invdiff.benchmarks.results.markdown import KEPT, markdown_page, markdown_table, write_page

DOCS = Path(__file__).parents[3] / "docs"


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


def test_what_is_written_by_hand_is_kept(tmp_path: Path) -> None:
    """From its mark on, once, however often the page is made."""
    page = tmp_path / "a.md"
    write_page(page, markdown_page("Title", "first table"))
    page.write_text(page.read_text() + f"\n{KEPT}\n\n## Reading it\n\nBy hand.\n")
    for table in ("second table", "third table"):
        write_page(page, markdown_page("Title", table))
        assert page.read_text() == f"# Title\n\n{table}\n\n{KEPT}\n\n## Reading it\n\nBy hand.\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cost.md", "The measurement ran on one core"),
        ("grades.md", "The mean of the image varied without bound"),
        ("mixture.md", "The levels have the largest effect"),
    ],
)
def test_pages_of_the_documentation_keep_their_text(name: str, words: str, tmp_path: Path) -> None:
    shutil.copy(DOCS / name, tmp_path)
    write_page(tmp_path / name, "# New\n")
    text = (tmp_path / name).read_text()
    assert text.startswith(f"# New\n\n{KEPT}\n") and words in " ".join(text.split())
