"""The page of results: its figures are those of the store."""

import statistics
from pathlib import Path

import pytest

from invdiff.benchmarks.execution.runner import run_suite
from invdiff.benchmarks.results import markdown_page as markdown
from invdiff.benchmarks.suite import Data, Suite
from invdiff.pools.local import Serial


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench")
    solvers = ("diffpir:steps=4", "dps:steps=4", "ddrm:steps=4", "deepinv.diffpir:steps=4")
    suite = Suite(
        name="small", prior="gaussian", tasks=("denoising", "high_dynamic_range"), solvers=solvers, samples=1,
        data=Data(images=2, size=16),
    )  # fmt: skip
    pool = Serial("cpu", 1)
    run_suite(suite, out, pool=pool)
    # Another question in the same folder: its rows are not on the page.
    run_suite(suite.changed(parameters={"denoising": {"diffpir": {"zeta": 0.9}}}), out, pool=pool)
    run_suite(suite, out, pool=pool)
    return out


def test_figures_are_means_of_the_suites_own_rows(folder: Path) -> None:
    suite, rows = markdown.suite_rows(folder)
    assert len(rows) == 2 * 4 * 2
    text = markdown.page(rows, suite, best=["diffpir:steps=4"], against=["dps:steps=4"])
    values = {
        label: [r.metrics["psnr"] for r in rows if (r.task, r.label) == ("denoising", label)]
        for label in ("diffpir:steps=4", "dps:steps=4")
    }
    a, b = (statistics.fmean(v) for v in values.values())
    (line,) = [x for x in text.splitlines() if x.startswith("| denoising | ")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:3] == [f"{a:.2f}", f"{b:.2f}"]
    assert cells[3].startswith(f"{a - b:+.2f} [") and cells[4] == "4 / 4"
    several = markdown.page(rows, suite, best=["dps:steps=4"], against=["diffpir:steps=4", "ddrm:steps=4"])
    (line,) = [x for x in several.splitlines() if x.startswith("| denoising | ")]
    means = {
        label: statistics.fmean(r.metrics["psnr"] for r in rows if (r.task, r.label) == ("denoising", label))
        for label in ("diffpir:steps=4", "ddrm:steps=4")
    }
    assert line.endswith(f"| `{max(means, key=lambda n: means[n])}` |")
    overview = text.partition("## PSNR in dB")[2].partition("##")[0]
    (peer,) = [x for x in overview.splitlines() if "deepinv" in x]
    assert "(peer)" in peer
    (ddrm,) = [x for x in overview.splitlines() if "`ddrm:steps=4`" in x]
    assert ddrm.count("–") == 1  # clipping is not linear
    denoising = text.partition("## denoising")[2].partition("##")[0]
    order = [float(x.split("|")[2].split("[")[0]) for x in denoising.splitlines() if x.startswith("| `")]
    assert order == sorted(order, reverse=True) and len(order) == 4


def test_means_are_over_the_images_that_all_solvers_have_done(folder: Path) -> None:
    suite, rows = markdown.suite_rows(folder)
    first = rows[0].image
    rows = [r for r in rows if r.image == first or r.label != "dps:steps=4"]
    text = markdown.page(rows, suite, best=["diffpir:steps=4"], against=["dps:steps=4"])
    one = next(r for r in rows if (r.task, r.label, r.image) == ("denoising", "diffpir:steps=4", first))
    assert f"all solvers have done, 1 ({first})" in text
    denoising = text.partition("## denoising")[2].partition("##")[0]
    assert f"| `diffpir:steps=4` | {one.metrics['psnr']:.2f} |" in denoising
    (line,) = [x for x in text.splitlines() if x.startswith("| denoising | ")]
    assert "[" not in line  # one image has no interval
    other = [r for r in rows if (r.label == "dps:steps=4") == (r.image == first)]
    with pytest.raises(ValueError, match="denoising: no image that all its solvers have done"):
        markdown.page(other, suite)


def test_what_stands_above_the_mark_is_kept(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.md"
    markdown.main([str(folder), "--out", str(out)])
    assert out.read_text().startswith("# Benchmarks\n\n<!-- measured -->\n\n- prior: `gaussian`")
    out.write_text("# Mine\n\nRead this.\n\n" + out.read_text().partition("\n\n")[2])
    markdown.main([str(folder), "--out", str(out)])
    markdown.main([str(folder), "--out", str(out)])
    text = out.read_text()
    assert text.startswith("# Mine\n\nRead this.\n\n<!-- measured -->\n\n- prior") and text.count(markdown.MARK) == 1
    assert capsys.readouterr().out == ""


def test_unknown_solvers_and_empty_folders_are_errors(folder: Path, tmp_path: Path) -> None:
    suite, rows = markdown.suite_rows(folder)
    with pytest.raises(ValueError, match="unknown solver of these results 'dps:steps=5'; did you mean 'dps:steps=4'"):
        markdown.page(rows, suite, best=["diffpir:steps=4"], against=["dps:steps=5"])
    with pytest.raises(ValueError, match="expected some, got none; run invdiff bench first"):
        markdown.page([], suite)
    with pytest.raises(ValueError, match=r"expected the file suite-\*.toml of a run, found none"):
        markdown.suite_rows(tmp_path)
