"""Runs of a suite: what a cell becomes, killed and resumed runs, workers that die, a real cluster."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from invdiff.benchmarks.execution import store as store_module
from invdiff.benchmarks.execution.job import Job
from invdiff.benchmarks.execution.job import run as run_job
from invdiff.benchmarks.execution.runner import plan, run_suite, suite_file
from invdiff.benchmarks.execution.store import Row, Store
from invdiff.benchmarks.suite import Data, Suite, load_suite
from invdiff.benchmarks.tasks import make_task
from invdiff.metrics import psnr
from invdiff.pools.base import Finished
from invdiff.pools.local import Processes, Serial
from invdiff.pools.open import open_pool
from invdiff.priors import load_prior
from invdiff.problem import Problem
from invdiff.solvers import DPS

FILE = str(Path(__file__).parent / "contestants.py")


def suite(*solvers: str, images: int = 2, **changes: object) -> Suite:
    base: dict[str, object] = {"tasks": ("denoising",), "samples": 2, "data": Data(images=images, size=16, channels=1)}
    return Suite(name="tiny", prior="gaussian", solvers=solvers, **(base | changes))  # type: ignore[arg-type]


def test_a_row_says_what_the_solver_did(tmp_path: Path) -> None:
    s = suite("dps:steps=4", images=1)
    summary = run_suite(s, tmp_path)
    (row,), (job,) = summary.rows, plan(s)
    problem = problem_of(job)
    result = DPS(steps=4)(problem, load_prior("gaussian"), samples=2, seed=0)
    assert (
        row.status == result.status != "diverged"
        and row.nfe == 4
        and row.metrics["psnr"]
        == pytest.approx(float(psnr(result.mean.clamp(0, 1), torch.from_numpy(job.truth)[None])), abs=1e-9)
    )
    assert 0 < row.seconds < summary.seconds and row.peak_memory > 2**20 and row.threads >= 1
    assert row.versions["torch"] == torch.__version__ and row.finished.endswith("Z")
    kept = row.load_pictures(tmp_path)
    assert kept is not None
    images = {
        "truth": (1, 16, 16), "measurement": (1, 16, 16), "mean": (1, 16, 16), "std": (1, 16, 16),
        "samples": (2, 1, 16, 16),
    }  # fmt: skip
    assert {n: kept[n].shape for n in images} == images
    assert np.abs(kept["truth"] / 255 - job.truth).max() < 0.5 / 255 + 1e-6
    assert (tmp_path / suite_file(s)).read_text() == s.to_toml() and load_suite(tmp_path / suite_file(s)) == s


def problem_of(job: Job) -> Problem:
    return make_task(job.cell.task).problem(torch.from_numpy(job.truth)[None], image=job.number, seed=job.cell.seed)


def test_all_solvers_see_the_same_bits_in_whatever_order_they_come(tmp_path: Path) -> None:
    log = tmp_path / "log"
    names = [f"{FILE}:Slow:wait=0.0,log={log},steps={n}" for n in (1, 2, 3)]
    tasks = ("random_inpainting", "motion_blur", "denoising")
    run_suite(suite(*names, tasks=tasks), tmp_path / "a")
    first = log.read_text().split()
    log.unlink()
    run_suite(suite(*reversed(names), "dps:steps=2", "pinv", tasks=tasks[::-1]), tmp_path / "b")
    assert len(first) == 2 * 3 * 3 and sorted(first) == sorted(log.read_text().split())
    assert len(set(first)) == 2 * 3  # images and tasks: a problem for each, three solvers on it


def test_what_cannot_be_done_what_fails_and_what_diverges_are_rows(tmp_path: Path) -> None:
    hows = ("early", "late", "diverge")
    solvers = ("ddrm:steps=3", "exact", *(f"{FILE}:Faulty:how={how},wait=0.0" for how in hows))
    s = suite(*solvers, images=1, tasks=("high_dynamic_range", "denoising"))
    summary = run_suite(s, tmp_path)
    rows = {(r.task, r.parameters.get("how", r.solver)): r for r in summary.rows}
    for name in ("ddrm", "exact"):
        row = rows["high_dynamic_range", name]
        assert row.status == "not applicable" and row.reason.startswith("needs ") and "linear" in row.reason
        done = rows["denoising", name]  # a photograph, not drawn from the prior: the exact posterior misses it, too
        assert done.status == "misfit" and "the residual of the samples is" in done.reason and "psnr" in done.metrics
    assert (rows["denoising", "early"].status, rows["denoising", "early"].reason) == (
        "not applicable",
        "this cannot be done",
    )
    late, diverged = rows["denoising", "late"], rows["denoising", "diverge"]
    assert late.status == "failed" and late.reason.startswith("RuntimeError: something broke (contestants.py:")
    assert not late.metrics and late.pictures is None
    assert diverged.status == "diverged" and "diverged at step 1" in diverged.reason and "psnr" in diverged.metrics
    again = run_suite(s, tmp_path)
    assert again.ran == 0 and again.rows == summary.rows
    retried = run_suite(s, tmp_path, retry=True)
    assert retried.ran == 2 and len(retried.rows) == 10  # the two that failed


def command(out: Path, toml: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "invdiff", "bench", str(toml), "--out", str(out), "--threads", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for_rows(out: Path, count: int, *running: subprocess.Popen[bytes]) -> None:
    for _ in range(2400):
        if (out / "results.sqlite").exists():
            with Store.open(out) as store:
                if len(store.rows()) >= count:
                    return
        assert all(p.poll() is None for p in running)
        time.sleep(0.05)
    raise AssertionError("no rows came")


def test_two_runs_share_a_folder_one_is_killed_and_nothing_is_lost_or_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, out, toml = tmp_path / "log", tmp_path / "out", tmp_path / "tiny.toml"
    s = suite(f"{FILE}:Slow:log={log},wait=0.2", f"{FILE}:Slow:log={log},wait=0.2,steps=3", images=8, samples=1)
    toml.write_text(s.to_toml())
    one, two = command(out, toml), command(out, toml)
    wait_for_rows(out, 3, one, two)
    one.kill()  # SIGKILL: nobody cleans up
    one.wait()
    wait_for_rows(out, 6, two)
    two.kill()
    two.wait()
    with Store.open(out) as store:
        before = store.rows()
    assert 6 <= len(before) < 16
    monkeypatch.setattr(store_module, "EXPIRY", 1.0)  # of the claims of the dead
    summary = run_suite(s, out)
    assert [r for r in summary.rows if r in before] == before  # untouched
    assert summary.ran == 16 - len(before) and len({r.key for r in summary.rows}) == len(summary.rows) == 16
    assert {r.status for r in summary.rows} <= {"ok", "misfit"}
    assert 16 <= len(log.read_text().split()) <= 18  # the cells that the two died in may have come to their end
    assert run_suite(s, out).ran == 0


def test_a_worker_that_dies_costs_its_cell_only(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    s = suite(f"{FILE}:Deadly:flag={flag},wait=0.0", f"{FILE}:Slow:wait=0.05", samples=1)
    with Processes(2, "cpu", 1) as pool:
        rows = run_suite(s, tmp_path / "out", pool=pool).rows
        bad = [r for r in rows if r.status not in ("ok", "misfit")]
        assert len(rows) == 4 and len(bad) == 1 and bad[0].status == "failed"
        assert "ended by SIGKILL" in bad[0].reason
        assert {r.workers for r in rows if r.status in ("ok", "misfit")} == {2}
        again = run_suite(s, tmp_path / "out", pool=pool, retry=True)
    assert again.ran == 1 and {r.status for r in again.rows} <= {"ok", "misfit"}
    alone = run_suite(s, tmp_path / "alone", pool=Serial("cpu", 1)).rows  # sums depend on the number of threads
    assert [r.metrics for r in alone] == [r.metrics for r in sorted_like(again.rows, alone)]


def sorted_like(rows: list[Row], other: list[Row]) -> list[Row]:
    order = {r.key: r for r in rows}
    return [order[r.key] for r in other]


@pytest.mark.filterwarnings("ignore")  # of distributed, when a worker dies
def test_a_cluster_of_two_workers_one_of_them_killed(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    flag = tmp_path / "flag"
    s = suite(f"{FILE}:Deadly:flag={flag},wait=0.0", f"{FILE}:Slow:wait=0.05", samples=1)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        open_pool(scheduler=cluster.scheduler_address) as pool,
    ):
        rows = run_suite(s, tmp_path / "out", pool=pool).rows
    assert len(rows) == 4 and {r.status for r in rows} <= {"ok", "misfit"}  # another worker did the cell
    assert flag.read_text() == "x"
    alone = run_suite(s, tmp_path / "alone", pool=Serial("cpu", pool.threads)).rows
    assert [r.metrics for r in alone] == [r.metrics for r in sorted_like(rows, alone)]


def test_a_killed_worker_leaves_its_job_to_the_parent_and_a_killed_parent_no_orphans(tmp_path: Path) -> None:
    (job,) = plan(suite(f"{FILE}:Slow:wait=60.0", images=1, samples=1))
    with Processes(1, "cpu", 1) as pool:
        pool.submit(job)
        (pid,) = pool.pids
        os.kill(pid, signal.SIGTERM)
        finished: list[Finished] = []
        while not finished:
            finished = list(pool.finished(1.0))
        assert pool.busy == 0 and "SIGTERM" in str(finished[0])


def test_a_job_does_the_same_again() -> None:
    (job,) = plan(suite("dps:steps=3", images=1))
    first, second = (run_job(job)[0] for _ in range(2))
    assert first.metrics == second.metrics and first.key == second.key


def test_the_harness_costs_little_beside_a_solve(tmp_path: Path) -> None:
    """A solve of `quick` takes as long as 50 evaluations of the network, in the mean: 2 % of that are one evaluation.

    Processor time of this process is compared with itself, for others on the machine must not make the test fail.
    """
    prior, x = load_prior("photo"), torch.rand(2, 3, 128, 128)
    times = []
    for _ in range(6):
        start = time.process_time()
        with torch.no_grad():
            prior.denoise(x, 0.1)
        times.append(time.process_time() - start)
    solvers = [f"{FILE}:Slow:steps=1,wait=0.0{i}" for i in range(8)]
    marks: list[float] = []
    s = suite(*solvers, images=1).changed(size=128, channels=3)
    run_suite(s, tmp_path, watch=lambda progress: marks.append(time.process_time()))
    harness = float(np.median(np.diff(marks)[1:]))  # the first cell warms up
    assert harness < 0.02 * 50 * float(np.median(times[1:]))
