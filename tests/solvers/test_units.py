"""The units of measurement and image do not matter, for every solver.

The problem `c A, c y, c s` has the posterior of `A, y, s`, and for a prior scaled by `a` the problem `A, a y, a s` has
the posterior scaled by `a`. With the same seed the samples are the same but for rounding. So no solver compares a noise
level of the measurement with a length in the image, or either with a number.
"""

import pytest
import torch
from torch import Tensor

from invdiff import registry
from invdiff.noise import Gaussian, Noise, Poisson
from invdiff.operators import (
    Blur,
    HighDynamicRange,
    Inpainting,
    LinearOperator,
    Operator,
    PhaseRetrieval,
    gaussian_kernel,
)
from invdiff.posterior import gaussian_mean
from invdiff.priors import GaussianPrior, MixturePrior, Prior, photograph_gaussian
from invdiff.problem import Problem, simulate
from invdiff.solvers import Solver
from invdiff.solvers.common.initial_state import center
from invdiff.streams import generator

OPTIONS: dict[str, dict[str, object]] = {
    "pinv": {},
    "dip": {"steps": 3, "width": 4, "depth": 2},
    "auto": {"effort": "fast"},
    **{name: {"particles": 8, "steps": 8} for name in ("mcgdiff", "fps", "tds", "twisted")},
}
"""Few steps; `{"steps": 8}` for what is not listed."""

OWN_IMAGES = {"dip"}
"""The images are in [0, 1] by construction, for no prior is used: their scale is not free."""

SHAPE = (1, 4, 4)
G = generator(5)
ROWS = torch.randn(10, 16, generator=G, dtype=torch.float64) / 4
MASK = torch.rand(4, 4, generator=G) < 0.6
MEAN = 0.3 + 0.4 * torch.rand(SHAPE, generator=G, dtype=torch.float64)
"""Of the images; not constant, for the magnitude of a frequency has no derivative where it is zero."""


class Times(Operator):
    """An operator whose measurement is multiplied by a number."""

    def __init__(self, operator: Operator, factor: float) -> None:
        self.operator, self.factor = operator, factor
        self.in_shape, self.out_shape = operator.in_shape, operator.out_shape

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.operator.forward(x)


class Curve(Operator):
    """A nonlinear operator."""

    in_shape = out_shape = SHAPE

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.3 * x**3


LINEAR: dict[str, LinearOperator] = {
    "mask": Inpainting(MASK),
    "blur": Blur(SHAPE, kernel=gaussian_kernel(0.8), border="circular"),
    "matrix": LinearOperator.from_matrix(ROWS, SHAPE),
    "no spectrum": LinearOperator.from_function(lambda x: x.flatten(1) @ ROWS.T.to(x), in_shape=SHAPE),
}
NONLINEAR: dict[str, Operator] = {
    "curve": Curve(),
    "phase retrieval": PhaseRetrieval(SHAPE, oversampling=4.0),
    "high dynamic range": HighDynamicRange(SHAPE),
}
HOMOGENEOUS = {*LINEAR, "phase retrieval"}
"""Operators with `A(a x) = a A(x)`, for which images may be scaled."""


def operator(kind: str, c: float) -> Operator:
    if kind in LINEAR:
        return LINEAR[kind] if c == 1 else c * LINEAR[kind]
    return NONLINEAR[kind] if c == 1 else Times(NONLINEAR[kind], c)


def prior(kind: str, a: float) -> Prior:
    """Correlated pixels of standard deviation 0.3 a, or two clusters of standard deviation 0.15 a."""
    p = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
    covariance = a**2 * 0.09 * torch.exp(-torch.cdist(p, p) / 1.5)
    if kind == "gaussian":
        return GaussianPrior(MEAN * a, covariance)
    means = torch.stack([torch.full(SHAPE, 0.2 * a), torch.full(SHAPE, 0.8 * a)]).double()
    return MixturePrior(torch.tensor([0.4, 0.6]), means, (0.15 * a) ** 2)


def noise_model(kind: str, noise: float, c: float) -> Noise:
    """Return the noise of measurements that are multiplied by `c`."""
    return Poisson(100.0 / c) if kind == "photons" else Gaussian(noise * c)


def samples(solver: Solver, kind: str, law: str, noise: float, c: float, a: float) -> Tensor | None:
    """Return samples in the units of `a`, or `None` where the solver cannot do the problem."""
    p = prior("gaussian" if law == "photons" else law, 1.0)
    x = p.sample(1, generator(3), torch.float64)  # type: ignore[attr-defined]
    y = simulate(operator(kind, 1.0), x, noise_model(law, noise, 1.0), seed=1).measurement
    problem = Problem(operator(kind, c), noise_model(law, noise * a, c), y * c * a)
    if solver.unmet(problem):
        return None
    scaled = prior("gaussian" if law == "photons" else law, a)
    count = max(2, solver.samples_per_row)
    return solver(problem, scaled, samples=count, seed=5).samples / a


CASES = [(kind, "gaussian", 0.05) for kind in (*LINEAR, *NONLINEAR)]
CASES += [(kind, "gaussian", 0.0) for kind in ("mask", "matrix", "curve")]
CASES += [("mask", "mixture", 0.1), ("matrix", "mixture", 0.1), ("curve", "mixture", 0.1), ("blur", "photons", 0.0)]


@pytest.mark.parametrize(("kind", "law", "noise"), CASES)
@pytest.mark.parametrize("name", registry.solvers)
def test_units_do_not_matter(name: str, kind: str, law: str, noise: float) -> None:
    solver: Solver = registry.solvers[name](**OPTIONS.get(name, {"steps": 8}))
    wanted = samples(solver, kind, law, noise, 1.0, 1.0)
    units = [(0.01, 1.0), (100.0, 1.0)]
    if kind in HOMOGENEOUS and name not in OWN_IMAGES and law != "photons":
        units = [(0.01, 1.0), (100.0, 0.05), (1.0, 40.0)]
    for c, a in units:
        found = samples(solver, kind, law, noise, c, a)
        assert (found is None) == (wanted is None), f"c = {c}: the scaled problem is not the same to its needs"
        if wanted is not None:
            message = f"gain {c}, images times {a}: "
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5, msg=message.__add__)


@pytest.mark.parametrize("noise", [0.05, 0.0])
def test_units_do_not_matter_to_the_first_state_of_a_prior_of_limited_range(noise: float) -> None:
    limited, x = photograph_gaussian(), prior("gaussian", 1.0).sample(1, generator(3), torch.float64)  # type: ignore[attr-defined]
    limited.sigma_max = limited.std
    y = simulate(LINEAR["matrix"], x, noise, seed=1).measurement
    problems = [Problem(operator("matrix", c), Gaussian(noise * c), c * y) for c in (1.0, 0.01, 100.0)]
    for found in (center, gaussian_mean):
        wanted, *others = (found(p, limited) for p in problems)
        assert bool(wanted.any())
        for other in others:
            torch.testing.assert_close(other, wanted, rtol=1e-5, atol=1e-5)


def _weights(x: Tensor) -> Tensor:
    return x.flatten(1) @ ROWS.T.float()


@pytest.mark.parametrize("name", ["dps", "pnp", "reddiff", "dip", "langevin", "ald", "sda", "tds", "daps", "mgps"])
def test_a_function_of_single_precision_has_a_gain(name: str) -> None:
    """The norm of an operator is found in double precision, which a user's function need not take."""
    solver: Solver = registry.solvers[name](**{**OPTIONS.get(name, {}), "steps": 3})
    for made in (LinearOperator.from_function(_weights, SHAPE), Operator.from_function(_weights, SHAPE)):
        problem = Problem(made, Gaussian(0.05), torch.ones(1, 10))
        assert problem.gain == pytest.approx(float(torch.linalg.matrix_norm(ROWS, 2)), rel=0.1)
        assert bool(solver(problem, prior("gaussian", 1.0), samples=2).samples.isfinite().all())
