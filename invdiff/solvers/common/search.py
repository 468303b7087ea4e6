"""Ranges for the search of a solver's hyper-parameters; a solver declares its own in `Solver.search`.

A range includes published settings and the defaults, with a margin on both sides. Parameters of the cost of a sample
(`steps`, particles, inner iterations) have no range, because a search compares at one cost, which its caller chooses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import UserError


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`.

    Attributes:
        low: smallest value.
        high: largest value.
        log: whether the search is uniform in the logarithm.

    Example:
        >>> Range.parse("0.1:10:log")
        Range(low=0.1, high=10.0, log=True)
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UserError(f"range: expected finite numbers low < high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise UserError(f"range: expected a positive low end for a logarithmic one, got {self.low}")

    @classmethod
    def parse(cls, text: str) -> Range:
        """Parse a range `low:high` or `low:high:log`.

        Raises:
            ValueError: another text.
        """
        parts = text.split(":")
        try:
            low, high = float(parts[0]), float(parts[1])
        except (IndexError, ValueError):
            raise UserError(f"range: expected low:high or low:high:log, as 0.1:10:log, got {text!r}") from None
        if parts[2:] not in ([], ["log"]):
            raise UserError(f"range: expected low:high or low:high:log, got {text!r}")
        return cls(low, high, bool(parts[2:]))

    def __str__(self) -> str:
        """Return the text for `parse`."""
        return f"{self.low:g}:{self.high:g}" + ":log" * self.log


SHARE = Range(0.0, 1.0)
"""Range of a fraction."""

Ranges = Mapping[str, Range]
"""Ranges by the names of parameters."""
