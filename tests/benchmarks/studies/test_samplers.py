"""The table of samplers."""

from __future__ import annotations

import pytest

from invdiff.benchmarks.studies.samplers import Row, contestants, to_markdown, two_modes
from invdiff.samplers import SAMPLERS


def test_the_table_has_every_sampler() -> None:
    assert {type(s) for s in contestants(0.01, 5.0).values()} == set(SAMPLERS.values())
    assert all((s.sigma_min, s.sigma_max) == (0.01, 5.0) for s in contestants(0.01, 5.0).values())
    text = to_markdown([Row("a", 3, 0.12345, 0.7, 1.0)])
    assert text.splitlines()[2] == "| a | 3 | 0.1235 | 0.700 | 1.00 |"
    assert float(two_modes().weights[0]) == pytest.approx(0.7)


@pytest.mark.slow
def test_the_table_ranks_as_it_should() -> None:
    from invdiff.benchmarks.studies.samplers import compare

    rows = {r.sampler: r for r in compare(2000)}
    floor = rows["exact samples (floor)"].distance
    for label in ("ancestral (DDPM), 500", "Heun (EDM), 50", "adaptive ODE (scipy)", "predictor-corrector, VE, 100"):
        assert rows[label].distance < 2 * floor
    assert rows["Heun (EDM), 20"].distance < rows["Euler, 20"].distance
    assert rows["ULA from white noise, 1000"].distance > 5 * floor
