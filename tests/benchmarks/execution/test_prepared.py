"""What cells share is what they have in common, and nothing more."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from invdiff.benchmarks.execution.job import run
from invdiff.benchmarks.execution.prepared import Prepared
from invdiff.benchmarks.execution.runner import plan
from invdiff.benchmarks.suite import Data, Suite
from invdiff.fingerprint import fingerprint
from invdiff.newest import Newest
from invdiff.priors import load_prior

CPU = torch.device("cpu")


def test_an_image_is_known_by_its_pixels() -> None:
    prepared = Prepared()
    a, b = (np.full((1, 8, 8), v, np.float32) for v in (0.2, 0.8))
    first = prepared.problem("denoising", a, 0, 0, CPU)
    assert prepared.problem("denoising", a.copy(), 0, 0, CPU) is first
    others = [
        prepared.problem("denoising", b, 0, 0, CPU),
        prepared.problem("denoising", a, 1, 0, CPU),
        prepared.problem("denoising", a, 0, 1, CPU),
        prepared.problem("denoising:noise=0.2", a, 0, 0, CPU),
    ]
    assert all(not torch.equal(p.measurement, first.measurement) for p in others)


def test_a_prior_is_made_once_and_must_be_the_one_that_was_planned() -> None:
    prepared, key = Prepared(), fingerprint(load_prior("gaussian"))
    assert prepared.prior("gaussian", key, CPU) is prepared.prior("gaussian", key, CPU)
    with pytest.raises(RuntimeError, match="expected the one of hash 123, found"):
        prepared.prior("gaussian", "123", CPU)


def test_old_things_are_let_go() -> None:
    newest, made = Newest[int](2), list[str]()
    for key in ("a", "b", "a", "c", "a", "b"):
        newest.get(key, lambda key=key: made.append(key) or len(made))  # type: ignore[misc, func-returns-value]
    assert made == ["a", "b", "c", "b"]


def test_cells_in_turn_are_as_alone() -> None:
    suite = Suite(
        name="tiny", prior="gaussian", tasks=("denoising", "random_inpainting"), solvers=("dps:steps=2",), samples=1,
        data=Data(source="prior", images=2, size=16, channels=1),
    )  # fmt: skip
    jobs, prepared = plan(suite), Prepared()
    jobs.append(dataclasses.replace(jobs[0], truth=1 - jobs[0].truth))  # of the same name
    assert [run(j, prepared)[0].metrics for j in jobs] == [run(j)[0].metrics for j in jobs]
    assert len({run(j, prepared)[0].metrics["psnr"] for j in jobs}) == len(jobs)
