"""Unknown numbers, and families of operators and noise models made from them."""

import pickle

import pytest
import torch
from torch import Tensor

import invdiff
from invdiff import Problem, Unknown, simulate
from invdiff.errors import NotApplicable, UserError
from invdiff.noise import Gaussian, NoiseFamily, PoissonGaussian
from invdiff.operators import (
    Blur,
    Downsample,
    GammaCurve,
    LinearOperator,
    Operator,
    OperatorFamily,
    Tomography,
    gaussian_kernel,
)
from invdiff.operators.builders.factory import make_operator, make_operator_for_measurement
from invdiff.specs import parse_operator, parse_value

SHAPE = (1, 32, 32)


class Vignette(LinearOperator):
    """Somebody else's operator, which knows nothing of unknowns."""

    def __init__(self, in_shape: tuple[int, ...], alpha: float, size: int = 1) -> None:
        if alpha < 0:
            raise UserError(f"Vignette: alpha: expected a number >= 0, got {alpha}")
        self.in_shape = self.out_shape = in_shape
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return (1 - self.alpha * torch.linspace(-1, 1, x.shape[-1]) ** 2) * x


def _made(text: str, *, measurement: bool = False) -> Operator:
    spec = parse_operator(text)
    make = make_operator_for_measurement if measurement else make_operator
    return make(spec.name, SHAPE, spec.options)


@pytest.mark.parametrize("text", ["?", "?1..5", "?-4..4", "?0.005..0.1", "?0.005..0.1:log", "?1.5..2.5"])
def test_text_of_an_unknown_is_parsed_and_printed(text: str) -> None:
    found = parse_value(text)
    assert isinstance(found, Unknown)
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("?5..1", "exchange them"),
        ("?1..1", "a known value needs no Unknown"),
        ("?a..b", "as ?1..5"),
        ("?1..", "as ?1..5"),
        ("?-1..1:log", "positive number for a log_uniform prior"),
        ("?1..2:cubic", "as ?1..5"),
        ("?1..inf", "finite number"),
    ],
)
def test_intervals_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        parse_value(text)


def test_coordinates_follow_the_prior_and_the_period() -> None:
    assert Unknown(1, 100, "log_uniform").value(0.5) == pytest.approx(10)
    assert Unknown(1, 100, "log_uniform").coordinate(10) == pytest.approx(0.5)
    assert Unknown(1, 3).value(1.5) == 3
    assert Unknown(0, 180, periodic=True).value(1.25) == pytest.approx(45)


@pytest.mark.parametrize(
    "text",
    [
        "blur:sigma=?",
        "blur:sigma=?1..5",
        "blur:kernel=motion,length=?5..30,angle=?",
        "tomography:angles=32,detector_offset=?-4..4",
        "gamma_curve:gamma=?",
        "blur:sigma=?1..3,border=valid,size=15",
    ],
)
@pytest.mark.parametrize("measurement", [False, True])
def test_command_line_makes_families_of_one_shape(text: str, measurement: bool) -> None:
    family = _made(text, measurement=measurement)
    assert isinstance(family, OperatorFamily)
    assert tuple(family.out_shape if measurement else family.in_shape) == SHAPE
    for u in (0.0, 0.3, 1.0):
        operator = family.at({name: unknown.value(u) for name, unknown in family.unknowns.items()})
        assert not isinstance(operator, OperatorFamily)
        assert (operator.in_shape, operator.out_shape) == (family.in_shape, family.out_shape)
    facts = ("photographic", "sinogram", "complex_valued", "takes_mask")
    assert all(getattr(family, fact) == getattr(operator, fact) for fact in facts)
    assert pickle.loads(pickle.dumps(family)).unknowns == family.unknowns


def test_family_makes_the_operator_of_the_number() -> None:
    family = _made("blur:sigma=?1..5")
    assert isinstance(family, OperatorFamily)
    x = torch.rand(1, *SHAPE)
    assert torch.equal(family.at(sigma=2.5)(x), Blur(SHAPE, kernel=gaussian_kernel(2.5))(x))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("downsample:factor=?2..4", "factor: is a whole number"),
        ("tomography:angles=?", "angles: is a whole number"),
        ("blur:kernel=?,size=31", "is estimated by invdiff deblur"),
        ("blur:sigma=?1..3,border=?", "border: .*no real number"),
        ("blur:sigma=?-1..5", "sigma: the range .* goes beyond what is allowed; at -1"),
        ("blur:sigma=?1..3,border=valid", "sigma: changes shapes"),
        ("blur:sigm=?1..3", "did you mean 'sigma'"),
        ("tomography:angles=32,pixel_size=?", "ranges are declared for detector_offset"),
        ("inpainting:random=?0.1..0.9", "changes which entries are measured"),
    ],
)
def test_what_cannot_be_unknown_says_so(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _made(text)


def test_class_called_with_an_unknown_is_a_family() -> None:
    for family in (
        GammaCurve(SHAPE, gamma=Unknown(1, 3)),  # type: ignore[arg-type]
        GammaCurve(SHAPE, gamma=Unknown()),  # type: ignore[arg-type]
        Tomography(SHAPE, angles_deg=[0, 90], detector_offset=Unknown(-1, 1)),  # type: ignore[arg-type]
        OperatorFamily(Vignette, in_shape=SHAPE, alpha=Unknown(0, 1)),
        Vignette(SHAPE, Unknown(0, 1)),  # type: ignore[arg-type]
        OperatorFamily(lambda sigma: Blur(SHAPE, kernel=gaussian_kernel(sigma)), sigma=Unknown(1, 5)),
    ):
        assert isinstance(family, OperatorFamily)
        assert family.in_shape == SHAPE
        assert family.linear == isinstance(family.typical, LinearOperator)


def test_bad_calls_of_a_family_are_refused() -> None:
    family = OperatorFamily(Vignette, SHAPE, alpha=Unknown(0, 1))
    with pytest.raises(NotApplicable, match="call at"):
        family(torch.zeros(1, *SHAPE))
    with pytest.raises(UserError, match=r"alpha: expected a number in \[0, 1\]"):
        family.at(alpha=2.0)
    with pytest.raises(UserError, match="alpha: expected a value"):
        family.at()
    with pytest.raises(UserError, match="beta"):
        family.at(alpha=0.1, beta=0.1)
    with pytest.raises(UserError, match="expected an unknown argument"):
        OperatorFamily(Vignette, SHAPE, alpha=0.1)
    with pytest.raises(UserError, match="whole number"):
        Downsample(SHAPE, factor=Unknown(2, 4))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="goes beyond what is allowed"):
        OperatorFamily(Vignette, SHAPE, alpha=Unknown(-1, 1))


def test_noise_with_an_unknown_level_is_a_family() -> None:
    family = Gaussian(Unknown(0.01, 0.1))  # type: ignore[arg-type]
    assert isinstance(family, NoiseFamily)
    assert family.at(noise=0.02) == Gaussian(0.02)
    two = PoissonGaussian(photons=Unknown(10, 100), std=Unknown(0.01, 0.1))  # type: ignore[arg-type]
    assert isinstance(two, NoiseFamily)
    assert sorted(two.unknowns) == ["noise_photons", "noise_std"]
    with pytest.raises(UserError, match="goes beyond what is allowed"):
        Gaussian(Unknown(-1, 1))  # type: ignore[arg-type]


def test_problem_with_unknowns_is_simulated_and_fixed() -> None:
    family = OperatorFamily(Vignette, SHAPE, alpha=Unknown(0, 1))
    law = Gaussian(Unknown(0.01, 0.1))  # type: ignore[arg-type]
    x = torch.rand(2, *SHAPE)
    problem = simulate(family, x, law, seed=3, parameters={"alpha": 0.5, "noise": 0.02})
    known = simulate(Vignette(SHAPE, 0.5), x, 0.02, seed=3)
    assert torch.equal(problem.measurement, known.measurement)
    assert list(problem.unknowns) == ["alpha", "noise"]
    fixed = problem[1:].at({"alpha": 0.5, "noise": 0.02})
    assert not fixed.unknowns
    assert fixed.noise == Gaussian(0.02)
    assert fixed.image_index == (1,)
    assert torch.equal(fixed.residual(x[1:]), known[1:].residual(x[1:]))
    assert known.typical is known
    with pytest.raises(UserError, match="gamma"):
        problem.at({"alpha": 0.5, "noise": 0.02, "gamma": 1})
    with pytest.raises(UserError, match="alpha: expected a value"):
        simulate(family, x, 0.1)


def test_solver_of_known_operators_refuses_unknowns_by_name() -> None:
    family = OperatorFamily(Vignette, SHAPE, alpha=Unknown(0, 1))
    problem = Problem(family, Gaussian(0.1), torch.zeros(1, *SHAPE))
    with pytest.raises(NotApplicable, match="DPS needs an operator and noise without unknown parameters"):
        invdiff.reconstruct(problem, "gaussian", "dps")
