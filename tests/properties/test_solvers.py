"""Properties of solvers on problems that hypothesis draws: who claims to be exact is, and units do not matter.

A mean over groups of samples is compared with the exact one; its standard error comes from how the groups differ, for
particles of one cloud are not independent. Beyond six of these a solver may be off by what its finite number of steps
leaves, as stated for it below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from drawn import Drawn, levels, problems, repeatable
from hypothesis import given
from hypothesis import strategies as st

from invdiff import Problem, registry
from invdiff.noise import Gaussian
from invdiff.operators import Scaled
from invdiff.posterior import ExactPosterior
from invdiff.solvers import Solver

GROUPS = 16
SMALL = problems(most=4, noise=levels(0.1, 1.0), components=1, full=True)


@dataclass(frozen=True)
class Claim:
    """Options of a solver, and how far its mean and variance may be off: in posterior deviations, and relatively.

    A group has at least `each` samples.
    """

    options: dict[str, object]
    bias: float
    variance: float
    each: int = 25


EXACT = {
    "mcgdiff": Claim({"steps": 60, "particles": 64}, 0.05, 0.1),
    "twisted": Claim({"steps": 60, "particles": 64}, 0.05, 0.1),
    "mmps": Claim({"steps": 60}, 0.05, 0.1),
    "tds": Claim({"steps": 60, "particles": 64}, 0.05, 0.1),
    "langevin": Claim({"steps": 40, "inner": 20}, 0.05, 0.1, each=6),
    "pnpdm": Claim({"steps": 40, "inner": 10}, 0.3, 0.1, each=6),
}
"""Solvers whose limit is the posterior of a Gaussian prior. A chain (`langevin`, `pnpdm`) lags behind its levels in
directions that the data tell little about; that of `pnpdm`, which moves by its coupling at a sweep, the most."""


@pytest.mark.parametrize("name", EXACT)
@repeatable(8)
@given(drawn=SMALL)
def test_exact_solvers_are_within_monte_carlo_error(name: str, drawn: Drawn) -> None:
    claim = EXACT[name]
    solver: Solver = registry.solvers[name](**claim.options)
    exact = ExactPosterior(drawn.problem, drawn.prior)
    count = GROUPS * solver.samples_per_row * max(1, claim.each // solver.samples_per_row)
    result = solver(drawn.problem, drawn.prior, samples=count, seed=1)
    assert result.status == "ok"
    d = exact.mean[0].numel()
    z = ((result.samples - exact.mean[:, None]) / exact.std[:, None]).reshape(len(drawn.y), GROUPS, -1, d)
    for moment, wanted, slack in ((z.mean(2), 0.0, claim.bias), (z.square().mean(2), 1.0, claim.variance)):
        error = moment.std(1) / math.sqrt(GROUPS)
        assert bool(((moment.mean(1) - wanted).abs() <= slack + 6 * error).all()), (moment.mean(1), error)


@repeatable(4)
@given(drawn=SMALL)
def test_the_mode_under_a_gaussian_prior_is_the_mean(drawn: Drawn) -> None:
    exact = ExactPosterior(drawn.problem, drawn.prior)
    found = registry.solvers["map"](steps=1500)(drawn.problem, drawn.prior).mean
    assert float(((found - exact.mean) / exact.std).abs().max()) < 0.05


OWN_SIGN = {"daps", "pnpdm", "twisted", "auto", "evidence", "fast_em"}
"""They draw noise like that of the measurement, which `-y` gives the other sign: other samples of the same law."""
FEW = {
    **{name: {"particles": 4} for name in ("mcgdiff", "fps", "tds", "twisted")},
    **{name: {"moves": 5} for name in ("daps", "pnpdm")},
    "dip": {"steps": 3, "width": 4, "depth": 2},
}


def _samples(name: str, drawn: Drawn, gain: float) -> torch.Tensor | None:
    """Return samples of the problem `c A x = c y`, or `None` where the solver cannot take it."""
    operator, y = drawn.problem.operator, gain * drawn.y
    problem = Problem(Scaled(operator, gain), Gaussian(abs(gain) * drawn.noise), y)  # type: ignore[arg-type]
    solver: Solver = registry.solvers[name](**({} if name in ("pinv", "auto") else {"steps": 12, **FEW.get(name, {})}))
    return None if solver.unmet(problem) else solver(problem, drawn.prior, samples=4, seed=1).samples


@pytest.mark.parametrize("name", registry.solvers)
@repeatable(8)
@given(drawn=SMALL, gain=levels(1e-2, 1e2), sign=st.sampled_from([1.0, -1.0]))
def test_units_and_sign_of_the_measurement_do_not_matter(name: str, drawn: Drawn, gain: float, sign: float) -> None:
    c = gain * (1.0 if name in OWN_SIGN else sign)
    wanted, found = _samples(name, drawn, 1.0), _samples(name, drawn, c)
    if wanted is None or found is None:
        return
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6 * float(drawn.prior.std))
