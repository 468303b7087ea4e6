"""Where a study looks for a solver's hyper-parameters: a range for each, by the names in the registry.

A range covers what published settings and our defaults span, with room on both sides. What sets the price of a
sample (`steps`, particles, inner iterations) has no range: a study compares at one price, which its caller chooses.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...registry import unknown
from ...solvers import Solver
from ...solvers.base import parameters


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`.

    Attributes:
        low: smallest value.
        high: largest value.
        log: whether all orders of magnitude are as likely, rather than all values.

    Example:
        >>> Range.parse("0.1:10:log")
        Range(low=0.1, high=10.0, log=True)
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"range: expected finite numbers low < high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"range: expected a positive low end for a logarithmic one, got {self.low}")

    @classmethod
    def parse(cls, text: str) -> Range:
        """Return the range that `low:high` or `low:high:log` writes.

        Raises:
            ValueError: it is written otherwise.
        """
        parts = text.split(":")
        try:
            low, high = float(parts[0]), float(parts[1])
        except (IndexError, ValueError):
            raise ValueError(f"range: expected low:high or low:high:log, as 0.1:10:log, got {text!r}") from None
        if parts[2:] not in ([], ["log"]):
            raise ValueError(f"range: expected low:high or low:high:log, got {text!r}")
        return cls(low, high, bool(parts[2:]))

    def __str__(self) -> str:
        """Return it as `parse` reads it."""
        return f"{self.low:g}:{self.high:g}" + ":log" * self.log


SHARE = Range(0.0, 1.0)

SPACES: dict[str, dict[str, Range]] = {
    "dps": {"scale": Range(0.1, 100.0, log=True), "eta": SHARE},
    "diffpir": {"weight": Range(0.05, 20.0, log=True), "zeta": SHARE},
    "daps": {"moves": Range(10, 100)},
    "pnpdm": {
        "rho_max": Range(0.3, 10.0, log=True),
        "rho_min": Range(0.02, 0.3, log=True),
        "noise_share": Range(0.1, 1.0),
    },
    "mcgdiff": {"eta": SHARE, "kappa": Range(1e-5, 1e-1, log=True)},
    "pigdm": {"eta": SHARE, "weight": Range(0.2, 5.0, log=True)},
    "ddrm": {"eta": SHARE, "eta_b": SHARE},
    "ddnm": {"eta": SHARE},
    "mmps": {"eta": SHARE},
    "sda": {"gamma": Range(1e-3, 1.0, log=True), "tau": Range(0.02, 1.0, log=True)},
    "ald": {"rate": Range(0.02, 1.0, log=True), "gamma": Range(0.05, 5.0, log=True)},
    "ilvr": {"free": Range(0.0, 0.5)},
    "score_sde": {"weight": SHARE, "snr": Range(0.03, 0.6, log=True)},
    "mcg": {"scale": Range(0.05, 20.0, log=True)},
    "snips": {"rate": Range(0.02, 1.0, log=True)},
    "convolved": {"eta": SHARE},
    "tds": {"spread": Range(0.2, 5.0, log=True)},
    "twisted": {"spread": Range(0.2, 5.0, log=True)},
    "dip": {"rate": Range(1e-3, 3e-2, log=True), "jitter": Range(0.0, 0.1)},
    "tv": {"slack": Range(0.3, 2.0, log=True)},
    "pnp": {"weight": Range(0.02, 5.0, log=True), "sigma": Range(0.05, 4.0, log=True)},
    "reddiff": {"weight": Range(0.01, 10.0, log=True), "rate": Range(0.01, 0.5, log=True)},
    "map": {
        "sigma_max": Range(0.1, 3.0, log=True),
        "sigma_min": Range(0.005, 0.1, log=True),
        "rate": Range(0.01, 0.5, log=True),
    },
    "mgps": {"alpha": Range(0.05, 0.95), "rate": Range(0.1, 3.0, log=True)},
    "mgdm": {"share": SHARE, "rate": Range(0.1, 3.0, log=True)},
    "dcps": {"rate": Range(0.02, 1.0, log=True), "gamma": Range(1e-3, 0.1, log=True)},
    "langevin": {"rate": Range(0.03, 1.0, log=True), "share": Range(0.05, 1.0)},
    "fps": {"c": Range(0.3, 0.99)},
    "deepinv.dps": {"weight": Range(1.0, 1e5, log=True)},
    "deepinv.ddrm": {"eta": SHARE, "eta_b": SHARE, "sigma_max": Range(0.2, 3.0, log=True)},
    "deepinv.diffpir": {"weight": Range(0.05, 200.0, log=True), "zeta": SHARE},
}


def space(
    name: str, cls: type[Solver], fixed: Mapping[str, object], ranges: Mapping[str, Range] | None = None
) -> dict[str, Range]:
    """Return what is searched for a solver: the declared ranges, with changes, without what is fixed.

    Args:
        name: of the solver, as in the registry.
        cls: its class.
        fixed: parameters that are given.
        ranges: ranges beside or instead of the declared ones.

    Raises:
        ValueError: a range for an unknown parameter, or one that is no number, or one that is fixed; nothing is left.
    """
    known = parameters(cls)
    for key in ranges or {}:
        if key not in known:
            raise ValueError(unknown(f"parameter of {cls.__name__}", key, known))
        if key in fixed:
            raise ValueError(f"{cls.__name__}: {key!r} is fixed at {fixed[key]!r} and has a range; leave one out")
        if not _is_number(known[key]):
            raise ValueError(f"{cls.__name__}: {key}: expected a parameter that is a number, its default is not one")
    chosen = {k: r for k, r in {**SPACES.get(name, {}), **(ranges or {})}.items() if k not in fixed}
    if not chosen:
        numbers = ", ".join(k for k, f in known.items() if _is_number(f) and k not in fixed) or "none"
        raise ValueError(
            f"solver {name!r} has no parameter with a range that is not fixed; give one as parameter=low:high[:log], "
            f"numbers are: {numbers}"
        )
    return chosen


def _is_number(f: dataclasses.Field[object]) -> bool:
    return isinstance(f.default, int | float) and not isinstance(f.default, bool)
