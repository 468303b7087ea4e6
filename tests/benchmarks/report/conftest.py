"""A store as `invdiff bench` leaves it, made up: solvers whose errors and spread are known, on crops of photographs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.data import chelsea, coffee

from invdiff.benchmarks.execution.gallery import reliability
from invdiff.benchmarks.execution.rows import Cell, Pictures, Row
from invdiff.benchmarks.execution.store import Store
from invdiff.metrics import coverage, crps, psnr, spread_skill_ratio, ssim

TASKS = ("denoising", "super_resolution:factor=4")
# Name: error of each sample, what its samples share of it, network evaluations, seconds.
SOLVERS = {
    "dps:steps=100": (0.05, 0.3, 100, 9.0), "dps:steps=20": (0.07, 0.3, 20, 1.9), "ddrm:steps=20": (0.06, 0.9, 20, 1.1),
    "diffpir:steps=20": (0.045, 0.7, 20, 1.2), "tv": (0.08, 1.0, 0, 0.2), "measurement": (0.1, 1.0, 0, 0.0),
}  # fmt: skip
POINT = ("tv", "measurement")


def photographs(size: int) -> list[NDArray[np.float64]]:
    sources = (coffee()[40:360, 100:420], chelsea()[20:280, 100:360], coffee()[0:200, 300:500], chelsea()[:150, :150])
    out = []
    for source in sources:
        t = torch.from_numpy(source).permute(2, 0, 1)[None].double() / 255
        out.append(torch.nn.functional.interpolate(t, (size, size), mode="area")[0].numpy())
    return out


def rows(size: int = 32, images: int = 4, seeds: int = 2) -> Iterator[tuple[Row, Pictures | None]]:
    for task in TASKS:
        for number, x in enumerate(photographs(size)[:images]):
            for seed in range(seeds):
                for label in SOLVERS:
                    yield cell(task, label, f"photo-{number}", seed, x)
                yield failed(task, "snips", f"photo-{number}", seed)


def cell(task: str, label: str, image: str, seed: int, x: NDArray[np.float64]) -> tuple[Row, Pictures | None]:
    rng = np.random.default_rng([seed, len(label), len(task), int(image[-1])])
    error, shared, nfe, seconds = SOLVERS[label]
    error *= 1 if task == "denoising" else 1.4
    common, own = rng.normal(size=(1, *x.shape)), rng.normal(size=(4, *x.shape))
    noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    samples = torch.from_numpy(x + error * (0.5 + x) * (noise if label not in POINT else common.repeat(4, 0)))[None]
    truth, mean = torch.from_numpy(x)[None], samples.mean(1).clamp(0, 1)
    metrics = {"psnr": float(psnr(mean, truth)), "ssim": float(ssim(mean, truth)), "residual": 1 + error}
    if label not in POINT:
        metrics |= {
            "coverage_50": float(coverage(samples, truth, level=0.5)), "coverage_90": float(coverage(samples, truth)),
            "crps": float(crps(samples, truth)), "spread_skill": float(spread_skill_ratio(samples, truth)),
        }  # fmt: skip
    pictures = {
        "truth": levels(truth[0]), "mean": levels(mean[0]), "samples": levels(samples[0]),
        "std": samples[0].std(0).half().numpy(), "measurement": levels(truth[0, :, ::2, ::2]),
    }  # fmt: skip
    if label not in POINT:
        pictures |= reliability(samples, truth)
    seconds *= 1 + 0.1 * rng.random()
    row = Row.of(
        named(task, label, image, seed), status="ok", metrics=metrics, nfe=nfe, seconds=seconds, harness=0.01,
        peak_memory=2**29, threads=1, versions={"invdiff": "0.1.0", "torch": "2.15.0"},
    )  # fmt: skip
    return row, pictures if seed == 0 else None


def levels(t: torch.Tensor) -> NDArray[np.uint8]:
    out: NDArray[np.uint8] = (t.clamp(0, 1) * 255).round().byte().numpy()
    return out


def failed(task: str, label: str, image: str, seed: int) -> tuple[Row, None]:
    if task == TASKS[0]:
        return Row.of(named(task, label, image, seed), status="failed", reason="out of memory <b>& more</b>"), None
    reason = "needs a singular value decomposition, which BicubicDownsample has not"
    return Row.of(named(task, label, image, seed), status="not applicable", reason=reason), None


def named(task: str, label: str, image: str, seed: int) -> Cell:
    solver, _, options = label.partition(":")
    parameters = dict(o.split("=") for o in options.split(",")) if options else {}
    return Cell(
        suite="made up", suite_hash="0123456789ab", task=task, solver=solver, parameters=parameters, label=label,
        prior="photo", prior_hash="fedcba98" * 8, image=image, seed=seed,
    )  # fmt: skip


def fill(folder: Path, **options: int) -> Path:
    with Store.open(folder) as store:
        for row, pictures in rows(**options):
            store.claim(row)
            store.record(row, pictures)
    (folder / "suite-made up-0123456789ab.toml").write_text('name = "made up"\ntasks = ["denoising"]\n')
    return folder


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a store with pictures of the first seed; not to be changed."""
    return fill(tmp_path_factory.mktemp("results"))
