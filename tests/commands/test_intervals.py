"""The setting that the command line looks up a calibration for."""

from __future__ import annotations

import pytest
import torch

from invdiff.calibration import embedded
from invdiff.commands.reconstruction.intervals import setting_of
from invdiff.operators.builders.factory import make_operator
from invdiff.priors import photograph_gaussian
from invdiff.problem import Problem, noise_for
from invdiff.solvers import DPS
from invdiff.specs import ALIASES, parse_operator, parse_spec


def operator_of(text: str) -> str:
    """Return the operator in the setting of a problem."""
    spec = parse_operator(text)
    operator = make_operator(spec.name, (3, 16, 16), spec.options)
    problem = Problem(operator, noise_for(operator, 0.1), operator(torch.full((1, 3, 16, 16), 0.5)))
    return setting_of(text, None, "0.1", problem, "gaussian", photograph_gaussian(), DPS(), 4).operator


@pytest.mark.parametrize("alias", sorted(a for a in ALIASES if ALIASES[a] in ("blur", "identity", "downsample")))
def test_another_name_of_an_operator_has_its_calibrations(alias: str) -> None:
    found = [c.setting for c in embedded() if c.setting and parse_spec(c.setting.operator).name == ALIASES[alias]]
    assert found
    for setting in found:
        spec = parse_spec(setting.operator)
        options = ",".join(f"{k}={v}" for k, v in reversed(spec.options.items()))
        text = alias + (f": {options}" if options else "")
        assert operator_of(text) == operator_of(setting.operator)
        assert parse_spec(operator_of(text)).options.keys() == spec.options.keys()


def test_the_order_and_the_notation_of_options_do_not_count() -> None:
    assert operator_of("deblur:border=circular,sigma=2.0") == operator_of("blur: sigma=2, border=circular")
    assert operator_of("deblur:sigma=2.5") != operator_of("blur:sigma=2")
