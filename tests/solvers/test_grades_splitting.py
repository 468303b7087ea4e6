"""How wrong splitting, variational and classic solvers are: measured with 300 samples, and not to get worse.

Each entry is (bias of the mean in posterior standard deviations, ratio of variances) at the default parameters. Point
estimates have ratio 0.
"""

import math

import pytest

from invdiff import registry
from invdiff.testing import exact_problems, grade_solver

SAMPLES = 150
RECORDED = {
    "diffpir": {"inpainting": (0.204, 1.236), "modes": (0.000, 0.970)},
    "daps": {"inpainting": (0.147, 1.352), "modes": (0.082, 0.921)},
    "pnpdm": {"inpainting": (0.159, 1.167), "modes": (0.000, 0.979)},
    "pnp": {"inpainting": (0.244, 0.000), "modes": (0.521, 0.000)},
    "reddiff": {"inpainting": (0.560, 0.138), "modes": (0.541, 0.410)},
    "map": {"inpainting": (0.109, 0.000), "modes": (0.523, 0.000)},
    "mgps": {"inpainting": (0.208, 1.050), "modes": (0.185, 0.992)},
    "mgdm": {"inpainting": (0.207, 0.882), "modes": (0.115, 0.946)},
    "dcps": {"inpainting": (0.238, 0.679), "modes": (0.184, 0.992)},
    "langevin": {"inpainting": (0.190, 1.454), "modes": (0.086, 1.114)},
}


@pytest.mark.parametrize("name", RECORDED)
def test_errors_are_no_worse_than_recorded(name: str) -> None:
    problems = exact_problems()
    for key, (bias, ratio) in RECORDED[name].items():
        grade = grade_solver(registry.solvers[name](), *problems[key], samples=SAMPLES)
        assert grade.status in ("ok", "misfit")
        # Three standard errors of a pixel, halved where a bias stands out: it is a mean over many pixels then. The
        # variances of the 64 pixels of the inpainting problem count as those of four.
        error = 3 * math.sqrt(ratio * (1 / SAMPLES + 1 / 300)) / (1 if bias < 0.1 else 2)
        assert grade.bias <= bias + error + 1e-3, key
        spread = 3 * ratio * math.sqrt((2 / SAMPLES + 2 / 300) / (4 if key == "inpainting" else 1))
        assert abs(grade.variance_ratio - 1) <= abs(ratio - 1) + spread + 1e-3, key
