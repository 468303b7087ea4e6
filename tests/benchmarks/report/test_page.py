"""The page itself, opened in a real browser, and the figures."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from invdiff.benchmarks.execution.store import Store
from invdiff.benchmarks.report import write_figures, write_report
from invdiff.cli import main

BROWSER = next((b for name in ("chromium", "chromium-browser", "google-chrome") if (b := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium here; apt-get install chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=20000", "--enable-logging=stderr",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(results, tmp_path_factory.mktemp("page") / "page.html")


def opened(url: str, profile: Path) -> tuple[str, list[str]]:
    """Return the document after its scripts have run, and what the console said."""
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@needs_browser
def test_it_renders_in_a_browser_without_a_word_on_the_console(page: Path, tmp_path: Path) -> None:
    dom, console = opened(page.as_uri(), tmp_path)
    assert console == []
    assert 'data-ready="yes"' in dom
    assert dom.count('class="main-svg"') >= 3  # plotly drew all three plots
    assert dom.count('class="solver"') == 6 and dom.count("<option") > 6


@needs_browser
def test_a_task_can_be_linked_to(page: Path, tmp_path: Path) -> None:
    dom, console = opened(page.as_uri() + "#task=super_resolution%3Afactor%3D4", tmp_path)
    assert console == []
    assert re.search(r'aria-selected="true"[^>]*>super resolution', dom) or re.search(
        r'data-tab="super_resolution:factor=4"[^>]*aria-selected="true"', dom
    )
    assert re.search(r'<div class="view shown" data-view="super_resolution:factor=4">', dom)


@needs_browser
def test_a_run_in_which_all_failed(tmp_path: Path, results: Path) -> None:
    with Store.open(results) as full, Store.open(tmp_path) as bare:
        for row in full.rows(status="failed"):
            bare.claim(row)
            bare.record(row)
    dom, console = opened(write_report(tmp_path).as_uri(), tmp_path / "profile")
    assert console == [] and 'data-ready="yes"' in dom and "No solver gave a figure" in dom


@needs_browser
def test_the_browser_reports_errors(page: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("drawCost();", "drawCosts();"))
    dom, console = opened(broken.as_uri(), tmp_path / "profile")
    assert any("drawCosts is not defined" in line for line in console) and 'data-ready="yes"' not in dom


def test_nothing_is_loaded_from_elsewhere(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?!data:)', text)
    assert "@import" not in text and not re.search(r"url\((?!data:)", text)


def test_it_has_all_that_was_found(page: Path) -> None:
    text = page.read_text()
    for part in ("dps:steps=100", "29.", "out of memory &lt;b&gt;&amp; more&lt;/b&gt;", "singular value decomposition"):
        assert part in text
    assert "name = &#34;made up&#34;" in text and "invdiff bench" in text and "2.15.0" in text
    assert "<b>& more</b>" not in text  # neither in the tables nor in the script's data
    pictures = re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", text)
    assert len(pictures) == 2 * 3 * (2 + 4 * 6 + 2 * 2)  # tasks, images, and what each solver has
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (32, 32)


def test_command(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.html"
    assert main(["report", str(results), "--out", str(out), "--metric", "ssim"]) == 0
    assert capsys.readouterr().out == f"Report: {out}\n" and "SSIM" in out.read_text()


def test_a_run_without_pictures_has_a_page_too(tmp_path: Path, results: Path) -> None:
    with Store.open(results) as full, Store.open(tmp_path) as bare:
        for row in full.rows(task="denoising", seed=1):
            bare.claim(row)
            bare.record(row)
    text = write_report(tmp_path).read_text()
    assert 'id="gallery"' not in text and 'id="leaderboard"' in text


def test_pictures_that_are_gone_are_counted(tmp_path: Path, results: Path) -> None:
    shutil.copytree(results, tmp_path / "copy")
    first = next((tmp_path / "copy" / "pictures").glob("*/*.npz"))
    first.unlink()
    assert "The pictures of 1 cell are not in the folder" in write_report(tmp_path / "copy").read_text()
    shutil.rmtree(tmp_path / "copy" / "pictures")
    text = write_report(tmp_path / "copy").read_text()
    assert "The pictures of 48 cells are not" in text and 'id="gallery"' not in text


def test_figures_for_a_paper(results: Path, tmp_path: Path) -> None:
    made = write_figures(results, tmp_path / "figures")
    names = [
        "quality.png",
        "cost.png",
        "calibration.png",
        "gallery-denoising.png",
        "gallery-super-resolution-factor-4.png",
    ]
    assert [p.name for p in made] == names and {p.name for p in (tmp_path / "figures").iterdir()} == set(names)
    for path in made:
        with Image.open(path) as picture:
            assert picture.width > 800 and len(picture.convert("RGB").resize((64, 64)).getcolors(4096) or []) > 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected results of invdiff bench, found no results.sqlite"),
        (("--metric", "psrn"), "--metric: unknown metric 'psrn'; did you mean 'psnr'?"),
        (("--suite", "x"), "--suite: expected one of made up (01234567), got 'x'"),
        (("--out", "no/such/page.html"), "no folder"),
    ],
)
def test_bad_input(
    arguments: tuple[str, ...], words: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results if arguments else tmp_path
    assert main(["report", str(folder), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (results / "report.html").exists()


def test_without_the_extra(results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["report", str(results)]) == 2
    assert "needs jinja2, plotly; pip install 'invdiff[report]'" in capsys.readouterr().err
