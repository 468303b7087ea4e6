"""What every solver of the registry does with bad and odd input: unmet needs, divergence, and problems at the edge."""

from __future__ import annotations

import re

import pytest
import torch
from odd_operators import Curve, Rows
from odd_priors import wide_gaussian
from torch import Tensor

from invdiff import load_prior, registry, simulate
from invdiff.noise import Gaussian, Noise, Poisson
from invdiff.operators import Identity, Inpainting, Operator
from invdiff.priors import Prior
from invdiff.solvers import Solver
from invdiff.solvers.base import NEEDS

SOLVERS = dict(registry.solvers)
STEPS: dict[str, dict[str, object]] = {
    "dip": {"width": 6, "depth": 2}, "dcps": {"langevin": 2}, "daps": {"moves": 5}, "pnpdm": {"moves": 5},
    "mcgdiff": {"particles": 4}, "fps": {"particles": 4}, "tds": {"particles": 4}, "twisted": {"particles": 4},
    "auto": {"effort": "fast"},
}  # fmt: skip

ANNEALED = ("ald", "snips", "langevin")  # walk down by small steps only, so they must be many


def quick(name: str, steps: int = 10) -> Solver:
    steps = max(steps, 40) if name in ANNEALED and steps > 2 else steps
    options = {**STEPS.get(name, {}), **({} if name in ("pinv", "auto") else {"steps": steps})}
    solver: Solver = SOLVERS[name](**options)
    return solver


LACKING: dict[str, tuple[Operator, Noise]] = {
    "linear": (Curve(), Gaussian(0.1)),
    "svd": (Rows(), Gaussian(0.1)),
    "gaussian": (Identity((1, 4, 4)), Poisson(50.0)),
}


@pytest.mark.parametrize("need", LACKING)
@pytest.mark.parametrize("name", SOLVERS)
def test_unmet_needs_are_named_with_solvers_that_would_do(name: str, need: str) -> None:
    operator, noise = LACKING[need]
    problem = simulate(operator, torch.full((1, 1, 4, 4), 0.5), noise)
    if need not in SOLVERS[name].needs:
        assert need not in SOLVERS[name].unmet(problem)
        return
    with pytest.raises(ValueError, match=f"{SOLVERS[name].__name__} needs ") as caught:
        quick(name)(problem, load_prior("gaussian"))
    text = str(caught.value)
    assert NEEDS[need] in text
    assert repr(operator) in text
    listed = re.search(r"solvers that would do: (.*)", text)
    assert listed is not None, text
    able = listed[1].split(", ")
    assert able == [n for n, s in SOLVERS.items() if not s.unmet(problem)]
    assert quick(able[-1])(problem, load_prior("gaussian")).status == "ok"


ODD: dict[str, tuple[Operator, float]] = {
    "nothing known": (Inpainting(torch.zeros(4, 4)), 0.1),
    "nothing known, noiseless": (Inpainting(torch.zeros(4, 4)), 0.0),
    "all known": (Inpainting(torch.ones(4, 4)), 0.1),
    "all known, noiseless": (Inpainting(torch.ones(4, 4)), 0.0),
    "half known, noiseless": (Inpainting(torch.arange(16).reshape(4, 4) % 2), 0.0),
    "one pixel": (Identity((1, 1, 1)), 0.1),
    "one pixel, noiseless": (Identity((1, 1, 1)), 0.0),
    "zeros": (0.0 * Identity((1, 4, 4)), 0.1),
    "no closed form, noiseless": (Rows(), 0.0),
    "nonlinear, noiseless": (Curve(), 0.0),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", SOLVERS)
def test_odd_problems_end_well(name: str, kind: str) -> None:
    operator, std = ODD[kind]
    x = torch.rand(2, *operator.in_shape, generator=torch.Generator().manual_seed(0))
    problem, solver = simulate(operator, x, std), quick(name)
    if solver.unmet(problem):
        return
    result = solver(problem, load_prior("gaussian"), samples=2)
    assert result.status in ("ok", "misfit"), result.message
    assert result.samples.shape == (2, 2, *operator.in_shape)
    assert result.samples.dtype == torch.float32
    # The prior's standard deviation is about 0.26 around 0.45; NaN fails as well.
    assert float((result.samples - 0.45).abs().max()) < 10
    assert result.log_evidence is None or not bool(result.log_evidence.isnan().any())


@pytest.mark.parametrize("name", SOLVERS)
def test_noiseless_pixels_are_met_or_nearly(name: str) -> None:
    """Fully known and without noise, the answer is the measurement, up to what few steps leave."""
    x = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    problem = simulate(Inpainting(torch.ones(4, 4)), x, 0.0)
    result = quick(name, steps=30)(problem, wide_gaussian(), samples=1)
    error = float((result.mean - x).square().mean().sqrt())
    assert error < FAR.get(name, 0.05)


FAR = {"dip": 0.3, "reddiff": 0.1, "mgps": 0.2, "mgdm": 0.3, "dcps": 0.3}
"""Root mean square errors of solvers that take gradient steps of bounded length, and need more than 30 of them."""


@pytest.mark.parametrize("noise", [0.1, 0.0])
@pytest.mark.parametrize("name", SOLVERS)
def test_batch_of_no_images(name: str, noise: float) -> None:
    problem = simulate(Inpainting(torch.ones(4, 4)), torch.zeros(0, 1, 4, 4), noise)
    result = quick(name, steps=2)(problem, load_prior("gaussian"), samples=3)
    assert (result.status, result.nfe, result.samples.shape) == ("ok", 0, (0, 3, 1, 4, 4))


class Broken(Prior):
    """A denoiser that is right until a given call and fails from then on: a prior outside of what it knows."""

    shape, std, sigma_min, sigma_max = (1, None, None), 0.25, 0.01, 100.0

    def __init__(self, after: int, value: float) -> None:
        self.after, self.value, self.calls = after, value, 0

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        self.calls += 1
        right = 0.5 + (x - 0.5) * 0.0625 / (0.0625 + float(sigma) ** 2)
        return right if self.calls <= self.after else right * self.value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e9])
@pytest.mark.parametrize("after", [0, 7])
@pytest.mark.parametrize("name", SOLVERS)
def test_divergence_says_where_and_what_to_lower_and_never_gives_nan(name: str, after: int, value: float) -> None:
    solver, prior = quick(name), Broken(after, value)
    problem = simulate(Inpainting(torch.eye(4)), torch.full((2, 1, 4, 4), 0.5), 0.05)
    result = solver(problem, prior, samples=2)
    assert bool(torch.isfinite(result.samples).all())
    assert result.log_evidence is None or not bool(result.log_evidence.isnan().any())
    if prior.calls == 0:
        assert result.status == "ok"
        return
    if result.status in ("ok", "misfit"):  # Adam's steps have a length of their own, whatever the gradient
        assert name in ("map", "reddiff") and value == 1e9
        assert float(result.samples.abs().max()) < 10
        return
    where = r"(at step \d+ of \d+|at the start|after the last step)"
    advice = f"lower {solver.lower}=" if solver.lower else "no step size to lower: check"
    if value != 1e9:
        advice = "Broken.denoise gives NaN or infinity for finite images at sigma .*: invdiff check prior"
    chooses = name in ("auto", "evidence", "fast_em")
    who = "[A-Z][A-Za-z]+" if chooses else type(solver).__name__  # one of those that it chose
    assert re.search(f"{who} diverged {where} .image 0.; .*{advice}", result.message), result.message


def test_a_parameter_to_lower_is_a_parameter() -> None:
    for name, cls in SOLVERS.items():
        assert not cls.lower or hasattr(cls(), cls.lower), name
